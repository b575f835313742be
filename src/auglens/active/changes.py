"""What each aug does to the pixels that the model attends to: `Shown` → `Changed`, for a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auglens.active.specs import SPECS, fixed_method
from auglens.active.windows import greatest_windows, inside, integral_image, scaled
from auglens.data.augmentations.mixing import boxes
from auglens.data.knobs import Parameters

WORDS = 4  # 64-bit words of randomness per image: the partner, then what the change itself draws


@dataclass(frozen=True)
class Shown:
    """Images as the change sees them. images: uint8 [B,3,H,W]; maps: float32 [B,H,W], raw, at the images' pixels;
    masks: bool [B,H,W] or None."""

    images: Tensor
    maps: Tensor
    masks: Tensor | None


@dataclass(frozen=True)
class Changed:
    """images: uint8 [B,3,H,W]; where: bool [B,H,W], the pixels that were chosen; masks: bool [B,H,W] or None;
    partner_weight: float32 [B] in [0, 1], the partner's share of the label, 0 where nothing was mixed."""

    images: Tensor
    where: Tensor
    masks: Tensor | None
    partner_weight: Tensor


# (what is changed, its partner or None, uniform draws float64 [B, WORDS − 1], mean colour in [0, 1], parameters)
Change = Callable[[Shown, Shown | None, np.ndarray, Sequence[float], Parameters], Changed]


def _unmixed(shown: Shown, images: Tensor, where: Tensor) -> Changed:
    weight = torch.zeros(len(images), dtype=torch.float32, device=images.device)
    return Changed(images, where, shown.masks, weight)


def erase_window(
    shown: Shown, partner: Shown | None, drawn: np.ndarray, mean: Sequence[float], params: Parameters
) -> Changed:
    """The window of greatest saliency set to 0 (or the data's mean colour), but for the pixels of the ground truth
    where `spare`. Santos et al. 2021, equations 3 and 4."""
    height, width = shown.images.shape[2:]
    where = inside(greatest_windows(shown.maps, params["window"]), params["window"], height, width)
    if params["spare"] and shown.masks is not None:
        where &= ~shown.masks
    colour = [0.0, 0.0, 0.0] if params["fill"] == "zero" else [255 * value for value in mean]
    fill = torch.tensor(colour, device=shown.images.device).round().to(torch.uint8)[None, :, None, None]
    return _unmixed(shown, torch.where(where[:, None], fill, shown.images), where)


def weaken(
    shown: Shown, partner: Shown | None, drawn: np.ndarray, mean: Sequence[float], params: Parameters
) -> Changed:
    """Where the finished map is `threshold` or more, pixels in [0, 1] become (1 − image_weight) · map · pixel, to
    the nearest grey level. Proxy attention's algorithm 1."""
    maps = scaled(shown.maps)
    where = maps >= params["threshold"]
    pixels = (1 - params["image_weight"]) * maps[:, None] * (shown.images.to(torch.float32) / 255)
    weakened = (pixels * 255).round().to(torch.uint8)
    return _unmixed(shown, torch.where(where[:, None], weakened, shown.images), where)


def paste_peak(
    shown: Shown, partner: Shown | None, drawn: np.ndarray, mean: Sequence[float], params: Parameters
) -> Changed:
    """The partner's patch around its most salient pixel, at the same place; its sides as CutMix draws them.

    SaliencyMix, Uddin et al., ICLR 2021, who take a saliency that knows no model; here it is the model's own.
    """
    assert partner is not None
    height, width = shown.images.shape[2:]
    peak = greatest_windows(partner.maps, 1).cpu().numpy()
    # CutMix's boxes take a centre as a draw: the middle of the peak's pixel.
    centre = (peak + 0.5) / np.array([height, width])
    box = torch.from_numpy(boxes(np.concatenate([drawn[:, :1], centre], 1), params["alpha"], height, width))
    top, bottom, left, right = box.to(shown.images.device).view(-1, 4, 1).unbind(1)
    y, x = (torch.arange(side, device=shown.images.device) for side in (height, width))
    where = ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
    return _pasted(shown, partner, where, params)


def paste_cells(
    shown: Shown, partner: Shown | None, drawn: np.ndarray, mean: Sequence[float], params: Parameters
) -> Changed:
    """The partner's `cells` most salient cells of a grid × grid division, at the same places.

    Attentive CutMix, Walawalkar et al., ICASSP 2020, who take a pretrained network's map; here it is the model's
    own.
    """
    assert partner is not None
    height, width = shown.images.shape[2:]
    device = shown.images.device
    rows, columns = (edges_of(side, params["grid"]).to(device) for side in (height, width))
    integral = integral_image(partner.maps)[:, rows[:, None], columns]
    sums = integral.diff(dim=1).diff(dim=2).flatten(1)
    means = sums / (rows.diff()[:, None] * columns.diff()).flatten()
    # Equal cells in their order by rows, on every device.
    best = means.sort(dim=1, descending=True, stable=True).indices[:, : params["cells"]]
    taken = torch.zeros_like(means, dtype=torch.bool).scatter_(1, best, True)
    where = taken.view(-1, params["grid"], params["grid"])
    where = where.repeat_interleave(rows.diff(), dim=1, output_size=height)
    where = where.repeat_interleave(columns.diff(), dim=2, output_size=width)
    return _pasted(shown, partner, where, params)


def edges_of(side: int, grid: int) -> Tensor:
    """int64 [grid + 1]: where along a side of so many pixels each cell begins, and the end; a pixel is of the
    cell in which its centre lies. ValueError where a cell would have no pixel."""
    if not 1 <= grid <= side:
        raise ValueError(
            f"grid: expected 1 to {side} cells along a side, the pixels of an image's, got {grid};"
            " lower aug.attentive_cutmix.grid"
        )
    cells = (2 * torch.arange(side) + 1) * grid // (2 * side)
    return torch.searchsorted(cells, torch.arange(grid + 1))


def _pasted(shown: Shown, partner: Shown, where: Tensor, params: Parameters) -> Changed:
    images = torch.where(where[:, None], partner.images, shown.images)
    masks = shown.masks
    if masks is not None and partner.masks is not None:
        masks = torch.where(where, partner.masks, masks)
    share = where.flatten(1).to(torch.float32).mean(1)
    weight = share if params["label"] == "mixed" else torch.zeros_like(share)
    return Changed(images, where, masks, weight)


CHANGES: dict[str, Change] = {
    **{name: erase_window for name in SPECS if name == "ada" or fixed_method(name)},
    "proxy_attention": weaken,
    "saliencymix": paste_peak,
    "attentive_cutmix": paste_cells,
}
