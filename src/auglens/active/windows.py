"""Where a map is greatest: the window with the largest sum, for a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

BITS = 38  # of a map's largest value in whole steps: sums of up to 2²⁴ pixels are exact in int64


def at_pixels(raw: Tensor, height: int, width: int) -> Tensor:
    """raw: float [B,h,w] at any resolution → float32 [B,height,width], bilinear, antialiased where it shrinks."""
    raw = raw.to(torch.float32)
    if raw.shape[1:] == (height, width):
        return raw
    shrinks = raw.shape[1] > height or raw.shape[2] > width
    resized = interpolate(raw[:, None], (height, width), mode="bilinear", align_corners=False, antialias=shrinks)
    return resized[:, 0]


def stands_out(maps: Tensor) -> Tensor:
    """bool [B]: whether a map is finite and not constant, so that it says where to look."""
    flat = maps.flatten(1)
    return flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))


def scaled(maps: Tensor) -> Tensor:
    """float32 [B,H,W] → each map to [0, 1] by its least and greatest value; 0 where it does not stand out."""
    low = maps.amin((1, 2), keepdim=True)
    spread = maps.amax((1, 2), keepdim=True) - low
    found = (maps - low) / spread
    return torch.where(stands_out(maps)[:, None, None], found, torch.zeros_like(found))


def greatest_windows(maps: Tensor, size: int) -> Tensor:
    """maps: float32 [B,H,W] → int64 [B,2]: top and left of the size × size window with the greatest sum.

    Of windows with equal sums the first by rows is taken. Sums are compared exactly, whatever the order in which a
    device adds: maps are brought to whole numbers by a power of two, to 2⁻³⁸ of their largest value, and summed
    by an integral image (Crow 1984; Viola and Jones 2001). Of a map that does not stand out the first window is
    taken: ask `stands_out`. ValueError where the window does not fit.
    """
    height, width = maps.shape[1:]
    if not 1 <= size <= min(height, width):
        raise ValueError(
            f"window: expected 1 to {min(height, width)} pixels, the side of the images, got {size};"
            " lower aug.ada.window"
        )
    integral = integral_image(maps)
    sums = (
        integral[:, size:, size:]
        - integral[:, :-size, size:]
        - integral[:, size:, :-size]
        + integral[:, :-size, :-size]
    )
    columns = sums.shape[2]
    # argmax names no winner among equals; the first of the greatest is what the smallest index says.
    flat = sums.flatten(1)
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(flat)
    first = torch.where(flat == flat.amax(1, keepdim=True), places, flat.shape[1]).amin(1)
    return torch.stack([first // columns, first % columns], dim=1)


def integral_image(maps: Tensor) -> Tensor:
    """int64 [B,H+1,W+1]: sums of all pixels above and to the left, exact, in each map's own steps."""
    return pad(whole(maps).cumsum(1).cumsum(2), (1, 0, 1, 0))


def whole(maps: Tensor) -> Tensor:
    """int64 [B,H,W]: the maps in steps of their own; 0 where one does not stand out."""
    values = torch.where(stands_out(maps)[:, None, None], maps, 0).to(torch.float64)
    _, exponent = torch.frexp(values.abs().amax((1, 2), keepdim=True))
    return torch.ldexp(values, BITS - exponent).round().to(torch.int64)


def inside(top_left: Tensor, size: int, height: int, width: int) -> Tensor:
    """top_left: int64 [B,2] → bool [B,height,width]: the pixels of each size × size window."""
    y = torch.arange(height, device=top_left.device)[None, :]
    x = torch.arange(width, device=top_left.device)[None, :]
    top, left = top_left[:, :1], top_left[:, 1:]
    rows, columns = (y >= top) & (y < top + size), (x >= left) & (x < left + size)
    return rows[:, :, None] & columns[:, None, :]
