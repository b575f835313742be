"""How good the explanations are, aug by aug, beside explanations that look at nothing; and the sanity check."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from auglens.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILION,
    aug_colour,
    aug_label,
    describe_figure,
    grid_of,
    name_rows,
)
from auglens.stats.quality import HIGHER_IS_BETTER
from auglens.stats.scores import EXPLANATION, FLOORS, method_label

FLOOR_COLOURS = {"ones": ORANGE, "centre": GREEN, "random": VERMILION}


def score_label(score: str) -> str:
    """With an arrow towards the better; Average Drop and Increase in Confidence are per cent."""
    label = EXPLANATION[score].label + (" (%)" if EXPLANATION[score].scale == 1 else "")
    return f"{label} {'↑' if HIGHER_IS_BETTER[score] else '↓'}"


@rc_context(STYLE)
def score_dots(models: pd.DataFrame, method: str, columns: int = 3) -> Figure:
    """One axes per score: each model's mean (dot) and its aug's (bar); floors as the vertical lines.

    models: `scores_by_model`'s rows. A floor's line is its mean over all models.
    """
    mine = models[models["method"] == method]
    scores = [name for name in HIGHER_IS_BETTER if mine.loc[mine["score"] == name, "mean"].notna().any()]
    augs = list(mine["aug"].unique())
    rows = -(-max(len(scores), 1) // columns)
    figure = Figure(figsize=(3.1 * min(columns, max(len(scores), 1)) + 1.3, rows * (0.8 + 0.24 * len(augs)) + 0.5))
    figure.set_layout_engine("constrained")
    told = []
    for place, (axes, score) in enumerate(zip(grid_of(figure, len(scores), columns), scores, strict=True)):
        values = mine[mine["score"] == score]
        means = values.groupby("aug", sort=False)["mean"].mean()
        colours = [aug_colour(aug) for aug in augs]
        axes.hlines(range(len(augs)), 0, means[augs], color=colours, linewidth=5, alpha=0.4)
        axes.plot(values["mean"], [augs.index(aug) for aug in values["aug"]], "o", color=BLACK, markersize=2.6)
        for floor in FLOORS:
            level = models.loc[(models["method"] == floor) & (models["score"] == score), "mean"].mean()
            if np.isfinite(level):
                label = method_label(floor) if place == 0 else None
                axes.axvline(level, color=FLOOR_COLOURS[floor], linestyle="--", linewidth=1, label=label)
        name_rows(axes, augs, visible=place % columns == 0)
        axes.grid(axis="x", visible=True)
        axes.set_title(score_label(score), fontsize=9)
        if len(means.dropna()):
            place_of = means.argmax() if HIGHER_IS_BETTER[score] else means.argmin()
            best, mean = str(means.index[int(place_of)]), means.iloc[int(place_of)]
            told.append(f"{EXPLANATION[score].label} {aug_label(best)} {mean:.3g}")
    if figure.axes and figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, title="explanations that look at nothing")
    return describe_figure(figure, f"Scores of the {method} maps per aug, with floors. Best: {', '.join(told)}.")


@rc_context(STYLE)
def sanity_curves(sanity: pd.DataFrame) -> Figure:
    """Correlation with the original maps as layer after layer is randomised from the head down, a line a model.

    sanity: rows of (aug, seed, step, layer, spearman_mean). Source: Adebayo et al., NeurIPS 2018, figure 2.
    """
    figure = Figure(figsize=(6.4, 3.4))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    for (aug, _), run in sanity.groupby(["aug", "seed"], sort=False):
        steps = [0, *run["step"]]
        axes.plot(steps, [1.0, *run["spearman_mean"]], color=aug_colour(str(aug)), linewidth=0.9, alpha=0.7)
    layers = sanity.drop_duplicates("step").sort_values("step")
    axes.set_xticks([0, *layers["step"]], ["none", *layers["layer"]], rotation=30, ha="right")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("randomised from the head down to")
    axes.set_ylabel("Spearman with the original maps")
    axes.grid(axis="y", visible=True)
    for colour, label in ((BLACK, "reference"), (BLUE, "augs"), (GREY, "controls")):
        axes.plot([], [], color=colour, label=label)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8)
    last = sanity[sanity["step"] == sanity["step"].max()]["spearman_mean"]
    alt = f"Lines falling from 1 as layers are randomised; with all randomised between {last.min():.2f} and"
    return describe_figure(figure, f"{alt} {last.max():.2f}.")
