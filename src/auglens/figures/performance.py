"""How well the models classify: scores, curves of training, confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from auglens.figures.style import (
    BLACK,
    BLUE,
    HEAT,
    ORANGE,
    STYLE,
    aug_colour,
    aug_label,
    describe_figure,
    grid_of,
    name_rows,
)
from auglens.stats import REFERENCE, score_names

_SCORE_LABELS = {
    "accuracy": "Accuracy",
    "precision": "Precision (macro)",
    "recall": "Recall (macro)",
    "f1": "F1 (macro)",
    "dice": "Dice",
    "hausdorff": "Hausdorff distance (pixels, ↓)",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "found": "Found (Dice of 0.5 or more)",
}
MOST_WRITTEN = 20  # classes: with more a cell is smaller than its number
INK_FROM = 0.55  # share from which on a number is white


def shares_of(matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Counts [C, C] as shares of their rows, 0 where a row has none."""
    counts = np.asarray(matrix, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)


@rc_context(STYLE)
def performance_bars(scores: pd.DataFrame, columns: int = 2) -> Figure:
    """Mean of each score per aug (bar), every seed (dot), the reference (dashed line); shares from 0 to 1.

    scores: `performance`'s rows, of distinct replicates. Source: figures 5.6–5.9 of the augmentation study.
    """
    augs = list(scores["aug"].unique())
    names = score_names(scores)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.9 * columns + 0.6, rows * (0.9 + 0.27 * len(augs)) + 0.3))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    for place, (axes, score) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        for y, aug in enumerate(augs):
            values = scores.loc[scores["aug"] == aug, score].dropna()
            axes.barh(y, values.mean(), height=0.66, color=aug_colour(aug), alpha=0.55)
            axes.plot(values, np.full(len(values), y), "o", color=BLACK, markersize=2.6)
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            text = f"{values.mean():.3f}{spread}" if len(values) else "undefined"
            axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        reference = scores.loc[scores["aug"] == REFERENCE, score].dropna()
        for value in reference:
            axes.axvline(value, color=BLACK, linestyle="--", linewidth=0.9)
        name_rows(axes, augs, visible=place % columns == 0)
        axes.set_xlim(0, 1 if score != "hausdorff" else None)
        axes.grid(axis="x", visible=True)
        axes.set_title(_SCORE_LABELS[score])
    counts = scores.groupby("aug").size()
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    note = f"Bar: mean over seeds (replicates per aug: {seeds}); dots: seeds; ±: sd; dashed: the reference."
    figure.supxlabel(note, fontsize=8)
    means = scores.groupby("aug", sort=False)[names[0]].mean()
    told = ", ".join(f"{aug_label(str(aug))} {value:.3f}" for aug, value in means.items())
    listed = ", ".join(_SCORE_LABELS[name] for name in names)
    return describe_figure(figure, f"Bars per aug: {listed}. Mean {names[0]}: {told}.")


@rc_context(STYLE)
def training_curves(history: pd.DataFrame, quantity: str = "accuracy", columns: int = 4) -> Figure:
    """One small axes per aug: training (dashed) and validation (solid) of every seed over epochs; the other
    augs' validation in light grey behind.

    history: one row per (aug, seed, epoch) with columns train_{quantity} and validation_{quantity};
    quantity: accuracy (fraction) or loss (nats).
    """
    augs = list(history["aug"].unique())
    gap = np.full((1, 3), np.nan)
    runs: list[tuple[str, NDArray[np.float64]]] = []  # epoch, training, validation; closed by a gap
    for (aug, _), run in history.groupby(["aug", "seed"], sort=False):
        told = run.sort_values("epoch")[["epoch", f"train_{quantity}", f"validation_{quantity}"]]
        runs.append((str(aug), np.concatenate([told.to_numpy(dtype=np.float64), gap])))
    across = min(columns, len(augs))
    rows = -(-len(augs) // across)
    figure = Figure(figsize=(2.5 * across + 0.5, 1.9 * rows + 0.5))
    figure.set_layout_engine("constrained")
    panels = grid_of(figure, len(augs), columns, sharex=True, sharey=True)
    for place, (axes, aug) in enumerate(zip(panels, augs, strict=True)):
        behind = [run for other, run in runs if other != aug]
        if behind:  # as one line with gaps: in a study of many cells a line each is most of the figure's time
            epoch, _, validation = np.concatenate(behind)[:-1].T
            axes.plot(epoch, validation, color="#d9d9d9", linewidth=0.7, zorder=1)
        for epoch, training, validation in (run[:-1].T for other, run in runs if other == aug):
            axes.plot(epoch, training, color=ORANGE, linestyle="--", linewidth=1)
            axes.plot(epoch, validation, color=BLUE, linewidth=1.2, zorder=3)
        axes.set_title(aug_label(aug), fontsize=9)
        axes.grid(axis="y", visible=True)
        axes.tick_params(labelbottom=place >= len(augs) - across)  # the lowest of its column
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel(quantity, fontsize=9)
    panels[0].plot([], [], color=ORANGE, linestyle="--", label="training")
    panels[0].plot([], [], color=BLUE, label="validation")
    panels[0].plot([], [], color="#d9d9d9", label="validation of the others")
    figure.legend(loc="outside upper right", ncols=3, fontsize=8)
    last = history.sort_values("epoch").groupby(["aug", "seed"])[f"validation_{quantity}"].last()
    alt = f"Curves of training and validation {quantity} over epochs for {len(augs)} augs."
    return describe_figure(figure, f"{alt} Validation ends between {last.min():.3f} and {last.max():.3f}.")


@rc_context(STYLE)
def confusion_figure(matrix: NDArray[Any], class_names: Sequence[str], title: str) -> Figure:
    """Rows labels, columns predictions; colour: share of the label's images; numbers: images.

    matrix: int [C,C] from `confusion_matrix` (or summed over seeds). Beyond 20 classes no numbers are drawn.
    """
    counts, shares = np.asarray(matrix, dtype=np.float64), shares_of(matrix)
    size = len(counts)
    side = 1.8 + (0.46 if size <= MOST_WRITTEN else 0.16) * size
    figure = Figure(figsize=(side + 1.0, side))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")
    for (i, j), share in np.ndenumerate(shares):
        if size <= MOST_WRITTEN:
            ink = "white" if share > INK_FROM else BLACK
            number = axes.text(j, i, f"{int(counts[i, j])}", ha="center", va="center", fontsize=7, color=ink)
            number.set_in_layout(False)  # inside the axes: it takes no room, and measuring it takes time
    small = 8 if size <= MOST_WRITTEN else 5
    axes.set_xticks(range(size), class_names, rotation=45, ha="right", rotation_mode="anchor", fontsize=small)
    axes.set_yticks(range(size), class_names, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="share of the label's images", shrink=0.8)
    wrong = counts - np.diag(np.diag(counts))
    i, j = divmod(int(wrong.argmax()), size)
    alt = f"Confusion matrix of {size} classes, {title}: {np.trace(counts):.0f} of {counts.sum():.0f} correct."
    if wrong[i, j]:
        alt += f" Most frequent error: {class_names[i]} taken for {class_names[j]} ({wrong[i, j]:.0f})."
    return describe_figure(figure, alt)
