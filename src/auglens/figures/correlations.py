"""Correlation maps as heat maps, and the counts of strong and weak pairs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from auglens.figures.marks import MOST_NUMBERED
from auglens.figures.style import (
    BLACK,
    BLUE,
    HEAT,
    ORANGE,
    STYLE,
    aug_label,
    describe_figure,
    grid_of,
    italic_controls,
    metric_label,
)

CELL, SMALL_CELL = (0.4, 0.34), (0.15, 0.15)  # inches, with and without a number


@rc_context(STYLE)
def correlation_heatmaps(maps: Mapping[str, pd.DataFrame], columns: int = 2) -> Figure:
    """All `correlation_map`s in one figure and on one colour scale, with up to MOST_NUMBERED augs in numbers, too;
    controls in italics.

    maps: metric → augs × augs. The scale spans the correlations off the diagonals,
    rounded outward to a tenth.
    """
    limits = _limits(maps)
    size = max((len(matrix) for matrix in maps.values()), default=1)
    across = min(columns, len(maps))
    rows = -(-len(maps) // across)
    wide, high = CELL if size <= MOST_NUMBERED else SMALL_CELL
    figure = Figure(figsize=(across * (1.5 + wide * size) + 0.7, rows * (1.35 + high * size)))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.1)
    panels = grid_of(figure, len(maps), columns)
    for axes, (metric, matrix) in zip(panels, maps.items(), strict=True):
        image = _heat(axes, matrix, limits)
        axes.set_title(metric_label(metric))
    figure.colorbar(image, ax=panels, label="Pearson over test images", shrink=0.5, aspect=30, pad=0.02)
    told = "; ".join(f"{metric_label(metric)} {_span(matrix)}" for metric, matrix in maps.items())
    return describe_figure(figure, f"Heat maps of the correlation between augs, one per metric: {told}.")


@rc_context(STYLE)
def correlation_heatmap(matrix: pd.DataFrame, metric: str) -> Figure:
    """One `correlation_map`, annotated, on a scale of its own."""
    size = len(matrix)
    wide, high = (0.46, 0.4) if size <= MOST_NUMBERED else SMALL_CELL
    figure = Figure(figsize=(2.6 + wide * size, 1.6 + high * size))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    image = _heat(axes, matrix, _limits({metric: matrix}))
    axes.set_title(f"{metric_label(metric)}: correlation between augs")
    figure.colorbar(image, ax=axes, label="Pearson over test images", shrink=0.8)
    alt = f"Heat map of the correlation of {metric_label(metric)} between {size} augs: {_span(matrix)}."
    return describe_figure(figure, alt)


@rc_context(STYLE)
def pair_counts_chart(strong: pd.DataFrame, weak: pd.DataFrame) -> Figure:
    """Bars of `pair_counts`: pairs counted at least once, most often first; or why there are none."""
    shown = [frame[frame["count"] > 0] for frame in (strong, weak)]
    longest = max(*(len(frame) for frame in shown), 3)
    figure = Figure(figsize=(10.5, 1.2 + 0.27 * longest))
    figure.set_layout_engine("constrained", w_pad=0.15)
    told = []
    titles = ("Strong: among the most correlated", "Weak: among the least correlated")
    for axes, frame, title, colour in zip(figure.subplots(1, 2), shown, titles, (BLUE, ORANGE), strict=True):
        axes.set_title(title)
        if frame.empty:
            reason = strong.attrs.get("not_defined", "no pair was counted")
            told_why = textwrap.fill(f"not defined: {reason}", 64)
            axes.text(0, 0.9, told_why, va="top", transform=axes.transAxes)
            axes.set_axis_off()
            told.append(f"{title}: not defined ({reason})")
            continue
        names = [f"{aug_label(a)} – {aug_label(b)}" for a, b in zip(frame["aug_a"], frame["aug_b"], strict=True)]
        metrics = {name for cell in frame["metrics"] for name in cell.split(", ")}
        bars = axes.barh(range(len(frame)), frame["count"], color=colour, height=0.7)
        axes.bar_label(bars, padding=3, fontsize=8)
        axes.set_yticks(range(len(frame)), names)
        axes.set_ylim(longest - 0.4, -0.6)
        axes.set_xlim(0, len(metrics) + 0.5)
        axes.set_xticks(range(len(metrics) + 1))
        axes.set_xlabel(f"number of metrics, of {len(metrics)}")
        axes.tick_params(axis="y", length=0)
        first = [f"{name} {count}" for name, count in zip(names[:4], frame["count"], strict=False)]
        told.append(f"{title}: {', '.join(first)}")
    return describe_figure(figure, f"Pairs of augs by number of metrics. {'. '.join(told)}.")


def _off_diagonal(matrix: pd.DataFrame) -> np.ndarray:
    values = matrix.to_numpy(dtype=np.float64)[~np.eye(len(matrix), dtype=bool)]
    return values[np.isfinite(values)]


def _limits(maps: Mapping[str, pd.DataFrame]) -> tuple[float, float]:
    """The colour scale: the correlations off the diagonal, rounded outward to a tenth."""
    values = np.concatenate([_off_diagonal(matrix) for matrix in maps.values()])
    if len(values) == 0:
        return 0.0, 1.0
    # 0.3 * 10 is 3.0000000000000004: rounded first, so that a tenth stays where it is.
    low, high = np.floor(round(values.min() * 10, 9)) / 10, np.ceil(round(values.max() * 10, 9)) / 10
    return float(low), float(max(high, low + 0.1))


def _span(matrix: pd.DataFrame) -> str:
    values = _off_diagonal(matrix)
    return f"{values.min():.2f} to {values.max():.2f}" if len(values) else "not defined"


def _heat(axes: Axes, matrix: pd.DataFrame, limits: tuple[float, float]) -> AxesImage:
    """Colours leave the diagonal out: its ones say nothing and would swallow half of the scale."""
    values = matrix.to_numpy(dtype=np.float64)
    low, high = limits
    coloured = np.where(np.eye(len(values), dtype=bool), np.nan, values)
    image = axes.imshow(np.ma.masked_invalid(coloured), cmap=HEAT, vmin=low, vmax=high)
    axes.set_facecolor("#eeeeee")
    numbered = len(values) <= MOST_NUMBERED
    for (i, j), value in np.ndenumerate(values) if numbered else ():
        dark = i != j and np.isfinite(value) and (value - low) / (high - low) > 0.55
        text = ("1" if i == j else f"{value:.2f}") if np.isfinite(value) else "n/a"
        number = axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if dark else BLACK)
        number.set_in_layout(False)  # inside the axes: it takes no room, and measuring it takes time
    augs = [str(aug) for aug in matrix.index]
    labels = [aug_label(aug) for aug in augs]
    small = 8 if numbered else 6
    axes.set_xticks(range(len(augs)), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=small)
    axes.set_yticks(range(len(augs)), labels, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    italic_controls(axes.get_xticklabels(), augs)
    italic_controls(axes.get_yticklabels(), augs)
    return image
