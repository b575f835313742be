"""Slow, literal re-implementations for the tests of the active room, and the small network and images they use."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from auglens.config import ModelConfig
from auglens.data.views import View
from auglens.models import build
from auglens.unet import UNet

CONF = Path(__file__).parents[2] / "conf/aug/_parameters.yaml"
VIEW = View(56, (0.5, 0.45, 0.4), (0.25, 0.2, 0.3))
LAYER = "features"


@lru_cache(maxsize=1)
def _parameters() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(CONF.read_text())


def parameters(name: str, **changes: Any) -> dict[str, Any]:
    """Those that conf/aug/ ships for an aug, some of them changed. A name that it does not have is an error."""
    shipped = _parameters()[name]
    assert changes.keys() <= shipped.keys(), changes.keys() - shipped.keys()
    return {**shipped, **changes}


def network(dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """test_resnet of 7 × 7 maps at 56 pixels, in training mode, its running statistics not those of a new one."""
    model = build(ModelConfig("test_resnet", 56, 8, dropout, 0.0), 4, init_seed=seed)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
        head = model.get_classifier()
        head.weight.normal_(0, 1, generator=generator)
    return model


def segmenter(dropout: float = 0.0) -> nn.Module:
    """A U-Net in training mode whose normalisations have statistics and weights of their own."""
    generator = torch.Generator().manual_seed(6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = UNet(width=4, dropout=dropout)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0.2, 0.2, generator=generator)
                module.running_var.uniform_(0.3, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
    return model


def pictures(count: int, *, seed: int, side: int = 32) -> Tensor:
    """uint8 [count,3,side,side]: soft blobs with noise on them, no two pixels' neighbourhoods alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    soft = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    noise = torch.rand(count, 3, side, side, generator=generator)
    return (soft * 200 + noise * 55).to(torch.uint8)


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Floats [H,W] → Python's whole numbers in exactly their proportions: floats are dyadic fractions."""
    exact = [[Fraction(float(value)) for value in line] for line in values]
    common = max(value.denominator for line in exact for value in line)
    return np.array([[int(value * common) for value in line] for line in exact], dtype=object)


def greatest_window(values: np.ndarray, size: int) -> tuple[int, int]:
    """Every window summed by itself, in whole numbers; a later one wins by more alone."""
    exact = whole_numbers(values)
    height, width = exact.shape
    best, found = None, (-1, -1)
    for top in range(height - size + 1):
        for left in range(width - size + 1):
            total = sum(exact[top : top + size, left : left + size].ravel().tolist())
            if best is None or total > best:
                best, found = total, (top, left)
    return found


def resized_line(line: list[float], target: int) -> list[float]:
    """Bilinear with centres at half pixels; where it shrinks the triangle is as wide as a target pixel's reach."""
    source = len(line)
    ratio = source / target
    reach = max(ratio, 1.0)
    found = []
    for position in range(target):
        centre = (position + 0.5) * ratio
        weights = [max(0.0, 1 - abs(index + 0.5 - centre) / reach) for index in range(source)]
        found.append(sum(w * v for w, v in zip(weights, line, strict=True)) / sum(weights))
    return found


def resized(raw: np.ndarray, height: int, width: int) -> np.ndarray:
    """float64 [h,w] → [height,width], lines first, then columns."""
    lines = np.array([resized_line(list(line), width) for line in raw.astype(np.float64)])
    return np.array([resized_line(list(column), height) for column in lines.T]).T


def unit(values: np.ndarray) -> np.ndarray:
    """float64: by the least and greatest value to [0, 1]."""
    values = values.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


def erased(
    image: np.ndarray, window: tuple[int, int], size: int, mask: np.ndarray | None, fill: Any
) -> np.ndarray:
    """uint8 [3,H,W], one image; mask: pixels that stay, or None; fill: one grey level or three."""
    made = image.copy()
    for y in range(window[0], window[0] + size):
        for x in range(window[1], window[1] + size):
            if mask is None or not mask[y, x]:
                made[:, y, x] = fill
    return made


def weakened(image: np.ndarray, values: np.ndarray, threshold: float, weight: float) -> tuple[np.ndarray, ...]:
    """uint8 [3,H,W], a finished map [H,W] → (grey levels float64, not rounded; where they are weakened)."""
    made = image.astype(np.float64)
    where = np.zeros(values.shape, dtype=bool)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if values[y, x] >= threshold:
                where[y, x] = True
                made[:, y, x] = (1 - weight) * values[y, x] * (image[:, y, x] / 255) * 255
    return made, where


def peak(values: np.ndarray) -> tuple[int, int]:
    best = (0, 0)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if values[y, x] > values[best]:
                best = (y, x)
    return best


def box_around(centre: tuple[int, int], share: float, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of CutMix's patch of that share of the area (Yun et al. 2019: sides √share · side,
    half of it, in whole pixels, to either side of the centre; what is over the edge is cut off)."""
    reach_y, reach_x = int(height * math.sqrt(share)) // 2, int(width * math.sqrt(share)) // 2
    y, x = centre
    return max(y - reach_y, 0), min(y + reach_y, height), max(x - reach_x, 0), min(x + reach_x, width)
