"""What the figures of the analysis share: points with intervals, half heat maps, and "not defined" in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from auglens.figures.style import (
    BLACK,
    BLUE,
    GREY,
    HEAT,
    aug_label,
    describe_figure,
    italic_controls,
    name_rows,
)
from auglens.stats import CONTROLS, REFERENCE

WIDTH = 7.0  # inches, 672 px: as wide as the report lets a figure be on a narrow screen
SMALL = 8  # points
BAND = "#e6e6e6"
# With more augs a cell is smaller than its number, which the table beside has as well.
MOST_NUMBERED = 18


@dataclass(frozen=True)
class Mark:
    """How a point is drawn, and what that says. Filled or hollow tells as much as the colour."""

    label: str
    marker: str = "o"
    colour: str = BLUE
    filled: bool = True

    def handle(self) -> Line2D:
        """The mark with its words, for a legend."""
        return Line2D([], [], linestyle="none", label=self.label, **self.options())

    def options(self) -> dict[str, Any]:
        # A vertical tick is a line: it needs height and a stroke where the others need an area.
        size, edge = (8.0, 1.8) if self.marker == "|" else (5.0, 1.2)
        face = self.colour if self.filled else "white"
        return {"marker": self.marker, "color": self.colour, "markerfacecolor": face, "markersize": size,
                "markeredgewidth": edge}  # fmt: skip


CONTROL = Mark("control", "|", GREY)


def ordered(augs: Iterable[str]) -> list[str]:
    """Each name once: the reference, then the augs as they come, then the controls."""
    names = list(dict.fromkeys(augs))
    return sorted(names, key=lambda aug: (aug in CONTROLS, aug != REFERENCE))


def pair_label(a: str, b: str) -> str:
    return f"{aug_label(a)} – {aug_label(b)}"


def number(value: float) -> str:
    """Three digits, for alt texts; a typographic minus would be read as a dash."""
    return f"{value:.3g}" if np.isfinite(value) else "not defined"


def extremes(table: pd.DataFrame, value: str, *names: str, digits: str = ".2f") -> list[str]:
    """The rows with the lowest and the highest value, "name value"; once where they are one row; [] of none."""
    found = table.iloc[np.argsort(column(table, value), kind="stable")]
    values = column(found, value)
    rows = dict.fromkeys([0, len(found) - 1] if len(found) else [])
    labels = [" – ".join(dict.fromkeys(aug_label(str(found[name].iloc[n])) for name in names)) for n in rows]
    return [f"{label} {values[n]:{digits}}" for label, n in zip(labels, rows, strict=True)]


def not_defined(title: str, table: object, reason: str) -> Figure:
    """A figure that says why there is nothing to draw: the table's own `attrs["why"]` where it has one."""
    why = str(getattr(table, "attrs", {}).get("why", reason))
    lines = textwrap.wrap(f"not defined: {why}", 100)
    figure = Figure(figsize=(WIDTH, 0.5 + 0.18 * len(lines)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.text(0, 1, "\n".join(lines), va="top", transform=axes.transAxes)
    axes.set_axis_off()
    return describe_figure(figure, f"{title}: not defined ({why}).")


def defined(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The rows in which all of these columns are finite; a table without such a column has none."""
    if not set(columns) <= set(table.columns):
        return table.iloc[:0]
    values = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    return table[np.isfinite(values).all(axis=1)]


def column(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """float64 [rows]; NaN throughout where the table has no such column."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)


def draw_spans(
    axes: Axes, low: ArrayLike, high: ArrayLike, y: ArrayLike, *, line: str = "solid", **options: Any
) -> None:
    """Lying intervals as one line with gaps: one path in the file instead of one each. NaN draws nothing."""
    ends = np.column_stack([low, high, np.full(np.shape(low), np.nan)]).astype(np.float64)
    ends[~np.isfinite(ends[:, :2]).all(axis=1)] = np.nan
    axes.plot(ends.ravel(), np.repeat(np.asarray(y, dtype=np.float64), 3), linestyle=line, **options)


def draw_forest(axes: Axes, table: pd.DataFrame, estimate: str, y: ArrayLike, marks: Sequence[Mark]) -> None:
    """A point per row of the table, with its interval where columns low and high have one."""
    places, x = np.asarray(y, dtype=np.float64), column(table, estimate)
    low, high = column(table, "low"), column(table, "high")
    for mark in dict.fromkeys(marks):
        rows = np.array([one == mark for one in marks])
        draw_spans(axes, low[rows], high[rows], places[rows], color=mark.colour, linewidth=1.4)
        axes.plot(x[rows], places[rows], linestyle="none", **mark.options())


def name_lines(axes: Axes, augs: list[str], *, visible: bool = True) -> None:
    """`name_rows`, small; panels to the right go without, and without their ticks."""
    name_rows(axes, augs, visible=visible)
    axes.tick_params(axis="both", labelsize=SMALL)
    if not visible:
        axes.set_yticks([])
    few_ticks(axes)


def few_ticks(axes: Axes, count: int = 4) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=count))
    axes.grid(axis="x", visible=True)


def legend(figure: Figure, handles: Sequence[Any], columns: int = 4) -> None:
    """Above all panels."""
    figure.legend(handles=list(handles), loc="outside upper left", ncols=columns, fontsize=SMALL,
                  handletextpad=0.4, columnspacing=1.4)  # fmt: skip


def note(figure: Figure, text: str) -> None:
    """Below all panels, folded to the figure's width."""
    figure.supxlabel(textwrap.fill(text, 112), fontsize=SMALL, x=0.01, ha="left")


def square(table: pd.DataFrame, value: str, augs: Sequence[str]) -> NDArray[np.float64]:
    """float64 [A, A], symmetric, of a table of unordered pairs aug_a, aug_b; NaN for pairs not in it."""
    place = {aug: n for n, aug in enumerate(augs)}
    found = np.full((len(augs), len(augs)), np.nan)
    for a, b, one in zip(table["aug_a"], table["aug_b"], column(table, value), strict=True):
        found[place[a], place[b]] = found[place[b], place[a]] = one
    return found


def half_heat(axes: Axes, values: NDArray[np.float64], augs: list[str]) -> AxesImage:
    """The lower half of a symmetric [A, A], its diagonal framed; with up to MOST_NUMBERED augs in numbers, too."""
    size = len(augs)
    lower = np.tril(np.ones((size, size), dtype=bool))
    shown = np.where(lower, values, np.nan)
    finite = shown[np.isfinite(shown)]
    low, high = float(finite.min()), float(finite.max())
    image = axes.imshow(np.ma.masked_invalid(shown), cmap=HEAT, vmin=low, vmax=high if high > low else low + 1)
    write_cells(axes, shown, lower & (size <= MOST_NUMBERED), image)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [np.nan, np.nan]])
    frames = (np.arange(size)[:, None, None] + corners).reshape(-1, 2)
    axes.plot(frames[:, 0], frames[:, 1], color=BLACK, linewidth=1)
    name_both(axes, [aug_label(aug) for aug in augs])
    italic_controls(axes.get_xticklabels(), augs)
    italic_controls(axes.get_yticklabels(), augs)
    return image


def write_cells(axes: Axes, values: NDArray[np.float64], where: NDArray[np.bool_], image: AxesImage) -> None:
    """The value in each cell of `where`, white on dark; n/a for NaN."""
    finite = values[np.isfinite(values)]
    digits = 2 if len(finite) == 0 or np.abs(finite).max() >= 0.1 else 3
    low, high = image.get_clim()
    for i, j in np.argwhere(where):
        value = values[i, j]
        dark = np.isfinite(value) and (value - low) / (high - low) > 0.55
        text = f"{value:.{digits}f}" if np.isfinite(value) else "n/a"
        number = axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else BLACK)
        number.set_in_layout(False)  # inside the axes: it takes no room, and measuring it takes time


def name_both(axes: Axes, labels: list[str]) -> None:
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=SMALL)
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
