"""Augmentations that move pixels: affine, elastic, random_crop. Bilinear; pixels are areas, not points.

Coordinates are worked out in float64 on the CPU where there are few, and elementwise elsewhere; see the
package's docstring for why. Images: float32 [B,C,H,W] in [0, 1], any size; words: uint64 [B,…] of randomness.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from auglens.data.augmentations.schema import Parameters
from auglens.rng import fractions


def spread(drawn: np.ndarray, low: float, high: float) -> np.ndarray:
    """Fractions in [0, 1) → uniform in [low, high)."""
    return low + (high - low) * drawn


def _tensor(values: np.ndarray, device: torch.device, *shape: int) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device).view(shape)


def _centred(size: int, device: torch.device) -> Tensor:
    """Pixel centres, in pixels from the middle of the image."""
    return torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2


def _places(x: Tensor, y: Tensor) -> Tensor:
    """x, y: float32 of one shape → complex64: x + iy.

    A sum of such is the sum of each coordinate, of any shapes, and lies in memory as `grid_sample` wants it.
    """
    return torch.complex(x, y)


def _sample(images: Tensor, grid: Tensor, outside: str) -> Tensor:
    """Bilinear values at grid: float32 [B,H,W,2], x before y, -1 and 1 being the image's outer edges."""
    return grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False).clamp_(0, 1)


def affine(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """Rotation (degrees), shift (fraction of the side), scale (factor), shear along x (degrees), all uniform.

    Composed about the image's middle as in torchvision's RandomAffine, except that shifts are not rounded to
    whole pixels. What comes from outside the image is black (`outside: zeros`, torchvision's default) or
    mirrored.
    """
    device, (h, w) = images.device, images.shape[-2:]
    drawn = fractions(words)
    angle = np.radians(spread(drawn[:, 0], -params["degrees"], params["degrees"]))
    shear = np.tan(np.radians(spread(drawn[:, 1], -params["shear"], params["shear"])))
    scale = spread(drawn[:, 2], *params["scale"])
    shift_x = w * spread(drawn[:, 3], -params["translate"], params["translate"])
    shift_y = h * spread(drawn[:, 4], -params["translate"], params["translate"])
    cos, sin = np.cos(angle), np.sin(angle)
    # The inverse of scale · rotation · shear (determinant scale²): from an output pixel to where its value
    # comes from.
    xx, xy = (cos - sin * shear) / scale, (sin + cos * shear) / scale
    yx, yy = -sin / scale, cos / scale
    by_x = np.stack([xx * 2 / w, yx * 2 / h])
    by_y = np.stack([xy * 2 / w, yy * 2 / h])
    constant = -(by_x * shift_x + by_y * shift_y)
    one, two, three = (_tensor(values, device, 2, -1, 1, 1) for values in (by_x, by_y, constant))
    x, y = _centred(w, device), _centred(h, device).view(-1, 1)
    places = (_places(*(one * x)) + _places(*(two * y))).add_(_places(*three))
    return _sample(images, torch.view_as_real(places), params["outside"])


def smoothing(size: int, sigma: float) -> np.ndarray:
    """float64 [size,size]: the Gaussian filter along an axis as a matrix, mirrored at the ends; sigma in px.

    The kernel reaches int(8 sigma + 1) // 2 pixels either way, as in torchvision's ElasticTransform. Its
    weights are whole multiples of 2**-32.
    """
    reach = int(8 * sigma + 1) // 2
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = np.round(kernel / kernel.sum() * 2.0**32) / 2.0**32
    sources = np.pad(np.arange(size), reach, mode="reflect")
    matrix = np.zeros((size, size))
    for offset, weight in enumerate(kernel):
        np.add.at(matrix, (np.arange(size), sources[offset : offset + size]), weight)
    return matrix


def displacements(words: np.ndarray, alpha: float, sigma: float, h: int, w: int, device: torch.device) -> Tensor:
    """words: uint64 [B,≥HW/2] → float32 [B,2,H,W]: shifts in pixels along x and y.

    Uniform in (-1, 1), 16 bits each. Products and sums are whole multiples of 2**-48 and 2**-52 and at most
    1, which float64 holds exactly: no order of summation, and so no batch size, changes them. The draw is
    (2m + 1) / 65536 with m the 16 bits less 32768; the factor and the constant go into the first filter.
    """
    bits = words.astype("<u8", copy=False).view("<u2")[:, : 2 * h * w] ^ np.uint16(1 << 15)
    drawn = torch.from_numpy(bits.view("<i2")).to(device).to(torch.float64).view(-1, w)
    across, down = (torch.from_numpy(smoothing(size, sigma)).to(device) for size in (w, h))
    halfway = torch.addmm(across.sum(1) * 2.0**4, drawn, across.T, alpha=2.0**5).round_().view(-1, 2, h, w)
    return (down * 2.0**-20 @ halfway).mul_(alpha).to(torch.float32)


def elastic(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """Every pixel shifted by alpha (pixels) times uniform noise smoothed by a Gaussian of sigma (pixels).

    Simard et al. 2003. torchvision's ElasticTransform smooths alike, but shifts by alpha / 2 pixels. The
    shift's standard deviation is about alpha · 0.163 / sigma pixels.
    """
    device, (h, w) = images.device, images.shape[-2:]
    shift = displacements(words, params["alpha"], params["sigma"], h, w, device)
    grid = torch.empty((len(images), h, w, 2), dtype=torch.float32, device=device)
    grid.copy_(shift.permute(0, 2, 3, 1))
    middle = torch.meshgrid(_centred(h, device), _centred(w, device), indexing="ij")
    grid.add_(torch.stack(middle[::-1], dim=-1)).mul_(torch.tensor([2 / w, 2 / h], device=device).expand(h, w, 2))
    return _sample(images, grid, params["outside"])


def windows(drawn: np.ndarray, params: Parameters, h: int, w: int) -> np.ndarray:
    """drawn: float64 [B,4] in [0, 1) → int64 [B,4]: top, left, height, width of the windows, in pixels."""
    area = h * w * spread(drawn[:, 0], *params["scale"])
    ratio = np.exp(spread(drawn[:, 1], *np.log(params["ratio"])))
    height = np.clip(np.round(np.sqrt(area / ratio)), 1, h).astype(np.int64)
    width = np.clip(np.round(np.sqrt(area * ratio)), 1, w).astype(np.int64)
    top = (drawn[:, 2] * (h - height + 1)).astype(np.int64)
    left = (drawn[:, 3] * (w - width + 1)).astype(np.int64)
    return np.stack([top, left, height, width], axis=1)


def random_crop(images: Tensor, words: np.ndarray, params: Parameters) -> Tensor:
    """A window of random area (fraction), aspect (width / height, log-uniform) and place, resized back.

    As torchvision's RandomResizedCrop, but a window that would not fit is clamped to the image instead of
    redrawn.
    """
    device, (h, w) = images.device, images.shape[-2:]
    top, left, height, width = windows(fractions(words), params, h, w).T[:, :, None]

    def places(start: np.ndarray, length: np.ndarray, size: int) -> np.ndarray:
        inside = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        return (2 * (start + inside) + 1) / size - 1

    x = _tensor(places(left, width, w), device, -1, 1, w)
    y = _tensor(places(top, height, h), device, -1, h, 1)
    grid = _places(x, torch.zeros_like(x)) + _places(torch.zeros_like(y), y)
    return _sample(images, torch.view_as_real(grid), "zeros")
