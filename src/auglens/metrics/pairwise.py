"""The map metrics of many maps at once: every pair of M models, and every map against one fixed map.

The definitions are those of `compare_maps` (docs/metrics.md); each map is sorted and ranked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.maps import check_maps, check_overlap, keep_freed_memory, map_metric_names
from auglens.metrics.threads import spread

Floats = NDArray[np.float64]


def compare_all(
    maps: NDArray[Any] | Iterable[NDArray[Any]],
    overlap: Sequence[float] = (20, 10, 5),
    progress: Callable[[int], object] | None = None,
    *,
    edges: tuple[int, int, int, int] = (1, 1, 1, 1),
    threads: int | None = None,
) -> dict[str, Floats]:
    """Compare the finished maps of M models on the same N images, every model with every other.

    maps: float [M,N,H,W], or image by image an iterable of [M,H,W], which bounds the memory; from raw maps
    [M,N,h,w]: `(finish(raw[:, n], size) for n in range(N))`. overlap, edges, threads: as in
    `compare_maps`; the images share the threads, a few at a time. progress: called with 1 after every image.

    Returns float64 [M,M,N] under each of `map_metric_names(overlap)`: what `compare_maps` gives for each pair,
    to the last bit, with the same policy for degenerate maps; symmetric; on the diagonal each map with itself. Of
    37 models and 10,000 images these are 0.8 GB: pass the images in parts and keep what is needed of each.

    Raises ValueError on shapes, dtypes or percentages that do not fit.
    """
    check_overlap(overlap)
    images: Iterable[NDArray[Any]] = maps
    shape: tuple[int, ...] | None = None
    if isinstance(maps, np.ndarray):
        if maps.ndim != 4:
            raise ValueError(f"maps: expected [M,N,H,W], got shape {list(maps.shape)}; or pass [M,H,W] per image")
        images, shape = np.moveaxis(maps, 1, 0), (len(maps), *maps.shape[2:])
    keep_freed_memory()

    def checked() -> Iterator[NDArray[Any]]:
        nonlocal shape
        for n, image in enumerate(images):
            check_maps(f"maps of image {n}", image)
            shape = shape or image.shape
            if image.shape != shape:
                found = f"{list(image.shape)} against {list(shape)} before"
                raise ValueError(
                    f"maps of image {n}: expected one shape [M,H,W], got {found}; finish all to one size"
                )
            yield image

    packed: list[Floats] = []
    for found in spread(lambda image: _compare_models(image, tuple(overlap), edges), checked(), threads):
        packed.append(found)
        if progress is not None:
            progress(1)
    names, models = map_metric_names(overlap), shape[0] if shape else 0
    return dict(zip(names, _unpack(packed, len(names), models), strict=True))


def to_fixed(maps: NDArray[Any], fixed: NDArray[Any], overlap: Sequence[float] = (20, 10, 5)) -> dict[str, Floats]:
    """Compare every map with one fixed map, such as a mean map or a centred blob.

    maps: float [N,H,W], finished; fixed: float [H,W]. Returns float64 [N] under each of
    `map_metric_names(overlap)`, bit for bit what `compare_maps` gives with `fixed` as every other map.
    Raises ValueError on shapes, dtypes or percentages that do not fit.
    """
    from auglens.metrics.sides import compare_sides, grid, side

    check_maps("maps", maps)
    if fixed.ndim != 2:
        raise ValueError(f"fixed: expected one map [H,W], got shape {list(fixed.shape)}")
    check_maps("fixed", fixed[None])
    check_overlap(overlap)
    if fixed.shape != maps.shape[1:]:
        shapes = f"{list(fixed.shape)} against {list(maps.shape[1:])}"
        raise ValueError(f"fixed: expected the maps' shape [H,W], got {shapes}; finish both to one size")
    names = map_metric_names(overlap)
    values = np.full((len(names), len(maps)), np.nan)
    keep_freed_memory()
    on = grid(*fixed.shape, tuple(overlap))
    one = side(fixed, on)
    for n, pixels in enumerate(maps if one is not None else ()):
        if one is not None and (found := side(pixels, on)) is not None:
            values[:, n] = compare_sides(found, one, on)
    return dict(zip(names, values, strict=True))


def _compare_models(image: NDArray[Any], overlap: tuple[float, ...], edges: tuple[int, int, int, int]) -> Floats:
    """All pairs on one image, [M,H,W]: the upper triangles, diagonals included, [metrics, M (M + 1) / 2]."""
    from auglens.metrics.sides import Edges, compare_sides, grid, side

    on = grid(*image.shape[1:], overlap, Edges(*edges))
    sides = [side(pixels, on) for pixels in image]
    pairs = list(combinations_with_replacement(sides, 2))
    found = np.full((len(pairs), 4 + len(overlap)), np.nan)
    for row, (p, q) in zip(found, pairs, strict=True):
        if p is not None and q is not None:
            row[:] = compare_sides(p, q, on)
    return found.T


def _unpack(packed: list[Floats], metrics: int, models: int) -> list[Floats]:
    rows, columns = np.triu_indices(models)
    unpacked = []
    for metric in range(metrics):
        values = np.empty((models, models, len(packed)))
        for n, image in enumerate(packed):
            values[rows, columns, n] = values[columns, rows, n] = image[metric]
        unpacked.append(values)
    return unpacked
