"""Raw maps → finished ones: scale, resize, scale. numpy alone: a stage that only finishes loads no torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

EPSILON = 1e-7  # pytorch-grad-cam's, added to the maximum before the division
_BLOCK = 1 << 17  # pixels handled at once: they stay in the processor's cache


def finish(raw: Floats, size: int | tuple[int, int]) -> Floats:
    """Raw maps, float [N, h, w] → finished maps [N, H, W] in [0, 1], `size` = H, W in pixels.

    Each map is scaled to [0, 1], resized bilinearly and scaled **again**: the steps of pytorch-grad-cam 1.5
    (`scale_cam_image`, `aggregate_multi_layers`), whose maps these equal. The second scaling undoes the ε of
    the first, so that a range of 1e-6 still becomes a full map: flag such maps by their raw range.

    float32 unless `raw` is float64. A constant map becomes all zeros, one with a NaN or infinity all NaN. A
    finished map depends on no other map, to the last bit: finish as many at a time as memory bears.

    ValueError: `raw` is not [N, h, w] of floats, a side is not positive.
    """
    raw = np.asarray(raw)
    if raw.ndim != 3 or raw.dtype.kind != "f" or 0 in raw.shape[1:]:
        raise ValueError(f"raw: expected floats [N, h, w], got {raw.dtype} {list(raw.shape)}; pass raw maps")
    height, width = as_size(size, "size")
    dtype = raw.dtype if raw.dtype == np.float64 else np.dtype(np.float32)
    with np.errstate(invalid="ignore"):  # NaN in, NaN out
        scaled = _scale(raw.astype(dtype))
        rows, columns = _matrices(raw.shape[1], height, dtype), _matrices(raw.shape[2], width, dtype).T
        finished = np.empty((len(raw), height, width), dtype)
        step = max(1, _BLOCK // (height * width))
        for start in range(0, len(raw), step):
            block = finished[start : start + step]
            np.matmul(rows, scaled[start : start + step] @ columns, out=block)
            _scale(block)
        return finished


@lru_cache(maxsize=8)
def _matrices(source: int, target: int, dtype: np.dtype[Any]) -> Floats:
    return interpolation(source, target).astype(dtype)


def interpolation(source: int, target: int) -> NDArray[np.float64]:
    """The matrix [target, source] that resizes one axis bilinearly, as OpenCV's INTER_LINEAR does.

    Pixel centres lie at half-integers, values beyond the outer centres repeat, shrinking does not smooth.
    """
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    left = position.astype(np.int64)
    weight = position - left
    matrix = np.zeros((target, source))
    row = np.arange(target)
    matrix[row, left] = 1 - weight
    matrix[row, np.minimum(left + 1, source - 1)] += weight
    return matrix


def repeated_edges(raw: tuple[int, int], size: int | tuple[int, int]) -> tuple[int, int, int, int]:
    """How many rows at the top and the bottom, columns at the left and the right, of every finished map from
    raw ones of that shape are copies of the outermost one, itself included."""
    found: list[int] = []
    for source, target in zip(raw, as_size(size, "size"), strict=True):
        matrix = interpolation(source, target)
        same = (matrix[1:] == matrix[:-1]).all(axis=1)  # whether a row is the one before
        ahead, behind = (int(np.append(run, False).argmin()) + 1 for run in (same, same[::-1]))
        found += [ahead, behind] if ahead < target else [1, 1]  # one cell alone: constant maps
    return found[0], found[1], found[2], found[3]


def as_size(size: int | tuple[int, int], name: str) -> tuple[int, int]:
    """(height, width) of a side or a pair of sides in pixels. ValueError where one is not positive."""
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    if height < 1 or width < 1:
        raise ValueError(f"{name}: expected sides of 1 pixel or more, got {height}×{width}; pass the image's size")
    return int(height), int(width)


def _scale(maps: Floats) -> Floats:
    """Each map to [0, 1], in place: finished maps are large."""
    maps -= maps.min(axis=(1, 2), keepdims=True)
    maps /= maps.max(axis=(1, 2), keepdims=True) + maps.dtype.type(EPSILON)
    return maps
