"""A table of rows per (aug, seed, image) as arrays of models × images, without a pivot for every column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CELL = ["aug", "seed"]


def codes_of(table: pd.DataFrame, keys: list[str]) -> tuple[NDArray[np.int64], list[tuple[Any, ...]]]:
    """(int64 [rows]: each row's place among the distinct values of `keys`; those, in order of appearance)."""
    codes = np.zeros(len(table), dtype=np.int64)
    for key in keys:
        found, values = pd.factorize(table[key])
        codes = codes * len(values) + found
    codes, first = np.asarray(pd.factorize(codes)[0], dtype=np.int64), pd.Series(codes).drop_duplicates().index
    return codes, list(table[keys].iloc[first].itertuples(index=False, name=None))


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the rows of a table stand among its models and images. models: (aug, seed), or (aug,), in order of
    appearance; images [N]: ascending; place: int64 [rows], row of the model × N + place of the image; whole:
    the rows are the grid, each place once and in order, so that a column needs no copy."""

    models: list[tuple[Any, ...]]
    images: NDArray[Any]
    place: NDArray[np.int64]
    whole: bool

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.models), len(self.images)

    def members(self) -> dict[str, list[int]]:
        """Aug → its models, by seed: sums over them do not depend on the order of the rows to the last bit."""
        order = sorted(range(len(self.models)), key=lambda row: self.models[row][1])
        augs = dict.fromkeys(aug for aug, _ in self.models)
        return {aug: [row for row in order if self.models[row][0] == aug] for aug in augs}

    def spread(self, column: Any) -> Floats:
        """A column of the table → float64 [models, N]; NaN where it is infinite or there is no row."""
        values = np.asarray(column, dtype=np.float64)
        finite = np.isfinite(values)
        if self.whole and finite.all():
            return values.reshape(self.shape)
        found = np.full(self.shape, np.nan)
        found.ravel()[self.place] = np.where(finite, values, np.nan)
        return found

    def present(self) -> NDArray[np.bool_]:
        """bool [models, N]: the table has a row there."""
        found = np.zeros(self.shape, dtype=bool)
        found.ravel()[self.place] = True
        return found


def grid_of(table: pd.DataFrame, keys: list[str] = CELL) -> Grid:
    """The grid of a table's rows. ValueError where a model has an image twice."""
    model, models = codes_of(table, keys)
    column = table["image"].to_numpy()
    images = np.sort(pd.unique(column))
    place = model * len(images) + np.searchsorted(images, column)
    size = len(models) * len(images)
    whole = len(place) == size and bool((place == np.arange(size)).all())
    if not whole and len(place) and int(np.bincount(place).max()) > 1:
        row = int(pd.Series(place).duplicated().to_numpy().argmax())
        cell = "-".join(str(value) for value in models[model[row]])
        raise ValueError(f"table: image {column[row]} occurs twice in cell {cell}; expected one row per image")
    return Grid(models, images, place, whole)


def mean_of_finite(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """(mean over the finite rows of each column, NaN of none; their number). values: float64 [R, N].

    Row by row with Kahan's compensation, as pandas' means are: the same bits for any N and chunking.
    """
    total, lost = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    count = np.zeros(values.shape[1], dtype=np.int64)
    for row in values:
        known = np.isfinite(row)
        count += known
        step = np.where(known, row, 0.0) - lost
        reached = total + step
        lost = np.where(known, reached - total - step, lost)
        total = np.where(known, reached, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan), count
