"""Pairs of augs with their error bars: correlations, and the counts of strong and weak pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
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
    few_ticks,
    legend,
    not_defined,
    note,
    pair_label,
)
from auglens.figures.style import BLACK, BLUE, GREY, ORANGE, STYLE, describe_figure, grid_of, metric_label
from auglens.stats import CONTROLS

PAIR, WITH_CONTROL = Mark("two augs"), Mark("with a control", "s", GREY, filled=False)
SIDES = {
    "strong": ("Strong: among the most correlated", BLUE),
    "weak": ("Weak: among the least correlated", ORANGE),
}


@rc_context(STYLE)
def correlation_intervals(
    correlation: pd.DataFrame, metrics: Sequence[str], most: int = 40, columns: int = 4
) -> Figure:
    """Forest of the pairs' correlations: one row per pair, highest mean over `metrics` (Fisher's z) first.

    correlation: columns metric, aug_a, aug_b, correlation, low, high. One panel per metric. Of more than `most`
    pairs the highest and the lowest halves are shown.
    """
    title = "Correlation of the pairs"
    table = defined(correlation, "correlation")
    table = table[table["metric"].isin(metrics) & (table["aug_a"] != table["aug_b"])] if len(table) else table
    names = [metric for metric in metrics if len(table) and (table["metric"] == metric).any()]
    if not names:
        return not_defined(title, correlation, "no pair of augs has a correlation")
    z = np.arctanh(np.clip(column(table, "correlation"), -1 + 1e-12, 1 - 1e-12))
    mean = table.assign(z=z).groupby(["aug_a", "aug_b"], sort=False)["z"].mean()
    pairs = [(str(a), str(b)) for a, b in mean.sort_values(ascending=False, kind="stable").index]
    left_out = max(len(pairs) - most, 0)
    half = most // 2
    shown = [*pairs[:half], *pairs[len(pairs) - (most - half) :]] if left_out else pairs
    # The gap in the middle takes one row, so that nobody reads the two halves as neighbours.
    place = {pair: n + (1 if left_out and n >= half else 0) for n, pair in enumerate(shown)}
    depth = max(place.values()) + 1
    across = min(columns, len(names))
    figure = Figure(figsize=(WIDTH, -(-len(names) // across) * (0.6 + 0.155 * depth) + 0.5))
    figure.set_layout_engine("constrained")
    for n, (axes, metric) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        group = table[table["metric"] == metric]
        group = group[[pair in place for pair in zip(group["aug_a"], group["aug_b"], strict=True)]]
        keys = list(zip(group["aug_a"], group["aug_b"], strict=True))
        marks = [WITH_CONTROL if set(pair) & set(CONTROLS) else PAIR for pair in keys]
        draw_forest(axes, group, "correlation", [place[pair] for pair in keys], marks)
        axes.set_yticks([])
        if n % across == 0:
            axes.set_yticks(list(place.values()), [pair_label(*pair) for pair in place], fontsize=7)
            for label, pair in zip(axes.get_yticklabels(), place, strict=True):
                label.set_fontstyle("italic" if set(pair) & set(CONTROLS) else "normal")
        if left_out:
            words = f"{left_out} pairs between" if n % across == 0 else "…"
            axes.text(0.5, half, words, ha="center", va="center", fontsize=7, color="#555555",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        axes.set_ylim(depth - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=SMALL)
        few_ticks(axes, 6 if across == 1 else 3)
        axes.set_title(metric_label(metric), fontsize=9)
    controls = any(set(pair) & set(CONTROLS) for pair in shown)
    legend(figure, [mark.handle() for mark in ((PAIR, WITH_CONTROL) if controls else (PAIR,))])
    note(
        figure,
        "Point: correlation over test images of the seed means; bar: its interval. Sorted by their mean.",
    )
    told = []
    for metric in names:
        ends = extremes(table[table["metric"] == metric], "correlation", "aug_a", "aug_b")
        told.append(f"{metric_label(metric)}: {' to '.join(ends)}")
    return describe_figure(figure, f"Forest plot of the correlations of {len(pairs)} pairs. {'; '.join(told)}.")


@rc_context(STYLE)
def pair_support(pairs: pd.DataFrame, metrics: int | None = None, level: float = 0.05, most: int = 12) -> Figure:
    """Bars of the strong and of the weak counts with what resampling and permutation make of them.

    pairs: `pair_table`'s columns. Whiskers: interval of the count under resampling; beside: its mean share of the
    metrics under resampling, and p after Holm's correction. Solid bars: p ≤ level, claimed; the others are hollow.
    At most `most` pairs on each side, most often counted first; metrics: how many were counted, for the axis.
    """
    table = defined(pairs, "strong", "weak")
    if table.empty or not column(table, "strong").any():
        return not_defined(
            "Strong and weak pairs", pairs, "too few pairs of augs have a correlation to be counted"
        )
    shown = {side: _first(table, side, most) for side in SIDES}
    depth = {side: max(len(frame), 2) for side, frame in shown.items()}
    figure = Figure(figsize=(WIDTH, sum(0.7 + 0.19 * n for n in depth.values()) + 0.5))
    figure.set_layout_engine("constrained", h_pad=0.08)
    both = figure.subplots(2, 1, height_ratios=[n + 2 for n in depth.values()], sharex=True)
    told = []
    reach = max(
        np.nanmax([column(table, f"{side}{end}") for side in SIDES for end in ("", "_high")]), metrics or 1
    )
    for axes, (side, (title, colour)) in zip(both, SIDES.items(), strict=True):
        frame = shown[side]
        y = np.arange(len(frame))
        claimed = column(frame, f"p_{side}_holm") <= level
        for n, (count, claim) in enumerate(zip(column(frame, side), claimed, strict=True)):
            axes.barh(
                n, count, height=0.66, facecolor=colour if claim else "white", edgecolor=colour, linewidth=1.2
            )
        draw_spans(axes, column(frame, f"{side}_low"), column(frame, f"{side}_high"), y, color=BLACK, linewidth=1)
        names = [pair_label(a, b) for a, b in zip(frame["aug_a"], frame["aug_b"], strict=True)]
        axes.set_yticks(y, names, fontsize=SMALL)
        axes.set_ylim(depth[side] - 0.4, -0.6)
        axes.set_xlim(0, reach * 1.02)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=SMALL, labelbottom=True)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.grid(axis="x", visible=True)
        axes.set_title(title)
        _beside(axes, -0.95, "share", "p")
        shares, ps = column(frame, f"{side}_share"), column(frame, f"p_{side}_holm")
        for n, (share, p) in enumerate(zip(shares, ps, strict=True)):
            _beside(axes, n, f"{100 * share:.0f} %" if np.isfinite(share) else "–", _p(p))
        said = ", ".join(f"{name} {int(count)}" for name, count in zip(names[:3], frame[side], strict=False))
        told.append(f"{title}: {said or 'none'}; {int(claimed.sum())} claimed")
    both[-1].set_xlabel("number of metrics" + (f", of {metrics}" if metrics else ""), fontsize=SMALL)
    legend(figure, [Patch(facecolor=GREY, edgecolor=GREY, label=f"claimed (p ≤ {level:g})"),
                    Patch(facecolor="white", edgecolor=GREY, label="not claimed")])  # fmt: skip
    note(figure, "Whisker: interval of the count under resampling; share: of the metrics, mean under resampling; "
                 "p: models permuted among the augs, after Holm's correction.")  # fmt: skip
    return describe_figure(figure, f"Pairs of augs by number of metrics, with support. {'. '.join(told)}.")


def _first(table: pd.DataFrame, side: str, most: int) -> pd.DataFrame:
    """The pairs counted at all, most often first; equal counts by their share under resampling."""
    counted = table[column(table, side) > 0]
    return counted.sort_values([side, f"{side}_share"], ascending=False, kind="stable").head(most)


def _beside(axes: Axes, y: float, share: str, p: str) -> None:
    for x, text in ((1.1, share), (1.22, p)):
        axes.text(x, y, text, ha="right", va="center", fontsize=SMALL, transform=axes.get_yaxis_transform())


def _p(p: float) -> str:
    if not np.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
