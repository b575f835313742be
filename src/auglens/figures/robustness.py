"""What erasing a square of each image does to the scores: aug by aug, and where in the image."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from auglens.figures.marks import (
    SMALL,
    WIDTH,
    Mark,
    column,
    defined,
    extremes,
    legend,
    name_lines,
    not_defined,
    note,
    number,
    ordered,
)
from auglens.figures.style import BLACK, STYLE, aug_colour, aug_label, describe_figure, grid_of
from auglens.stats import CONTROLS
from auglens.stats.robustness import ROBUSTNESS

LIFTED = 0.17  # of a row, from its middle to the whole images above and the erased ones below
HURTS = "RdBu"  # low values red; a map of its own for what is neither: light in the middle
UNDEFINED = "#bdbdbd"
BESIDE = 1.05  # inches that the parts' names and the scale take of the width
ROOM = 0.28  # inches that a number needs: narrower cells have none
INK_FROM = 0.7  # share of the scale from which on a number is white


def robustness_label(score: str) -> str:
    """`hausdorff` → `Hausdorff distance (pixels) ↓`: the arrow points towards the better."""
    found = ROBUSTNESS[score]
    return f"{found.label}{_unit(score)} {'↓' if found.lower else '↑'}"


def _unit(score: str) -> str:
    return f" ({ROBUSTNESS[score].unit})" if ROBUSTNESS[score].unit else ""


@rc_context(STYLE)
def robustness_dots(by_model: pd.DataFrame) -> Figure:
    """A panel per score and part: every model on whole images (open) and on erased ones (filled), and the means.

    by_model: `robustness_by_model`'s rows. A score without a whole (consistency) has filled marks alone.
    """
    title = "Scores of whole and of erased images"
    table = defined(by_model, "erased")
    if table.empty:
        return not_defined(title, by_model, "no model has a score of erased images")
    augs, parts = ordered(table["aug"]), list(table["part"].unique())
    names = [name for name in ROBUSTNESS if (table["score"] == name).any()]
    panels = [(name, part) for name in names for part in parts]
    columns = 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, rows * (0.62 + 0.24 * len(augs)) + 0.75))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    told = []
    grid = grid_of(figure, len(panels), columns)
    for place, (axes, (name, part)) in enumerate(zip(grid, panels, strict=True)):
        group = table[(table["score"] == name) & (table["part"] == part)]
        _dots(axes, group, augs, 0 if ROBUSTNESS[name].relative else LIFTED)
        name_lines(axes, augs, visible=place % columns == 0)
        axes.set_title(robustness_label(name) + (f", {part}" if len(parts) > 1 else ""), fontsize=9)
        first = grid[panels.index((name, parts[0]))]
        if axes is not first:
            axes.sharex(first)
            axes.autoscale(axis="x")
        told.append(f"{ROBUSTNESS[name].label} ({part}) {_span(group)}")
    marks = [Mark("whole image", colour=BLACK, filled=False), Mark("a cell of the grid erased", colour=BLACK)]
    legend(figure, [mark.handle() for mark in marks])
    note(figure, f"Dot: a model ({_models(table)}); upright line: the aug's mean. {_counts(table)}")
    return describe_figure(figure, f"{title}, per aug, means from lowest to highest. {'; '.join(told)}.")


def _dots(axes: Axes, group: pd.DataFrame, augs: list[str], lifted: float) -> None:
    for value, side, filled in (("whole", -lifted, False), ("erased", lifted, True)):
        for aug, rows in defined(group, value).groupby("aug", sort=False):
            y, values, colour = augs.index(str(aug)) + side, column(rows, value), aug_colour(str(aug))
            axes.vlines(values.mean(), y - LIFTED, y + LIFTED, color=colour, linewidth=1.4)
            options = Mark("", colour=colour, filled=filled).options()
            options |= {"markersize": 3.6, "markeredgewidth": 0.9}
            axes.plot(values, np.full(len(values), y), linestyle="none", **options)


def _span(group: pd.DataFrame) -> str:
    """Lowest and highest mean over models, whole and erased."""
    means = group.groupby("aug", sort=False)[["whole", "erased"]].mean().reset_index()
    erased = f"erased {' to '.join(extremes(means, 'erased', 'aug', digits='.3g'))}"
    whole = extremes(defined(means, "whole"), "whole", "aug", digits=".3g")
    return f"whole {' to '.join(whole)}, {erased}" if whole else erased


def _models(table: pd.DataFrame) -> str:
    counts = table.groupby(["aug", "score", "part"]).size()
    return f"n = {_range(counts)} per aug"


def _range(counts: Any) -> str:
    low, high = int(np.min(counts)), int(np.max(counts))
    return f"{low}" if low == high else f"{low} to {high}"


def _counts(table: pd.DataFrame) -> str:
    """Images per part, and where values are undefined how many of a model's copies at most."""
    images = [f"{_range(group['images'])} {part}" for part, group in table.groupby("part", sort=False)]
    text = f"Images: {', '.join(images)}, each once per cell of the grid."
    left_out = table.groupby("score", sort=False)["undefined"].max()
    lost = [f"{ROBUSTNESS[str(name)].label} {most}" for name, most in left_out.items() if most]
    return f"{text} Copies left out as undefined, at most in a model: {', '.join(lost)}." if lost else text


@rc_context(STYLE)
def erasing_maps(where: pd.DataFrame, score: str, columns: int = 5) -> Figure:
    """A heat map of the grid per aug and part: how a score changes when that cell is erased; one scale for all.

    where: `where_erasing_hurts`'s rows for the score. Red: erasing hurts; blue: it helps; grey: not defined. Where
    cells are wide enough the changes stand in numbers.
    """
    label = ROBUSTNESS[score].label
    title = f"{label}: change when a cell is erased"
    table = defined(where, "drop")
    if table.empty:
        return not_defined(title, where, f"no cell of the grid has a change of {label}")
    augs, parts = ordered(table["aug"]), list(table["part"].unique())
    shape = (int(where["row"].max()) + 1, int(where["column"].max()) + 1)
    lines = -(-len(augs) // columns)
    width = (WIDTH - BESIDE) / columns
    figure = Figure(figsize=(WIDTH, len(parts) * lines * (width * shape[0] / shape[1] + 0.34) + 0.6))
    figure.set_layout_engine("constrained", w_pad=0.03)
    grid = figure.subplots(len(parts) * lines, columns, squeeze=False).reshape(len(parts), lines * columns)
    top = float(np.abs(column(table, "drop")).max()) or 1.0
    used, told = [], []
    for part, row in zip(parts, grid, strict=True):
        mine = table[table["part"] == part]
        for place, (axes, aug) in enumerate(zip(row, augs, strict=False)):
            group = mine[mine["aug"] == aug]
            values = np.full(shape, np.nan)
            values[group["row"].to_numpy(), group["column"].to_numpy()] = column(group, "drop")
            image = _heat(axes, values, top, f"{HURTS}{'_r' if ROBUSTNESS[score].lower else ''}")
            if width / shape[1] >= ROOM:
                _write(axes, values, top, 7 if width / shape[1] >= 1.4 * ROOM else 5.5)
            axes.set_title(textwrap.fill(aug_label(aug), 20), fontsize=SMALL, fontweight="normal", loc="center",
                           fontstyle="italic" if aug in CONTROLS else "normal")  # fmt: skip
            if len(parts) > 1 and place % columns == 0:
                axes.set_ylabel(part, fontsize=SMALL)
            used.append(axes)
        for axes in row[len(augs) :]:
            axes.set_axis_off()
        told.append(f"{part}: {_worst(mine, score)}")
    figure.colorbar(image, ax=used, label=f"erased − whole{_unit(score)}", shrink=0.8, aspect=20, pad=0.02)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10)
    most = int(where["undefined"].max())
    lost = f" Left out as undefined: up to {most} per cell." if most else ""
    pairs = f"n = {_range(table['n'])} pairs of image and model per cell"
    note(figure, f"Red: erasing hurts; grey: not defined. Mean over {pairs}.{lost}")
    size = f"{shape[0]} × {shape[1]} cells, a map per aug"
    return describe_figure(figure, f"{title}, {size}. The cell that costs most, {'; '.join(told)}.")


def _heat(axes: Axes, values: NDArray[np.float64], top: float, colours: str) -> AxesImage:
    axes.set_facecolor(UNDEFINED)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    shown = np.ma.masked_invalid(values)
    return axes.imshow(shown, cmap=colours, vmin=-top, vmax=top, interpolation="nearest")


def _worst(rows: pd.DataFrame, score: str) -> str:
    """Each aug's worst cell, of the augs that lose least and most; rows and columns counted from 1."""
    sign = -1.0 if ROBUSTNESS[score].lower else 1.0
    cells = rows.assign(turned=sign * column(rows, "drop")).sort_values("turned", kind="stable")
    worst = cells.drop_duplicates("aug")
    ends = worst.iloc[[-1, 0]] if len(worst) > 1 else worst
    return " to ".join(
        f"{aug_label(str(aug))} {number(drop)} (row {row + 1}, column {place + 1})"
        for aug, drop, row, place in zip(ends["aug"], ends["drop"], ends["row"], ends["column"], strict=True)
    )


def _write(axes: Axes, values: NDArray[np.float64], top: float, size: float) -> None:
    digits = 1 if top >= 10 else 2 if top >= 0.1 else 3
    for (i, j), value in np.ndenumerate(values):
        text = f"{value:.{digits}f}".replace("-", "−") if np.isfinite(value) else "n/a"
        text = text.replace("0.", ".") if digits == 3 else text
        ink = "white" if np.isfinite(value) and abs(value) > INK_FROM * top else BLACK
        told = axes.text(j, i, text, ha="center", va="center", fontsize=size, color=ink)
        told.set_in_layout(False)  # inside the axes: it takes no room, and measuring it takes time
