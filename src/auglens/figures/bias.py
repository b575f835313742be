"""The data set's own bias: what a fixed map explains of every metric, and the mean maps themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from auglens.figures.images import MAP_COLOURS
from auglens.figures.marks import (
    SMALL,
    WIDTH,
    column,
    defined,
    draw_spans,
    extremes,
    name_lines,
    not_defined,
    note,
    number,
    ordered,
)
from auglens.figures.style import BLACK, STYLE, aug_colour, aug_label, describe_figure, grid_of, metric_label
from auglens.stats import CONTROLS

FIXED = {"mean map": "mean_map", "centre": "centre"}  # name → column


@rc_context(STYLE)
def bias_bars(bias: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 2) -> Figure:
    """One panel per metric: the share of its variance over images that the data set's mean map explains, per aug.

    bias: columns aug, metric, mean, mean_map, centre, explained (R², 0 to 1), and, where known, explained_low and
    explained_high. Under the title: what the two fixed maps would score.
    """
    title = "What a fixed map explains"
    table = defined(bias, "explained")
    if metrics is not None and len(table):
        table = table[table["metric"].isin(metrics)]
    if table.empty:
        return not_defined(title, bias, "no metric varies over the images")
    names, augs = list(dict.fromkeys(table["metric"])), ordered(table["aug"])
    figure = Figure(figsize=(WIDTH, -(-len(names) // columns) * (0.72 + 0.165 * len(augs)) + 0.4))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    reach = np.concatenate([column(table, name) for name in ("explained", "explained_high")])
    top = min(1.0, 1.08 * max(float(np.nanmax(reach)), 0.05))
    told = []
    for n, (axes, metric) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        group = table[table["metric"] == metric]
        y = np.array([augs.index(aug) for aug in group["aug"]], dtype=np.float64)
        shares = column(group, "explained")
        axes.barh(y, shares, height=0.66, color=[aug_colour(aug) for aug in group["aug"]], alpha=0.55)
        low, high = (column(group, f"explained_{end}") for end in ("low", "high"))
        draw_spans(axes, low, high, y, color=BLACK, linewidth=1)
        name_lines(axes, augs, visible=n % columns == 0)
        axes.set_xlim(0, top)
        fixed = _fixed(group)
        axes.set_title(metric_label(metric), pad=15)
        axes.text(0, 1.0, fixed, fontsize=7, va="bottom", transform=axes.transAxes).set_in_layout(False)
        ends = " to ".join(extremes(group, "explained", "aug"))
        told.append(f"{metric_label(metric)}: {ends}" + (f" ({fixed})" if fixed else ""))
    note(figure, "Bar: R² over images of the metric on the reference's distance from the mean map; line: its "
                 "interval. Above: the metric of the mean map itself, and of a centred Gaussian.")  # fmt: skip
    return describe_figure(
        figure, f"Bars of the share of each metric's variance that a fixed map explains. {'; '.join(told)}."
    )


def _fixed(group: pd.DataFrame) -> str:
    """What the two fixed maps score: the same for every aug."""
    means = {name: column(defined(group, key), key) for name, key in FIXED.items()}
    return ", ".join(f"{name} {number(float(values.mean()))}" for name, values in means.items() if len(values))


@rc_context(STYLE)
def mean_maps(maps: Mapping[str, NDArray[Any]], title: str, columns: int = 6) -> Figure:
    """Mean maps side by side on one scale from 0. maps: name → float [h, w] of any resolution; NaN: white."""
    drawn = {name: np.asarray(one, dtype=np.float64) for name, one in maps.items()}
    drawn = {name: one for name, one in drawn.items() if np.isfinite(one).any()}
    if not drawn:
        return not_defined(title, maps, "there is no map")
    across = min(columns, len(drawn))
    figure = Figure(figsize=(WIDTH, -(-len(drawn) // across) * (6.2 / columns + 0.32) + 0.4))
    figure.set_layout_engine("constrained")
    panels = grid_of(figure, len(drawn), columns)
    top = max(float(np.nanmax(one)) for one in drawn.values())
    bottom = min(0.0, min(float(np.nanmin(one)) for one in drawn.values()))
    told = []
    for axes, (name, one) in zip(panels, drawn.items(), strict=True):
        shown = axes.imshow(np.ma.masked_invalid(one), cmap=MAP_COLOURS, vmin=bottom, vmax=max(top, bottom + 1e-9),
                            interpolation="nearest")  # fmt: skip
        axes.set_title(textwrap.fill(aug_label(name), 16), fontsize=SMALL, fontweight="normal", loc="center",
                       fontstyle="italic" if name in CONTROLS else "normal")  # fmt: skip
        axes.set_axis_off()
        row, across_at = np.unravel_index(int(np.nanargmax(one)), one.shape)
        place = f"{_percent(across_at, one.shape[1])} across, {_percent(row, one.shape[0])} down"
        told.append(f"{aug_label(name)} mean {np.nanmean(one):.2f}, highest {np.nanmax(one):.2f} at {place}")
    figure.colorbar(shown, ax=panels, label="mean map", shrink=0.7, aspect=25, pad=0.02)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10)
    return describe_figure(figure, f"{title}: {len(drawn)} maps. {'; '.join(told)}.")


def _percent(place: Any, size: int) -> str:
    return f"{100 * (float(place) + 0.5) / size:.0f} %"
