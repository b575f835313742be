"""Map against map, per image: mad, msd, pearson, spearman and the overlap rates.

Definitions, ranges and the policy for degenerate maps stand in docs/metrics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def map_metric_names(overlap: Sequence[float] = (20, 10, 5)) -> tuple[str, ...]:
    """Names of what `compare_maps` returns, in its order."""
    return ("mad", "msd", "pearson", "spearman", *(f"overlap_{y:g}" for y in overlap))


def compare_maps(
    reference: NDArray[Any], other: NDArray[Any], overlap: Sequence[float] = (20, 10, 5)
) -> dict[str, Floats]:
    """Compare finished maps image by image; every accumulation is in float64.

    reference, other: float [N,H,W], finished maps (the metrics themselves assume no range); memory maps are
    read image by image. overlap: percentages Y in (0, 100), each once; `overlap_Y` compares the top Y %.

    Returns float64 [N] under each of `map_metric_names(overlap)`. A map with a NaN or an infinity makes every
    metric of its image NaN; a constant map (1×1 included) makes pearson and spearman NaN, and its region is
    the whole image. Constant means equal to the last bit: noise of one rounding step counts as a map.

    Raises ValueError on shapes, dtypes or percentages that do not fit.
    Source: section 5.1 of the augmentation study (docs/metrics.md).
    """
    check_pair(reference, other, overlap)
    names = map_metric_names(overlap)
    values = np.full((len(names), len(reference)), np.nan)
    keep_freed_memory()
    # Pair by pair, not over blocks of maps: one map's arrays stay in the processor's cache.
    for n, (p, q) in enumerate(zip(reference, other, strict=True)):
        if np.isfinite(p).all() and np.isfinite(q).all():
            values[:, n] = compare_sides(side(p, overlap), side(q, overlap))
    return dict(zip(names, values, strict=True))


def is_constant(maps: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each map says nothing about where: constant to the last bit, 1×1, or with a non-finite pixel.

    maps: float [N,H,W], raw or finished. Returns bool [N].
    """
    check_maps("maps", maps)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    # Equality and not a difference: high − low of a map of infinities is NaN, of the largest floats infinite.
    return np.asarray((low == high) | ~np.isfinite(low) | ~np.isfinite(high))


def keep_freed_memory() -> None:
    """Halves the time at 224×224 with glibc, which otherwise hands every temporary array back to the system.

    It does so above a size that freeing a larger block raises, up to 32 MiB. No effect elsewhere.
    """
    np.empty((32 << 20) - (64 << 10), dtype=np.uint8)


class Side(NamedTuple):
    """One map of P pixels, flattened, ready to be compared."""

    values: Floats  # [P]
    pattern: Floats  # [P], values without offset and scale, mean 0; all zero for a constant map
    ranks: Floats  # [P], average rank − mean rank
    regions: list[NDArray[np.bool_]]  # per overlap percentage [P]


def side(pixels: NDArray[Any], overlap: Sequence[float]) -> Side:
    """One finite map, float [H,W], ready to be compared with any other of its size."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    order = _argsort(flat)
    ordered = flat[order]
    values = flat.astype(np.float64)
    low, high = float(ordered[0]), float(ordered[-1])
    # From the lowest value up and in units of the range: nothing cancels in a faint map on a high floor.
    pattern = (values - low) / ((high - low) or 1.0)
    if high > low:  # the mean of equal values need not be that value to the last bit
        pattern -= pattern.mean()
    regions = [values >= _percentile(ordered, 100 - y) for y in overlap]
    return Side(values, pattern, _ranks(order, ordered), regions)


def compare_sides(p: Side, q: Side) -> list[float]:
    """The metrics of one pair, in the order of `map_metric_names`."""
    difference = p.values - q.values
    return [
        float(np.abs(difference).mean()),
        float(difference @ difference) / len(difference),
        _cosine(p.pattern, q.pattern),
        _cosine(p.ranks, q.ranks),
        *(_overlap(a, b) for a, b in zip(p.regions, q.regions, strict=True)),
    ]


def _argsort(flat: NDArray[Any]) -> NDArray[np.int64]:
    """Positions [P] of the pixels, lowest value first; the order among equal values is open.

    float32 (what upsampling gives) is sorted as integers, the value's bits above and the position below:
    exact, and about three times as fast as argsort.
    """
    if flat.dtype != np.float32 or len(flat) >= 1 << 32:
        return np.argsort(flat)
    bits = (flat + np.float32(0)).view(np.uint32)  # + 0 gives −0 and 0 the same bits
    sign = np.uint32(1 << 31)
    ascending = np.where(bits & sign, ~bits, bits | sign)
    keys = ascending.astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(flat), dtype=np.uint64)
    keys.sort()
    keys &= np.uint64(0xFFFFFFFF)
    return keys.view(np.int64)


def _ranks(order: NDArray[np.int64], ordered: NDArray[Any]) -> Floats:
    """Average ranks (ties share the mean of their places) minus the mean rank, in pixel order: [P]."""
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])  # of each group of ties
    sizes = np.diff(starts, append=len(ordered))
    centred = starts + (sizes - len(ordered)) / 2  # start + (size − 1)/2 − (P − 1)/2
    ranks = np.empty(len(ordered))
    ranks[order] = np.repeat(centred, sizes)
    return ranks


def _percentile(ordered: NDArray[Any], percent: float) -> float:
    """By linear interpolation, to the last bit what numpy.percentile gives for the values in float64."""
    place = (len(ordered) - 1) * (percent / 100)
    below = int(place)
    share = place - below
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)


def _cosine(a: Floats, b: Floats) -> float:
    """Pearson's r of centred values, NaN where one side is all zero."""
    norms = math.sqrt(a @ a) * math.sqrt(b @ b)
    return min(1.0, max(-1.0, float(a @ b) / norms)) if norms > 0 else math.nan


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    both = np.count_nonzero(a & b)
    return both / (np.count_nonzero(a) + np.count_nonzero(b) - both)


def check_maps(name: str, maps: NDArray[Any]) -> None:
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise ValueError(f"{name}: expected maps [N,H,W] with H and W at least 1, got shape {list(maps.shape)}")
    if not np.issubdtype(maps.dtype, np.floating):
        raise ValueError(
            f"{name}: expected floating-point maps, got {maps.dtype}; convert with .astype('float32')"
        )


def check_pair(reference: NDArray[Any], other: NDArray[Any], overlap: Sequence[float]) -> None:
    check_maps("reference", reference)
    check_maps("other", other)
    if reference.shape != other.shape:
        shapes = f"{list(other.shape)} against the reference's {list(reference.shape)}"
        raise ValueError(f"other: expected the reference's shape, got {shapes}; explain both on the same images")
    check_overlap(overlap)


def check_overlap(overlap: Sequence[float]) -> None:
    for y in overlap:
        if not 0 < y < 100:
            raise ValueError(f"overlap: expected percentages in (0, 100), got {y:g}; for a tenth write 10")
    if len({f"{y:g}" for y in overlap}) != len(overlap):
        raise ValueError(f"overlap: expected each percentage once, got {list(overlap)}; remove the repeated one")
