"""Augmentations that change values in place: color_jitter, equalize, gaussian_blur.

Images: float32 [B,3,H,W] in [0, 1]; words: uint64 [B,…] of randomness.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from auglens.data.augmentations.schema import Parameters
from auglens.rng import fractions


def _per_image(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device).view(-1, 1, 1, 1)


def _gray(images: Tensor) -> Tensor:
    r, g, b = images.split(1, dim=1)
    return (0.2989 * r).add_(0.587 * g).add_(0.114 * b)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor 1: the images, 0: the other, above 1: further away from it. In place."""
    return images.mul_(factor).add_((1 - factor) * other).clamp_(0, 1)


def _mean_gray(images: Tensor) -> Tensor:
    """float32 [B,1,1,1]. Summed over whole multiples of 2**-24 in float64, which is exact in any order."""
    gray = _gray(images).mul_(2**24).round_()  # a value in [0, 1] times a power of two: nothing is lost in float32
    total = gray.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return (total / (2**24 * gray[0].numel())).to(torch.float32)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn every colour around the HSV circle; turns: float32 [B,1,1,1] in [-0.5, 0.5], 1 a whole circle."""
    r, g, b = images.split(1, dim=1)
    high = torch.maximum(torch.maximum(r, g), b)
    chroma = high - torch.minimum(torch.minimum(r, g), b)
    divisor = chroma.clamp(min=torch.finfo(torch.float32).tiny)  # of a grey pixel: 0 divided by something
    sector = torch.where(high == g, (b - r).div_(divisor).add_(2), (r - g).div_(divisor).add_(4))
    sector = torch.where(high == r, (g - b).div_(divisor), sector).add_(turns * 6)
    angle = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1) + sector
    work = angle.div(6).floor_().mul_(6)
    angle.sub_(work)
    torch.sub(4, angle, out=work)
    share = torch.minimum(angle, work, out=work).clamp_(0, 1)
    return torch.sub(high, share.mul_(chroma), out=angle)


def color_jitter(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """Brightness, contrast, saturation (factor in 1 ± parameter), hue (turns in ± parameter); all uniform.

    torchvision's operations, in this fixed order (its ColorJitter shuffles them); each clips to [0, 1].
    """
    drawn = 2 * fractions(words) - 1
    names = ("brightness", "contrast", "saturation", "hue")
    amounts = [_per_image(drawn[:, i] * params[name], images.device) for i, name in enumerate(names)]
    images = images.mul_(1 + amounts[0]).clamp_(0, 1)
    images = _blend(images, _mean_gray(images), 1 + amounts[1])
    images = _blend(images, _gray(images), 1 + amounts[2])
    return turn_hue(images, amounts[3])


def equalize(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """Each channel's histogram over 256 grey levels flattened, in an image with probability p.

    PIL's ImageOps.equalize (and torchvision's) to the level: values are rounded to grey levels, and with
    fewer than about 2,000 pixels its whole-number step leaves the brightest part of a channel at white. p = 1
    draws nothing.
    """
    b, c, h, w = images.shape
    levels = (images * 255).round_().view(b * c, h * w)
    first = torch.arange(b * c, dtype=torch.int32, device=images.device).view(-1, 1) * 256
    places = levels.to(torch.int32).add_(first).flatten()  # of every level of every channel in one long table
    counts = torch.bincount(places, minlength=b * c * 256).view(b * c, 256)
    step = (h * w - counts.gather(1, levels.amax(1, keepdim=True).to(torch.int64))) // 255
    # Whole-number division, which float64 gives exactly below 2**53, and faster.
    table = (counts.cumsum(1) - counts + step // 2).to(torch.float64).div_(step.clamp(min=1)).floor_()
    unchanged = torch.arange(256, dtype=torch.float64, device=images.device)
    table = torch.where(step > 0, table.clamp_(0, 255), unchanged)
    flat = (table.to(torch.float32) / 255).flatten().index_select(0, places).view(images.shape)
    if params["p"] == 1:
        return flat
    chosen = torch.from_numpy(fractions(words)[:, 0] < params["p"]).to(images.device)
    return torch.where(chosen.view(-1, 1, 1, 1), flat, images)


def gaussian_blur(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """A Gaussian of sigma (pixels, uniform in its range) over a square of kernel_size, mirrored at the edges.

    The padded image is laid out as one line per image, so that a neighbour along either axis is a neighbour
    in memory, and the taps are added in a fixed order: fast, and the same bits for any batch.
    """
    size, (b, c, h, w) = params["kernel_size"], images.shape
    reach = size // 2
    if reach >= min(h, w):
        raise ValueError(
            f"parameter aug.gaussian_blur.kernel_size: expected at most {2 * min(h, w) - 1} pixels for"
            f" images of {w} × {h}, got {size}; choose a smaller kernel"
        )
    drawn = fractions(words)
    low, high = params["sigma"]
    offsets = np.arange(-reach, reach + 1) / (low + (high - low) * drawn)
    kernel = np.exp(-0.5 * offsets**2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    weights = torch.from_numpy(kernel.astype(np.float32)).to(images.device)

    padded = pad(images, (reach, reach, reach, reach), mode="reflect")
    wide, tall = w + 2 * reach, h + 2 * reach
    line = padded.view(b, -1)
    for stride in (1, wide):  # along x, then along y; ends that belong to no pixel are never read
        length = line.shape[1] - 2 * reach * stride
        total = line[:, :length] * weights[:, :1]
        product = torch.empty_like(total)
        for tap in range(1, size):
            shifted = line[:, tap * stride : tap * stride + length]
            total += torch.mul(shifted, weights[:, tap : tap + 1], out=product)
        line = total
    pixels = line.as_strided((b, c, h, w), (line.shape[1], tall * wide, wide, 1))
    return torch.clamp(pixels, 0, 1, out=images)


def channel_shift(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """One number per channel, uniform in ± amount, added to all its pixels and cut off at 0 and 1.

    images: float32 [B,C,H,W] in [0, 1]; words: uint64 [B,C]. Source: the ADA study's table 2.
    """
    shift = (2 * fractions(words) - 1) * params["amount"]
    by_channel = torch.from_numpy(shift).to(images.device, torch.float32)[:, :, None, None]
    return images.add_(by_channel).clamp_(0, 1)
