"""Second halves that should change nothing of interest: the noise floor of every claim."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auglens.data.augmentations.schema import Parameters


def identity(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """As they are: as many steps as any aug, and nothing else."""
    return images


def noise(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """Each value one grey level (1/255) up or down, by one random bit each, kept within black and white."""
    bits = np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), axis=1, count=images[0].numel())
    up = torch.from_numpy(bits).to(images.device).view(images.shape)
    # On whole grey levels, so that the result is exactly what an 8-bit image would hold.
    return images.mul_(255).round_().sub_(1).add_(up, alpha=2).clamp_(0, 255).div_(255)
