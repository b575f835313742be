"""What the network sees of an image: resized on the fly to its input size, normalised by the data's statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


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
        if images.shape[-1] != self.image_size:
            shrinks = images.shape[-1] > self.image_size
            size = (self.image_size, self.image_size)
            images = torch.nn.functional.interpolate(
                images, size, mode="bilinear", align_corners=False, antialias=shrinks
            )
        mean, std = _statistics(tuple(self.mean), tuple(self.std), images.device)
        return images.sub(mean).div_(std).contiguous(memory_format=torch.channels_last)


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
