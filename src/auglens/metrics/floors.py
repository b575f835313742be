"""Explanations that look at nothing: what any score of a map has to be held against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.saliency.finishing import finish

FLOORS = ("ones", "centre", "random")
CENTRE_SPREAD = 0.25  # standard deviation of the centre floor's Gaussian, as a share of each side
CELLS = 7  # of the random floor, along a side


def floor_maps(
    count: int, size: tuple[int, int], *, seed: int, start: int = 0
) -> dict[str, NDArray[np.floating[Any]]]:
    """Finished maps float [count,H,W] by the names in `FLOORS`, of `size` = (H, W) pixels.

    start: maps before the first, so that parts are those of the whole.

    ones: everywhere alike; centre: a Gaussian around the middle; random: uniform, of its own for each image, at
    7×7 cells and finished as maps are. ones and centre are read-only: one map seen `count` times.
    ValueError on a count below 0 or a side below 1.
    """
    if count < 0 or min(size) < 1:
        sides = " × ".join(map(str, size))
        raise ValueError(f"floor_maps: expected maps of 1 × 1 and more, got {count} of {sides}; pass (H, W)")
    shape = (count, *size)
    rows, columns = (np.linspace(-0.5, 0.5, side, endpoint=True) / CENTRE_SPREAD for side in size)
    centre = np.exp(-(rows[:, None] ** 2 + columns**2) / 2)
    random = np.random.Generator(np.random.Philox(seed)).random((start + count, CELLS, CELLS), np.float32)
    return {
        "ones": np.broadcast_to(np.ones(size), shape),
        "centre": np.broadcast_to(centre, shape),
        "random": finish(random[start:], size),
    }
