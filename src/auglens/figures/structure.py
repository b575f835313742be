"""Models against models: does an aug resemble itself? And do the metrics agree on which augs are alike?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from auglens.figures.marks import (
    SMALL,
    WIDTH,
    Mark,
    column,
    defined,
    draw_forest,
    extremes,
    few_ticks,
    half_heat,
    legend,
    name_both,
    not_defined,
    note,
    ordered,
    square,
    write_cells,
)
from auglens.figures.style import (
    GREY,
    HEAT,
    STYLE,
    VERMILION,
    describe_figure,
    metric_label,
)
from auglens.figures.trees import ALL, SOURCES
from auglens.stats import CONTROLS

SAME, OTHER = Mark("same aug, two seeds", "D"), Mark("two augs", filled=False)
WITH_CONTROL = Mark("with a control", "s", GREY, filled=False)


@rc_context(STYLE)
def model_similarity(models: pd.DataFrame, metric: str = ALL) -> Figure:
    """Does an aug resemble itself more than others? Correlations of single models as a heat map, the diagonal of
    two seeds of one aug; below, the same pairs on a line.

    models: columns metric, aug_a, aug_b, correlation; aug_a == aug_b: two seeds of one aug.
    """
    title = f"{SOURCES.get(metric, metric_label(metric))}: correlation of single models"
    table = defined(models, "correlation")
    table = table[table["metric"] == metric] if len(table) else table
    if table.empty:
        return not_defined(title, models, f"no pair of models has a correlation for {metric}")
    augs = ordered([*table["aug_a"], *table["aug_b"]])
    side = 1.3 + (0.33 if len(augs) <= 13 else 4.3 / len(augs)) * len(augs)
    figure = Figure(figsize=(WIDTH, side + 1.75))
    figure.set_layout_engine("constrained", h_pad=0.08)
    heat, strip = figure.subplots(2, 1, height_ratios=(side, 1.2))
    image = half_heat(heat, square(table, "correlation", augs), augs)
    heat.set_title(title)
    figure.colorbar(image, ax=heat, label="mean over pairs of models", shrink=0.8, aspect=30)
    marks = [SAME if a == b else OTHER for a, b in zip(table["aug_a"], table["aug_b"], strict=True)]
    controls = table["aug_a"].isin(CONTROLS) | table["aug_b"].isin(CONTROLS)
    marks = [WITH_CONTROL if c else mark for c, mark in zip(controls, marks, strict=True)]
    same = (table["aug_a"] == table["aug_b"]).to_numpy()
    values = column(table, "correlation")
    # Spread over the row's height by rank: steps of the golden ratio leave no two neighbours close together.
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    y = np.where(same, 0.0, 1.0) + 0.5 * ((rank * 0.6180339887) % 1 - 0.5)
    draw_forest(strip, table.drop(columns=["low", "high"], errors="ignore"), "correlation", y, marks)
    told = []
    for n, (name, rows) in enumerate(((SAME.label, same), (OTHER.label, ~same))):
        rows = rows & ~controls.to_numpy()
        if rows.any():
            strip.plot([values[rows].mean()] * 2, [n - 0.4, n + 0.4], color=VERMILION, linewidth=2)
            told.append(
                f"{name}: mean {values[rows].mean():.2f} ({values[rows].min():.2f} to {values[rows].max():.2f})"
            )
        else:
            told.append(f"{name}: not defined")
            strip.text(0.01, n, "not defined: no aug has two models" if n == 0 else "not defined", fontsize=SMALL,
                       va="center", transform=strip.get_yaxis_transform())  # fmt: skip
    strip.set_yticks([0, 1], [SAME.label, OTHER.label], fontsize=SMALL)
    strip.set_ylim(1.5, -0.5)
    strip.tick_params(axis="y", length=0)
    few_ticks(strip, 6)
    legend(figure, [mark.handle() for mark in (SAME, OTHER, WITH_CONTROL) if mark in marks])
    note(figure, "Framed: two seeds of one aug. Upright lines: means, without the controls.")
    ends = " to ".join(extremes(table[~same], "correlation", "aug_a", "aug_b"))
    span = f" Two augs, controls too: {ends}." if ends else ""
    return describe_figure(
        figure, f"{title}, a heat map and a strip chart. {'; '.join(told)} without controls.{span}"
    )


@rc_context(STYLE)
def agreement_heat(agreement: pd.DataFrame, level: float = 0.05) -> Figure:
    """Metrics × metrics: do two metrics see the same structure?

    Below the diagonal Mantel's r, with a star where its p ≤ level; above it the correlation of the trees'
    cophenetic distances.
    """
    title = "Agreement between the metrics"
    table = agreement if len(defined(agreement, "mantel_r")) + len(defined(agreement, "cophenetic_r")) else None
    if table is None:
        return not_defined(title, agreement, "no two metrics have a structure to compare")
    metrics = list(dict.fromkeys([*table["metric_a"], *table["metric_b"]]))
    values = np.full((len(metrics), len(metrics)), np.nan)
    sure = np.zeros(values.shape, dtype=bool)
    found = [column(table, name) for name in ("mantel_r", "mantel_p", "cophenetic_r")]
    for a, b, r, p, tree in zip(table["metric_a"], table["metric_b"], *found, strict=True):
        low, high = sorted((metrics.index(a), metrics.index(b)))
        values[high, low], values[low, high], sure[high, low] = r, tree, p <= level
    side = 1.3 + 0.36 * len(metrics)
    figure = Figure(figsize=(min(WIDTH, side + 2.2), side))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    off = ~np.eye(len(metrics), dtype=bool)
    finite = values[np.isfinite(values)]
    lowest = float(np.floor(round(finite.min() * 10, 9)) / 10)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=HEAT, vmin=min(lowest, 0.9), vmax=1)
    write_cells(axes, values, off, image)
    for text, (i, j) in zip(axes.texts, np.argwhere(off), strict=True):
        if sure[i, j]:
            text.set_text(f"{text.get_text()}*")
    axes.set_facecolor("#eeeeee")
    name_both(axes, [metric_label(metric) for metric in metrics])
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label="correlation", shrink=0.8)
    note(figure, f"Below the diagonal: Mantel's r (* p ≤ {level:g}, one-sided). Above: cophenetic correlation.")
    known = defined(table, "mantel_r")
    labelled = known.assign(**{name: known[name].map(metric_label) for name in ("metric_a", "metric_b")})
    ends = " to ".join(extremes(labelled, "mantel_r", "metric_a", "metric_b")) or "not defined"
    said = f"Mantel's r {ends}, p ≤ {level:g} in {int(sure.sum())} of {len(known)} pairs"
    trees = column(table, "cophenetic_r")
    if np.isfinite(trees).any():
        said += f"; cophenetic correlation from {np.nanmin(trees):.2f} to {np.nanmax(trees):.2f}"
    return describe_figure(figure, f"Heat map of how far the metrics agree on which augs are alike. {said}.")
