"""The values of a study as arrays: one row per distinct model, one column per test image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.grid import CELL, grid_of
from auglens.stats.seeds import REFERENCE

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """C models of A augs on N test images. augs: in table order; aug: int [C], each model's place in `augs`;
    seeds: int [C]; images: int [N]; values: metric → float64 [C, N], NaN where undefined."""

    augs: tuple[str, ...]
    aug: NDArray[np.int64]
    seeds: NDArray[np.int64]
    images: NDArray[np.int64]
    values: Mapping[str, Floats]

    def members(self, aug: str) -> NDArray[np.int64]:
        """Rows of the aug's models."""
        return np.flatnonzero(self.aug == self.augs.index(aug))

    def averaging(self) -> Floats:
        """float64 [A, C]: a row averages over the models of an aug."""
        rows = (self.aug[None] == np.arange(len(self.augs))[:, None]).astype(np.float64)
        return rows / rows.sum(1, keepdims=True)

    def restricted(self, keep: Sequence[str]) -> Cells:
        """The models of the augs in `keep` alone, in the order of `augs`."""
        augs = tuple(aug for aug in self.augs if aug in keep)
        rows = np.array([n for n, place in enumerate(self.aug) if self.augs[place] in augs], dtype=np.int64)
        places = np.array([augs.index(self.augs[self.aug[n]]) for n in rows], dtype=np.int64)
        values = {metric: value[rows] for metric, value in self.values.items()}
        return Cells(augs, places, self.seeds[rows], self.images, values)


def cells_of(table: pd.DataFrame, metrics: Sequence[str]) -> Cells:
    """`table`: distinct replicates, one row per (aug, seed, image); the reference's own rows are left out."""
    rows = table.loc[table["aug"] != REFERENCE, [*CELL, "image", *metrics]]
    grid = grid_of(rows)
    values = {metric: grid.spread(rows[metric]) for metric in metrics}
    augs = tuple(dict.fromkeys(str(aug) for aug, _ in grid.models))
    aug = np.array([augs.index(str(aug)) for aug, _ in grid.models], dtype=np.int64)
    seeds = np.array([seed for _, seed in grid.models], dtype=np.int64)
    return Cells(augs, aug, seeds, grid.images.astype(np.int64), values)
