"""What the network sees of an image: resized on the fly to its input size, normalised by the data's statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

HALF = 0.5  # of a pixel's weight on the object, from which on the pixel is of the mask


@dataclass(frozen=True)
class View:
    """image_size: side in pixels of the square that the network sees; mean, std: of the train images in [0, 1]."""

    image_size: int
    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, images: Tensor) -> Tensor:
        """images: float32 [B,3,H,W] in [0, 1] → float32 [B,3,image_size,image_size], normalised, channels_last.

        Bilinear, antialiased where it shrinks. The data are square, so the aspect ratio is kept.
        """
        images = self._resized(images)
        mean, std = _statistics(tuple(self.mean), tuple(self.std), images.device)
        return images.sub(mean).div_(std).contiguous(memory_format=torch.channels_last)

    def masks(self, masks: Tensor) -> Tensor:
        """masks: uint8 or bool [B,H,W], the object where not 0 → bool [B,image_size,image_size].

        Resized as the images are, so that a mask stays on its object; the object is where half of a pixel's
        weight or more lies on it. One that is small in the view can vanish: all False.
        ValueError on other shapes and dtypes.
        """
        if masks.ndim != 3 or masks.dtype not in (torch.uint8, torch.bool):
            got = f"{str(masks.dtype).removeprefix('torch.')} {list(masks.shape)}"
            raise ValueError(f"masks: expected uint8 or bool [B,H,W], got {got}; pass one mask per image")
        return self._resized(to_shares(masks)[:, None])[:, 0] >= HALF

    def _resized(self, images: Tensor) -> Tensor:
        if images.shape[-1] == self.image_size:
            return images
        shrinks = images.shape[-1] > self.image_size
        size = (self.image_size, self.image_size)
        return torch.nn.functional.interpolate(
            images, size, mode="bilinear", align_corners=False, antialias=shrinks
        )


@lru_cache(maxsize=8)
def _statistics(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """float32 [1,C,1,1] each; kept, because a GPU waits for every copy from the processor."""
    with torch.inference_mode(False):  # made here, they serve training as well
        made = torch.tensor([mean, std], dtype=torch.float32, device=device)
    one, two = made.view(2, 1, -1, 1, 1)
    return one, two


def to_unit(images: Tensor) -> Tensor:
    """uint8 → float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def to_shares(masks: Tensor) -> Tensor:
    """uint8 or bool → float32: how much of each pixel is the object, 1 where the mask is not 0."""
    return (masks != 0).to(torch.float32)
