"""Removed pixels filled from those around them: ROAD's linear imputation (Rong et al., ICML 2022, section 5).

Each removed pixel is the weighted mean of its eight neighbours, direct ones counting twice: one sparse linear
system per image. A hole filled so says less about where it was than one of a single colour.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}  # and their opposites


@lru_cache(maxsize=4)
def neighbourhood(height: int, width: int) -> Any:
    """Weights of every pixel's neighbours, sparse [P, P], symmetric."""
    from scipy import sparse

    place = np.arange(height * width).reshape(height, width)
    rows, columns, weights = [], [], []
    for (down, right), weight in NEIGHBOURS.items():
        here = place[: height - down, max(-right, 0) : width - max(right, 0)].ravel()
        there = place[down:, max(right, 0) : width - max(-right, 0)].ravel()
        rows += [here, there]
        columns += [there, here]
        weights += [np.full(2 * len(here), weight)]
    entries = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(height * width,) * 2)


def impute(image: NDArray[Any], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """image: float [C,H,W]; removed: bool [H,W], not all. Returns float64 [C,H,W] with those pixels filled in."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    filled = image.astype(np.float64).reshape(len(image), -1)
    gone = np.flatnonzero(removed)
    if len(gone) == 0:
        return filled.reshape(image.shape)
    if len(gone) == removed.size:
        raise ValueError("removed: expected at least one pixel to stay, got none; remove fewer")
    around = neighbourhood(*removed.shape)
    kept = np.flatnonzero(~removed)
    rows = around[gone]
    system = sparse.diags_array(rows.sum(axis=1)) - rows[:, gone]
    filled[:, gone] = splu(system.tocsc()).solve(rows[:, kept] @ filled[:, kept].T).T
    return filled.reshape(image.shape)
