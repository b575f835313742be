"""Normalisation statistics of the data set's own training images (the protocol's: not ImageNet's)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def channel_statistics(images: Array, indices: Array, chunk: int = 1024) -> tuple[Array, Array]:
    """Mean and population standard deviation of each channel, float64 [3] each, in units of [0, 1].

    images: uint8 [N,3,H,W], may be memory-mapped: `chunk` images are read at a time; indices: int64, the
    training images. The sums are whole numbers and so exact: neither chunk nor order changes a bit.
    Raises ValueError for no image or a channel that is constant, since it cannot be scaled.
    """
    if len(indices) == 0:
        raise ValueError("statistics: expected at least one training image, got 0; check the split")
    channels = images.shape[1]
    total, squares = [0] * channels, [0] * channels
    for start in range(0, len(indices), chunk):
        part = images[indices[start : start + chunk]]
        for channel in range(channels):
            values = part[:, channel]
            total[channel] += int(values.sum(dtype=np.uint64))
            squares[channel] += int(np.square(values, dtype=np.uint16).sum(dtype=np.uint64))
    count = len(indices) * images.shape[2] * images.shape[3]
    spread = [count * q - s * s for s, q in zip(total, squares, strict=True)]  # = count² · variance
    for channel, value in enumerate(spread):
        if value == 0:
            raise ValueError(
                f"statistics: channel {channel} is {total[channel] // count} in every training image and "
                "cannot be normalised; check the source's images"
            )
    mean = np.array([s / (255 * count) for s in total])
    std = np.array([math.sqrt(value) / (255 * count) for value in spread])
    return mean, std
