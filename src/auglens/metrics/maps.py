"""Map against map, per image: mad, msd, pearson, spearman and the overlap rates.

Definitions, ranges and the policy for degenerate maps stand in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.threads import slices, spread

Floats = NDArray[np.float64]

_PART = 1 << 18  # pixels in a thread's turn: far more work than taking it


def map_metric_names(overlap: Sequence[float] = (20, 10, 5)) -> tuple[str, ...]:
    """Names of what `compare_maps` returns, in its order."""
    return ("mad", "msd", "pearson", "spearman", *(f"overlap_{y:g}" for y in overlap))


def compare_maps(
    reference: NDArray[Any],
    other: NDArray[Any],
    overlap: Sequence[float] = (20, 10, 5),
    *,
    edges: tuple[int, int, int, int] = (1, 1, 1, 1),
    threads: int | None = None,
) -> dict[str, Floats]:
    """Compare finished maps image by image; every accumulation is in float64.

    reference, other: float [N,H,W], finished maps (the metrics themselves assume no range); memory maps are
    read image by image. overlap: percentages Y in (0, 100), each once; `overlap_Y` compares the top Y %.
    edges: how many of the rows at the top and the bottom, of the columns at the left and the right, are copies of
    the outermost one, itself included, in every map: what `repeated_edges` says of finished ones. They are then
    sorted once, which takes a quarter off the time and changes rounding alone.
    threads: how many share the images (None: one per core); no value depends on it, to the last bit.

    Returns float64 [N] under each of `map_metric_names(overlap)`. A map with a NaN or an infinity makes every
    metric of its image NaN; a constant map (1×1 included) makes pearson and spearman NaN, and its region is
    the whole image. Constant means equal to the last bit: noise of one rounding step counts as a map.

    Raises ValueError on shapes, dtypes, percentages or a number of threads that do not fit.
    Source: section 5.1 of the augmentation study (docs/metrics.md).
    """
    from auglens.metrics.sides import Edges, compare_sides, grid, side  # numba: training imports this room

    check_pair(reference, other, overlap)
    names = map_metric_names(overlap)
    values = np.full((len(names), len(reference)), np.nan)
    keep_freed_memory()
    on = grid(*reference.shape[1:], tuple(overlap), Edges(*edges))

    def part(cut: slice) -> None:
        # Pair by pair, not over blocks of maps: one map's arrays stay in the processor's cache.
        for n in range(cut.start, min(cut.stop, len(reference))):
            p, q = side(reference[n], on), side(other[n], on)
            if p is not None and q is not None:
                values[:, n] = compare_sides(p, q, on)

    step = max(1, _PART // reference[:1].size) if len(reference) else 1
    for _ in spread(part, slices(len(reference), step), threads):
        pass
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
