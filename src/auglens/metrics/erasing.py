"""The robustness set: every image, once whole and once per cell of a grid with that cell's pixels set to 0.

Scored a cell of the grid at a time and never kept: of 10,000 images and 49 cells it is half a million images.
Definitions: docs/metrics.md. No torch: a function stands for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Places = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]
Evaluate = Callable[[Images, Places], Mapping[str, NDArray[Any]]]

WHOLE = -1  # row and column of the grid in the rows of whole images
KEYS = ("image", "row", "column")


def grid(height: int, width: int, size: int) -> NDArray[np.int64]:
    """int64 [cells,4]: top, bottom, left, right of every cell, in pixels, ends exclusive, row by row.

    size: side of a cell, from 1 to the shorter side of the images. The last row and column of cells end where the
    image does, so a side that `size` does not divide has smaller ones. ValueError on any other size.
    Source: algorithm 2 of the ADA study, for images that are square or not.
    """
    shorter = min(height, width)
    if not 1 <= size <= shorter:
        sides = "the side" if height == width else "the shorter side"
        expected = f"expected 1 to {shorter} pixels, {sides} of the images, got {size}"
        raise ValueError(f"robustness.size: {expected}; set a square that fits into an image")
    return np.array(
        [
            (top, min(top + size, height), left, min(left + size, width))
            for top in range(0, height, size)
            for left in range(0, width, size)
        ],
        dtype=np.int64,
    )


def over_grid(
    evaluate: Evaluate,
    images: Images,
    size: int,
    *,
    batch_size: int = 256,
    on_images: Callable[[int], None] = lambda count: None,
) -> Columns:
    """A row per image and cell of `grid`, and one per whole image: what `evaluate` says of each.

    images: uint8 [N,3,H,W], read a batch at a time and never written to, so a memmap does. evaluate: (uint8
    [B,3,H,W], int64 [B]: which images these are) → name → array [B]; the next call reuses its pixels, which it
    must not keep or change. on_images: called with the size of every batch scored, N · (cells + 1) in all.

    Columns: image int32, row and column int16 (of the grid; −1, −1 where the image is whole), then evaluate's own
    in their dtypes. Sorted by image; the whole one first, then its cells row by row. Where evaluate gives
    `predicted`, also consistent, bool: the same prediction as for the whole image, so True there.
    ValueError on images, a size, a batch size or columns that do not fit.
    """
    _check(images, batch_size)
    height, width = images.shape[2:]
    cells = grid(height, width, size)
    parts = []
    for start in range(0, len(images), batch_size):
        batch = np.array(images[start : start + batch_size])
        places = np.arange(start, start + len(batch), dtype=np.int64)
        parts.append(_batch(evaluate, batch, places, cells, on_images))
        _same_names(parts[0], parts[-1])
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if "predicted" in columns:
        predicted = columns["predicted"]
        columns["consistent"] = predicted == predicted[:, :1]
    count = len(images)
    row, column = (np.concatenate([[WHOLE], cells[:, side] // size]).astype(np.int16) for side in (0, 2))
    found: Columns = {
        "image": np.repeat(np.arange(count, dtype=np.int32), len(cells) + 1),
        "row": np.tile(row, count),
        "column": np.tile(column, count),
    }
    return found | {name: values.reshape(-1) for name, values in columns.items()}


def _batch(
    evaluate: Evaluate, batch: Images, places: Places, cells: NDArray[np.int64], on_images: Callable[[int], None]
) -> Columns:
    """name → [B, 1 + cells] of one batch, which is whole again at the end."""
    found = [_evaluated(evaluate, batch, places)]
    on_images(len(batch))
    for top, bottom, left, right in cells.tolist():
        square = batch[:, :, top:bottom, left:right]
        kept = square.copy()
        square[:] = 0
        found.append(_evaluated(evaluate, batch, places))
        _same_names(found[0], found[-1])
        square[:] = kept
        on_images(len(batch))
    return {name: np.stack([one[name] for one in found], axis=1) for name in found[0]}


def _evaluated(evaluate: Evaluate, batch: Images, places: Places) -> Columns:
    found = {name: np.array(values) for name, values in evaluate(batch, places).items()}
    for name, values in found.items():
        if name in (*KEYS, "consistent"):
            raise ValueError(f"evaluate: {name!r} is a column of this table already; give yours another name")
        if values.shape != (len(batch),):
            shapes = f"[{len(batch)}], got {list(values.shape)}"
            raise ValueError(f"evaluate: expected {name!r} of shape {shapes}; give one value per image")
    return found


def _same_names(first: Columns, other: Columns) -> None:
    if first.keys() != other.keys():
        names = f"{', '.join(first) or 'none'}, got {', '.join(other) or 'none'}"
        raise ValueError(f"evaluate: expected the columns of its first call, {names}; give the same every time")


def _check(images: Images, batch_size: int) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8 or not len(images):
        came = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"images: expected uint8 [N,3,H,W] of 1 or more, got {came}; pass pixels from 0 to 255")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more images, got {batch_size}; 256 is the default")
