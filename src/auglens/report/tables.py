"""Tables of the page: cells as text, one number of decimals per column, controls marked, long tables cut."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

UNDEFINED = "–"
ROWS = 400  # longer tables make the page heavy; the CSV holds them whole
DIGITS = 4


@dataclass(frozen=True)
class Table:
    """A table of the page, its cells already text. numeric: per column; total: rows that the CSV holds."""

    title: str
    caption: str
    head: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]
    total: int
    group: str = ""
    source: str = ""  # where the whole table stands
    controls: frozenset[str] = frozenset()

    def is_control(self, column: int, cell: str) -> bool:
        """Whether the cell names a control: only columns of augs (aug, aug a, aug b) do."""
        return self.head[column].startswith("aug") and cell in self.controls

    def is_control_row(self, row: Sequence[str]) -> bool:
        return any(name == "aug" and cell in self.controls for name, cell in zip(self.head, row, strict=True))


def table(
    title: str,
    caption: str,
    frame: pd.DataFrame,
    *,
    group: str = "",
    source: str = "",
    controls: Collection[str] = (),
    rows: int = ROWS,
) -> Table:
    """A frame as a table: numbers with up to four significant digits, an en dash for what is undefined.

    controls: names of augs to mark where they are cells; rows: the first so many are shown, the caption's note
    says so and names `source`.
    """
    columns = [column_text(frame.iloc[:rows, at].tolist()) for at in range(frame.shape[1])]
    return Table(
        title=title,
        caption=caption,
        head=[str(name).replace("_", " ") for name in frame.columns],
        numeric=[is_number for _, is_number in columns],
        rows=list(zip(*(cells for cells, _ in columns), strict=True)),
        total=len(frame),
        group=group,
        source=source,
        controls=frozenset(controls),
    )


def column_text(values: Sequence[Any]) -> tuple[list[str], bool]:
    """A column's cells as text, and whether it is one of numbers (undefined ones count as numbers)."""
    known = [value for value in values if not _undefined(value)]
    if not known or any(isinstance(value, bool | np.bool_) or not _is_number(value) for value in known):
        return [_word(value) for value in values], False
    decimals = _decimals([abs(float(value)) for value in known if math.isfinite(value)])
    return [UNDEFINED if _undefined(value) else _number(float(value), decimals) for value in values], True


def _undefined(value: Any) -> bool:
    return value is None or bool(value != value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def _word(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return UNDEFINED if _undefined(value) else str(value)


def _decimals(sizes: Sequence[float]) -> int:
    """So many that the column's largest number has four significant digits; none where all are whole."""
    largest = max(sizes, default=0.0)
    if largest == 0 or all(size.is_integer() for size in sizes):
        return 0
    return min(max(DIGITS - 1 - math.floor(math.log10(largest)), 0), DIGITS)


def _number(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{decimals}f}"
    if value and abs(value) < 10 ** (1 - decimals) and decimals:  # fewer than two significant digits are left
        text = f"{value:.2g}"
    return text.replace("-", "−")
