"""The segmentation network of protocol B: a U-Net with three steps down and three up."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

NAME = "unet"
STEPS = 3
STRIDE = 2**STEPS  # pixels of the image per cell at the bottom
MOMENTUM = 0.4  # of the batch norms: the weight of the newest batch


class Convolutions(nn.Module):
    """Twice: convolution 3×3, ReLU, batch norm, dropout of whole channels. float [B,C,H,W] → [B,channels,H,W]."""

    def __init__(self, given: int, channels: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (given, channels):
            layers += [
                nn.Conv2d(before, channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(channels, momentum=MOMENTUM),
                nn.Dropout2d(dropout),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


class UNet(nn.Module):
    """float32 [B,3,H,W], sides multiples of 8 → foreground logits float32 [B,1,H,W]; their sigmoid is the output.

    width: channels of the first level, doubled twice on the way down. Down: 2×2 maximum; up: bilinear, then the
    level's own features beside. Source: section 4.3 of the ADA study (Santos et al. 2021) and the network of
    Perone et al. 2018, which it takes over; the order within a level and the way up are theirs, the study is
    silent.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(
            Convolutions(before, size, dropout) for before, size in zip([3, *sizes], sizes, strict=False)
        )
        self.bottom = Convolutions(sizes[-1], sizes[-1], dropout)
        self.up = nn.ModuleList(
            Convolutions(below + size, size, dropout)
            for below, size in zip([sizes[-1], *sizes[:0:-1]], sizes[::-1], strict=True)
        )
        self.head = nn.Conv2d(width, 1, 3, padding=1)
        self.default_cfg = {"architecture": NAME}

    def _encoded(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        beside: list[Tensor] = []
        x = images
        for level in self.down:
            x = level(x)
            beside.append(x)
            x = nn.functional.max_pool2d(x, 2)
        found: Tensor = self.bottom(x)
        return found, beside

    def forward_features(self, images: Tensor) -> Tensor:
        """The deepest map [B,4·width,H/8,W/8]."""
        return self._encoded(images)[0]

    def forward(self, images: Tensor) -> Tensor:
        x, beside = self._encoded(images)
        for level, own in zip(self.up, reversed(beside), strict=True):
            x = interpolate(x, size=own.shape[2:], mode="bilinear", align_corners=False)
            x = level(torch.cat([x, own], dim=1))
        logits: Tensor = self.head(x)
        return logits
