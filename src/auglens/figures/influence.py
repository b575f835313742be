"""What influences explanations: scores over the levels of a factor, accuracy against scores, curves, times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from auglens.figures.marks import SMALL, WIDTH, column, defined, legend, not_defined, note, number
from auglens.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILION,
    describe_figure,
    grid_of,
)
from auglens.stats.scores import ALL, EXPLANATION, FLOORS, SCORES, method_label, ordered_methods

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, "#CC79A7", "#56B4E9", BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: dict[str, Any] = {"ones": "dashed", "centre": "dotted", "random": "dashdot"}
CURVES = {
    "validation_accuracy": "Validation accuracy",
    "test_accuracy": "Test accuracy",
    "test_precision": "Test precision",
    "test_recall": "Test recall",
    "test_f1": "Test F1",
}
LONGEST = 24  # characters of a level's name


def method_marks(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Method → colour and marker, the same whichever others there are beside it as long as these are all."""
    own = [name for name in ordered_methods(methods) if name not in FLOORS]
    return {
        name: {"color": COLOURS[n % len(COLOURS)], "marker": MARKERS[n % len(MARKERS)]}
        for n, name in enumerate(own)
    }


def written(text: str) -> str:
    """A name that somebody chose, short, and without meaning for matplotlib's formulas."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return short.replace("$", r"\$")


@rc_context(STYLE)
def factor_panels(table: pd.DataFrame, points: pd.DataFrame, title: str, columns: int = 3) -> Figure:
    """One panel per score over a factor's levels: per map method the mean (marker) ± sd over seeds and every seed
    (dot); floors as grey lines.

    table: `influence_tables`' rows of one factor; points: `level_values`' rows of it.
    """
    shown = table[table["score"].isin(EXPLANATION) | (table["score"] == "accuracy")]
    shown = defined(shown[shown["method"] != ALL], "mean")
    if shown.empty:
        return not_defined(title, table, "no level has a score")
    levels, scores = list(dict.fromkeys(table["level"])), list(dict.fromkeys(shown["score"]))
    marks = method_marks([method for method in shown["method"] if method])
    across = min(columns, len(scores))
    figure = Figure(figsize=(WIDTH, -(-len(scores) // across) * 2.3 + 0.9))
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
    told = []
    for axes, score in zip(grid_of(figure, len(scores), columns), scores, strict=True):
        scale = SCORES[score].scale
        mine = shown[shown["score"] == score]
        own = [name for name in ordered_methods(mine["method"]) if name in marks] or [""]
        for n, method in enumerate(own):
            group = mine[mine["method"] == method].set_index("level").reindex(levels)
            x = np.arange(len(levels)) + 0.5 / max(len(own), 4) * (n - (len(own) - 1) / 2)
            look = marks.get(method, {"color": BLACK, "marker": "o"})
            spread = np.nan_to_num(column(group, "sd") * scale)
            y = column(group, "mean") * scale
            axes.errorbar(x, y, spread, linewidth=1, markersize=4.5, elinewidth=1.2, **look)
            seeds = points[(points["score"] == score) & (points["method"] == method)]
            at = x[[levels.index(level) for level in seeds["level"]]]
            axes.plot(at, column(seeds, "value") * scale, ".", color=look["color"], markersize=3, alpha=0.6)
        for floor in ordered_methods(name for name in mine["method"] if name in FLOORS):
            group = mine[mine["method"] == floor].set_index("level").reindex(levels)
            y = column(group, "mean") * scale
            axes.plot(range(len(levels)), y, color=GREY, linestyle=DASHES[floor], linewidth=1, zorder=1)
        _name_levels(axes, levels)
        axes.set_title(SCORES[score].title, fontsize=SMALL)
        best = mine[mine["best"] & ~mine["method"].isin(FLOORS)]
        told += [f"{SCORES[score].label}: best at {', '.join(dict.fromkeys(best['level']))}"] if len(best) else []
    handles = [Line2D([], [], label=method_label(name), linewidth=1, **look) for name, look in marks.items()]
    floors = [name for name in DASHES if (shown["method"] == name).any()]
    handles += [Line2D([], [], label=method_label(f), color=GREY, linestyle=DASHES[f]) for f in floors]
    if handles:
        legend(figure, handles)
    note(
        figure,
        "Marker: mean over models; bar: ± sd over seeds; dots: models. Grey lines: maps that know no model.",
    )
    return describe_figure(figure, f"{title}: scores over {len(levels)} levels. {'; '.join(told)}.")


def _name_levels(axes: Axes, levels: Sequence[str]) -> None:
    """Below the axes, slanted where they would touch."""
    crowded = sum(map(len, levels)) > 26
    slant: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    axes.set_xticks(range(len(levels)), [written(level) for level in levels], fontsize=7, **slant)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", visible=True)


@rc_context(STYLE)
def correlation_grid(
    values: pd.DataFrame, correlation: pd.DataFrame, against: str = "accuracy", columns: int = 2
) -> Figure:
    """One panel per explanation score, a point per model: accuracy against the score, a colour per map method with
    its Pearson's r and interval.

    values: `Models.values`; correlation: `correlation_of_scores`.
    """
    title = f"{SCORES[against].label} against explanation, over all models"
    rows = correlation[(correlation["performance"] == against) & (correlation["method"] != ALL)]
    scores = list(dict.fromkeys(rows["score"]))
    if not scores:
        return not_defined(title, correlation, "no model has both")
    marks = method_marks(list(rows["method"]))
    across = min(columns, len(scores))
    figure = Figure(figsize=(WIDTH, -(-len(scores) // across) * 3.0 + 0.5))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    x = values[against, ""].to_numpy(dtype=np.float64) * SCORES[against].scale
    told = []
    for axes, score in zip(grid_of(figure, len(scores), columns), scores, strict=True):
        for _, row in rows[rows["score"] == score].iterrows():
            method = str(row["method"])
            y = values[score, method].to_numpy(dtype=np.float64) * SCORES[score].scale
            text = f"{method_label(method)}: r = {_span(row)}"
            axes.plot(x, y, linestyle="none", markersize=4, alpha=0.75, label=text, **marks[method])
            told.append(f"{SCORES[score].label}, {text}")
        axes.set_title(SCORES[score].title, fontsize=SMALL)
        axes.tick_params(labelsize=7)
        axes.set_xlabel(SCORES[against].title, fontsize=7)
        axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), fontsize=6.5, handletextpad=0.2, borderpad=0)
    note(figure, "A point is a model; r: Pearson's, with its interval over configurations.")
    return describe_figure(figure, f"Scatter plots: {title}. {'; '.join(told)}.")


def _span(row: Any) -> str:
    if not np.isfinite(row["pearson_low"]):
        return number(float(row["pearson"])) + (" (no interval)" if np.isfinite(row["pearson"]) else "")
    return f"{row['pearson']:.2f} [{row['pearson_low']:.2f}, {row['pearson_high']:.2f}]"


@rc_context(STYLE)
def level_curves(curves: pd.DataFrame, title: str, columns: int = 2) -> Figure:
    """One panel per quantity over epochs: per level the mean over its models (line) and every model (thin line).

    curves: columns level, seed, epoch, metric, value (fractions), metric of `CURVES`. Source: figures 5.1–5.5 of
    the augmentation study, 5.1 of the thesis.
    """
    known = defined(curves, "epoch", "value")
    metrics = [name for name in CURVES if (known["metric"] == name).any()] if len(known) else []
    if not metrics:
        return not_defined(title, curves, "no run has its curves")
    levels = list(dict.fromkeys(known["level"]))
    across = min(columns, len(metrics))
    figure = Figure(figsize=(WIDTH, -(-len(metrics) // across) * 2.6 + 0.6))
    figure.set_layout_engine("constrained")
    colours = {level: COLOURS[n % len(COLOURS)] for n, level in enumerate(levels)}
    styles: dict[str, Any] = {
        level: ("solid", "dashed", "dotted")[n // len(COLOURS) % 3] for n, level in enumerate(levels)
    }
    told = []
    for axes, metric in zip(grid_of(figure, len(metrics), columns), metrics, strict=True):
        mine = known[known["metric"] == metric]
        for level in levels:
            group = mine[mine["level"] == level]
            for _, run in group.groupby("seed", sort=False):
                run = run.sort_values("epoch")
                axes.plot(run["epoch"], run["value"], color=colours[level], linewidth=0.5, alpha=0.4)
            mean = group.groupby("epoch")["value"].mean()
            axes.plot(mean.index, mean, color=colours[level], linestyle=styles[level], linewidth=1.5)
            if metric == metrics[0] and len(mean):
                told.append(f"{level} ends at {number(float(mean.iloc[-1]))}")
        axes.set_title(CURVES[metric])
        axes.tick_params(labelsize=7)
        axes.grid(axis="y", visible=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_xlabel("epoch", fontsize=SMALL)
    handles = [
        Line2D([], [], color=colours[level], linestyle=styles[level], label=written(level)) for level in levels
    ]
    legend(figure, handles)
    return describe_figure(figure, f"{title}: curves over epochs. {CURVES[metrics[0]]}: {'; '.join(told)}.")


@rc_context(STYLE)
def seconds_bars(points: pd.DataFrame, levels: Sequence[str], title: str) -> Figure:
    """How long training took per level: mean (bar) and every model (dot), seconds.

    points: `level_values`' rows of a factor.
    """
    known = points[points["score"] == "train_seconds"]
    if known.empty:
        return not_defined(title, points, "no run says how long its training took")
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(levels)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    told = []
    for y, level in enumerate(levels):
        values = column(known[known["level"] == level], "value")
        if len(values):
            axes.barh(y, values.mean(), height=0.6, color=BLUE, alpha=0.5)
            axes.plot(values, np.full(len(values), y), "o", color=BLACK, markersize=3)
            told.append(f"{level} {values.mean():.1f} s")
    axes.set_yticks(range(len(levels)), [written(level) for level in levels], fontsize=SMALL)
    axes.set_ylim(len(levels) - 0.5, -0.5)
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("training time, s", fontsize=SMALL)
    axes.set_title(title)
    return describe_figure(figure, f"Bars of the training time per level: {'; '.join(told)}.")
