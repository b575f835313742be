"""One map made ready to be compared (sorted and ranked once), and two such sides compared. Imports numba.

A map that was upsampled bilinearly repeats its outermost rows and columns: of 224×224 pixels from 7×7 cells a
quarter are copies. Only one of each is kept, and counts as often as it is there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auglens.metrics import kernels

Floats = NDArray[np.float64]

_SQUARE_SAFE = 1e-60, 1e60  # ranges whose squares neither vanish nor overflow


class Edges(NamedTuple):
    """How many of the outermost rows and columns are equal to the last bit, the outermost one included."""

    top: int = 1
    bottom: int = 1
    left: int = 1
    right: int = 1


class Grid(NamedTuple):
    """The n pixels of a map that are kept, of P: those that stand for others too first."""

    kept: NDArray[np.intp]  # [n], their places in the flat map
    copies: NDArray[np.int64]  # of the first of them, for how many others each stands
    pixels: int  # P
    places: list[float]  # per overlap percentage, the percentile's place among the sorted P, seldom a whole number
    ends: NDArray[np.int64]  # the whole numbers around them, ascending, each once


ALL = Edges()


@lru_cache(maxsize=8)
def grid(height: int, width: int, overlap: tuple[float, ...], edges: Edges = ALL) -> Grid:
    """The pixels that are kept of maps of one size. ValueError where the edges leave nothing between them."""
    if min(edges) < 1 or edges.top + edges.bottom > height + 1 or edges.left + edges.right > width + 1:
        raise ValueError(
            f"edges: expected 1 or more each, with a row and a column between them, got {tuple(edges)}"
            f" for maps of {height}×{width}; pass what `repeated_edges` says"
        )
    rows, columns = np.zeros((2, max(height, width)), dtype=np.int64)
    for ones, length, before, after in ((rows, height, *edges[:2]), (columns, width, *edges[2:])):
        ones[before - 1 : length - after + 1] = 1
        ones[before - 1] += before - 1
        ones[length - after] += after - 1
    weights = np.outer(rows[:height], columns[:width]).reshape(-1)
    kept = np.concatenate([np.flatnonzero(weights > 1), np.flatnonzero(weights == 1)])
    copies = weights[kept[: np.count_nonzero(weights > 1)]] - 1
    places = [(height * width - 1) * ((100 - y) / 100) for y in overlap]
    ends = {end for place in places for end in (int(place), min(int(place) + 1, height * width - 1))}
    return Grid(kept, copies, height * width, places, np.array(sorted(ends), dtype=np.int64))


class Side(NamedTuple):
    """One finite map ready to be compared with any other on its grid, of which n pixels are kept."""

    values: Floats  # [n]
    pattern: Floats  # [n], from the lowest value up; in units of the range where squares could vanish or overflow
    mean: float  # of the pattern, over all pixels
    ranks: Floats  # [n], 2 × (average rank − mean rank), over all pixels
    thresholds: Floats  # per overlap percentage, the region's lowest value or less
    constant: bool  # the mean of equal values need not be that value to the last bit


def side(pixels: NDArray[Any], on: Grid) -> Side | None:
    """One map, float [H,W], made ready; None where a pixel is not finite."""
    keys = np.empty(len(on.kept), dtype=np.uint64)
    if pixels.dtype.itemsize > 4:
        values, total = pixels.reshape(-1)[on.kept].astype(np.float64), math.nan
        order = np.argsort(values)
        low, high = float(values[order[0]]), float(values[order[-1]])
        keys[0], keys[1:] = 0, np.cumsum(values[order[1:]] != values[order[:-1]])
        keys = (keys << kernels.BITS) | order.astype(np.uint64)
    else:
        # Values with their places sort twice as fast as places by values. Infinities become NaN on the way.
        values = np.empty(len(on.kept))
        flat = np.ascontiguousarray(pixels, dtype=np.float32).reshape(-1)
        total = kernels.prepare(flat, on.kept, on.copies, values, keys)
        keys.view(np.float64).sort()
        low, high = (keys[[0, -1]] & ~kernels.POSITION).view(np.float64).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN is sorted last
        return None
    ranks, found = np.empty(len(values)), np.empty(len(on.ends), dtype=np.uint64)
    kernels.rank(keys, on.copies, on.pixels, ranks, on.ends, found)
    at = dict(zip(on.ends.tolist(), values[found].tolist(), strict=True))
    thresholds = np.array([_interpolate(at, place, on.pixels - 1) for place in on.places])
    if low == 0 and (_SQUARE_SAFE[0] < high < _SQUARE_SAFE[1] or high == 0) and math.isfinite(total):
        pattern = values  # as of any finished map
    else:
        # From the lowest value up: nothing cancels in a faint map on a high floor.
        if low == high or _SQUARE_SAFE[0] < high - low < _SQUARE_SAFE[1]:
            pattern = values - low
        else:
            half = 0.5 if high > 1 else 1.0  # the largest floats' range overflows, half of the smallest vanishes
            pattern = (values * half - low * half) / (high * half - low * half)
        total = float(pattern.sum() + (pattern[: len(on.copies)] * on.copies).sum())
    return Side(values, pattern, total / on.pixels, ranks, thresholds, low == high)


def compare_sides(p: Side, q: Side, on: Grid) -> list[float]:
    """The metrics of one pair on one grid, in the order of `map_metric_names`."""
    overlaps = np.empty(len(on.places))
    absolute, squares, patterns, of_p, of_q, ranks, of_ranks_p, of_ranks_q = kernels.compare(
        on.copies, p.values, q.values, p.pattern, q.pattern, p.mean, q.mean, p.ranks, q.ranks, p.thresholds,
        q.thresholds, overlaps,
    )  # fmt: skip
    constant = p.constant or q.constant
    return [
        absolute / on.pixels,
        squares / on.pixels,
        math.nan if constant else _correlation(patterns, of_p, of_q),
        math.nan if constant else _correlation(ranks, of_ranks_p, of_ranks_q),
        *overlaps.tolist(),
    ]


def _interpolate(at: Mapping[int, float], place: float, last: int) -> float:
    """Between the sorted values at whole places, to the last bit what numpy.percentile gives."""
    below = int(place)
    low, high, share = at[below], at[min(below + 1, last)], place - below
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def _correlation(together: float, p: float, q: float) -> float:
    """Pearson's r from Σ ab, Σ a² and Σ b² of centred values."""
    return min(1.0, max(-1.0, together / (math.sqrt(p) * math.sqrt(q))))
