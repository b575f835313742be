"""Does divergence of the maps go with a change of correctness? Per image as AUCs, per aug as a scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from auglens.figures.marks import (
    SMALL,
    WIDTH,
    Mark,
    column,
    defined,
    draw_forest,
    draw_spans,
    extremes,
    legend,
    name_lines,
    not_defined,
    note,
    ordered,
)
from auglens.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    STYLE,
    VERMILION,
    aug_label,
    describe_figure,
    grid_of,
    metric_label,
)
from auglens.stats import CONTROLS

QUESTIONS = {
    "changed": Mark("correctness changed"),
    "lost": Mark("right before: lost", "v", VERMILION),
    "gained": Mark("wrong before: gained", "^", GREEN),
}
_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))  # places of a label, best first


@rc_context(STYLE)
def divergence_forest(divergence: pd.DataFrame, metrics: Sequence[str] = ("pearson", "mad")) -> Figure:
    """One panel per metric: per aug the AUC with which the metric tells images whose correctness changed, with its
    interval; right before and lost, wrong before and gained, below it.

    divergence: `divergence_table`'s columns. Filled: the interval leaves out 0.5; hollow: not, or no interval.
    """
    title = "Divergence of maps and change of correctness"
    table = defined(divergence, "auc")
    table = table[table["metric"].isin(metrics)] if len(table) else table
    if table.empty:
        return not_defined(title, divergence, "no model has images of both kinds")
    names = [metric for metric in metrics if (table["metric"] == metric).any()]
    augs = ordered(table["aug"])
    asked = [question for question in QUESTIONS if (table["question"] == question).any()]
    figure = Figure(figsize=(WIDTH, 1.5 + (0.08 + 0.11 * len(asked)) * len(augs)))
    figure.set_layout_engine("constrained", w_pad=0.06)
    told = []
    for n, (axes, metric) in enumerate(
        zip(grid_of(figure, len(names), len(names), sharex=True), names, strict=True)
    ):
        axes.axvline(0.5, color=BLACK, linewidth=0.9, linestyle="dotted", zorder=0)
        axes.hlines(
            np.arange(len(augs) - 1) + 0.5,
            0,
            1,
            color="#eeeeee",
            linewidth=0.8,
            transform=axes.get_yaxis_transform(),
        )
        for k, question in enumerate(asked):
            group = table[(table["metric"] == metric) & (table["question"] == question)]
            y = np.array([augs.index(aug) for aug in group["aug"]]) + 0.26 * (k - (len(asked) - 1) / 2)
            sure = (column(group, "low") > 0.5) | (column(group, "high") < 0.5)
            marks = [replace(QUESTIONS[question], filled=bool(one)) for one in sure]
            draw_forest(axes, group, "auc", y, marks)
            said = " to ".join(extremes(group, "auc", "aug"))
            told.append(f"{metric_label(metric)}, {question}: {said or 'not defined'}")
        name_lines(axes, augs, visible=n == 0)
        axes.set_title(metric_label(metric))
        axes.set_xlabel("AUC: moved further →", loc="right", fontsize=SMALL)
    legend(figure, [QUESTIONS[question].handle() for question in asked])
    note(
        figure,
        "Point: AUC, mean over seeds; bar: its interval; dotted: chance. Filled: the interval leaves out 0.5.",
    )
    return describe_figure(
        figure, f"Forest plot of the AUC with which a metric tells images that changed. {'; '.join(told)}."
    )


@rc_context(STYLE)
def divergence_scatter(points: pd.DataFrame, metrics: Sequence[str] | None = None) -> Figure:
    """One panel per metric, one point per aug: how far the maps moved against the change of accuracy.

    points: columns aug, metric, moved (or divergence; higher: further), accuracy_change (fraction, drawn in
    percentage points), and, where known, the ends of their intervals: moved_low, moved_high, accuracy_change_low,
    accuracy_change_high.
    """
    title = "How far the maps moved against the change of accuracy"
    moved = "moved" if "moved" in points else "divergence"
    table = defined(points, moved, "accuracy_change")
    if metrics is not None and len(table):
        table = table[table["metric"].isin(metrics)]
    if table.empty:
        return not_defined(title, points, "no aug has both a divergence and an accuracy")
    names = [metric for metric in metrics or dict.fromkeys(table["metric"]) if (table["metric"] == metric).any()]
    # Side by side there is no room for many names.
    across = min(2 if table["aug"].nunique() <= 14 else 1, len(names))
    figure = Figure(figsize=(WIDTH, -(-len(names) // across) * 2.9 + 0.6))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    panels = grid_of(figure, len(names), across)
    told = []
    for n, (axes, metric) in enumerate(zip(panels, names, strict=True)):
        group = table[table["metric"] == metric]
        x, y = column(group, moved), 100 * column(group, "accuracy_change")
        axes.axhline(0, color=BLACK, linewidth=0.9, linestyle="dotted", zorder=0)
        for controls in (False, True):
            rows = group["aug"].isin(CONTROLS).to_numpy() == controls
            colour = GREY if controls else BLUE
            low, high = (column(group, f"{moved}_{end}")[rows] for end in ("low", "high"))
            draw_spans(axes, low, high, y[rows], color=colour, linewidth=0.9)
            low, high = (100 * column(group, f"accuracy_change_{end}")[rows] for end in ("low", "high"))
            stand = np.column_stack([low, high, np.full(len(low), np.nan)]).ravel()
            axes.plot(np.repeat(x[rows], 3), stand, color=colour, linewidth=0.9)
            axes.plot(x[rows], y[rows], "s" if controls else "o", color=colour, markersize=4.5)
        axes.margins(0.16, 0.12)
        axes.tick_params(labelsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        # A distance is never negative: these are similarities, whose sign is turned so that right is further.
        axes.set_title(metric_label(metric, unit=True) + (", sign turned" if x.min() < 0 else ""))
        axes.set_xlabel("further moved →", loc="right", fontsize=SMALL)
        if n % across == 0:
            axes.set_ylabel("accuracy − reference's\n(percentage points)", fontsize=SMALL)
        least, most = (f"{end} at {y[at]:+.1f} points" for end, at in
                       zip((extremes(group, moved, "aug", digits=".3g") * 2)[:2], (x.argmin(), x.argmax()),
                           strict=True))  # fmt: skip
        told.append(f"{metric_label(metric)}: least moved {least}, most {most}")
    figure.draw_without_rendering()  # fixes the layout, which the places of the labels depend on
    for axes, metric in zip(panels, names, strict=True):
        group = table[table["metric"] == metric]
        _label(axes, list(group["aug"]), column(group, moved), 100 * column(group, "accuracy_change"))
    return describe_figure(figure, f"Scatter plot of the augs: {title}. {'; '.join(told)}.")


def _label(axes: Axes, augs: list[str], x: np.ndarray, y: np.ndarray) -> None:
    """Names beside the points, each where it covers the least of points, other names and the frame's outside."""
    scale = 72 / axes.figure.dpi
    points = axes.transData.transform(np.column_stack([x, y])) * scale
    box = axes.get_window_extent()
    frame = np.array([box.x0, box.y0, box.x1, box.y1]) * scale
    taken = [np.array([px - 3, py - 3, px + 3, py + 3]) for px, py in points]
    for aug, point in zip(augs, points, strict=True):
        text = aug_label(aug)
        width, height = 3.9 * len(text), 8.0  # points: DejaVu Sans at 7 is on average 3.9 wide
        found: list[tuple[float, float, float, int]] = []
        for distance in (4, 9, 15, 22):
            for dx, dy in _AROUND:
                at = np.array([dx * (2 if dy else distance), dy * (distance + height / 2)])
                low = point + at - np.array([width * (1 - dx) / 2, height / 2])
                area = np.array([*low, *(low + np.array([width, height]))])
                outside = width * height - _common(area, frame)
                cost = sum(_common(area, other) for other in taken) + 3 * outside + distance / 4
                found.append((cost, float(at[0]), float(at[1]), dx))
        _, right, up, dx = min(found, key=lambda one: one[0])  # the first of equals
        low = point + np.array([right - width * (1 - dx) / 2, up - height / 2])
        taken.append(np.array([*low, *(low + np.array([width, height]))]))
        far = max(abs(right), abs(up) - height / 2) > 8
        line = {"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
        place = axes.transData.inverted().transform(point / scale)
        axes.annotate(
            text, tuple(place), (right, up), textcoords="offset points", va="center", fontsize=7,
            ha={1: "left", 0: "center", -1: "right"}[dx], fontstyle="italic" if aug in CONTROLS else "normal",
            arrowprops=line if far else None,
        )  # fmt: skip


def _common(a: np.ndarray, b: np.ndarray) -> float:
    """Area that two boxes (x0, y0, x1, y1) share."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.clip(sides, 0, None).prod())
