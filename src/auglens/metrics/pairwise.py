"""The map metrics of many maps at once: every pair of M models, and every map against one fixed map.

The definitions are those of `compare_maps` (docs/metrics.md); each map is sorted and ranked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.maps import check_maps, check_overlap, keep_freed_memory, map_metric_names

if TYPE_CHECKING:
    from auglens.metrics.sides import Side  # numba: training imports this room

Floats = NDArray[np.float64]


def compare_all(
    maps: NDArray[Any] | Iterable[NDArray[Any]],
    overlap: Sequence[float] = (20, 10, 5),
    progress: Callable[[int], object] | None = None,
) -> dict[str, Floats]:
    """Compare the finished maps of M models on the same N images, every model with every other.

    maps: float [M,N,H,W], or image by image an iterable of [M,H,W], which bounds the memory; from raw maps
    [M,N,h,w]: `(finish(raw[:, n], size) for n in range(N))`. overlap: as in `compare_maps`. progress: called
    with 1 after every image.

    Returns float64 [M,M,N] under each of `map_metric_names(overlap)`: what `compare_maps` gives for each pair,
    to rounding, with the same policy for degenerate maps; symmetric; on the diagonal each map with itself. Of
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
    packed: list[Floats] = []
    for n, image in enumerate(images):
        check_maps(f"maps of image {n}", image)
        shape = shape or image.shape
        if image.shape != shape:
            found = f"{list(image.shape)} against {list(shape)} before"
            raise ValueError(f"maps of image {n}: expected one shape [M,H,W], got {found}; finish all to one size")
        packed.append(_compare_models(image, overlap))
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


def _compare_models(image: NDArray[Any], overlap: Sequence[float]) -> Floats:
    """All pairs on one image, [M,H,W]: the upper triangles, diagonals included, [metrics, M (M + 1) / 2]."""
    from auglens.metrics.sides import grid, side

    on = grid(*image.shape[1:], tuple(overlap))
    sides = [side(pixels, on) for pixels in image]
    finite = np.array([m for m, one in enumerate(sides) if one is not None], dtype=np.int64)
    found = np.full((4 + len(overlap), len(image), len(image)), np.nan)
    if len(finite):
        found[:, finite[:, None], finite] = _matrices([one for one in sides if one is not None])
    return found[:, *np.triu_indices(len(image))]


def _matrices(sides: list[Side]) -> Floats:
    values = np.stack([one.values for one in sides])
    found = [
        _distances(values, "cityblock"),
        _distances(values, "sqeuclidean"),
        _cosines(np.stack([_centred(one) for one in sides])),
        _cosines(np.stack([one.ranks for one in sides])),
    ]
    for thresholds in zip(*(one.thresholds for one in sides), strict=True):
        found.append(_overlaps(values >= np.array(thresholds)[:, None]))
    return np.stack(found)


def _centred(one: Side) -> Floats:
    """The pattern with mean 0; all zero for a constant map, whose mean need not be its value to the last bit."""
    return np.zeros(len(one.pattern)) if one.constant else one.pattern - one.mean


def _distances(values: Floats, kind: str) -> Floats:
    """Mean |p − q| or (p − q)² of every pair of rows.

    From the differences themselves: |p|² + |q|² − 2 p·q would lose two maps that are nearly equal.
    """
    from scipy.spatial.distance import pdist, squareform  # not at the top: training imports this room

    return np.asarray(squareform(pdist(values, kind)) / values.shape[1]) if len(values) > 1 else np.zeros((1, 1))


def _cosines(centred: Floats) -> Floats:
    products = centred @ centred.T
    norms = np.sqrt(products.diagonal())
    with np.errstate(invalid="ignore"):  # 0 / 0 where a map is constant
        return np.clip(products / np.outer(norms, norms), -1.0, 1.0)


def _overlaps(regions: NDArray[np.bool_]) -> Floats:
    """|∩| / |∪| of every pair of rows, by a product of zeros and ones: float32 counts exactly to 2^24."""
    ones: NDArray[Any] = regions.astype(np.float32 if regions.shape[1] < 1 << 24 else np.float64)
    both = (ones @ ones.T).astype(np.float64)
    sizes = both.diagonal()
    return both / (sizes[:, None] + sizes - both)


def _unpack(packed: list[Floats], metrics: int, models: int) -> list[Floats]:
    rows, columns = np.triu_indices(models)
    unpacked = []
    for metric in range(metrics):
        values = np.empty((models, models, len(packed)))
        for n, image in enumerate(packed):
            values[rows, columns, n] = values[columns, rows, n] = image[metric]
        unpacked.append(values)
    return unpacked
