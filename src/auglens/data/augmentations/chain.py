"""One chunk of images through the parts of an aug, each part with randomness of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auglens import rng
from auglens.data.augmentations import Augmented, controls, geometric, mixing, photometric
from auglens.data.augmentations.schema import OWN, Parameters, Part, draws_anything
from auglens.data.views import HALF, to_shares

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Kernel:
    """apply(images float32 [B,C,H,W] in [0, 1], words uint64 [B,words(shape)], params) → images like them.

    It may work in place: what it was given need not be there any more. One that moves pixels takes any number of
    channels and treats all alike: a mask goes as a fourth.
    """

    apply: Callable[[Tensor, np.ndarray, Parameters], Tensor]
    words: Callable[[Shape], int]  # 64-bit words of randomness per image
    moves: bool = False  # pixels, and so masks


KERNELS = {
    "affine": Kernel(geometric.affine, lambda shape: 5, moves=True),
    "color_jitter": Kernel(photometric.color_jitter, lambda shape: 4),
    "elastic": Kernel(geometric.elastic, lambda shape: -(-2 * shape[1] * shape[2] // 4), moves=True),
    "equalize": Kernel(photometric.equalize, lambda shape: 1),
    "gaussian_blur": Kernel(photometric.gaussian_blur, lambda shape: 1),
    "random_crop": Kernel(geometric.random_crop, lambda shape: 4, moves=True),
    "channel_shift": Kernel(photometric.channel_shift, lambda shape: shape[0]),
    "identity": Kernel(controls.identity, lambda shape: 0),
    "noise": Kernel(controls.noise, lambda shape: -(-shape[0] * shape[1] * shape[2] // 64)),
}
CUTMIX_WORDS = 4


def _words(part: Part, rows: Tensor, width: int, *, seed: int | None, epoch: int) -> np.ndarray:
    """The part's randomness by source row: the same alone and in a chain. Zeros where it draws nothing."""
    if seed is None or not draws_anything([part]):
        return np.zeros((len(rows), width), dtype=np.uint64)
    stream = f"augmentation/{part.name}"
    return rng.words(seed=seed, stream=stream, epoch=epoch, rows=rows.cpu().numpy(), width=width)


def unit_rows(images: Tensor, rows: Tensor, out: Tensor) -> Tensor:
    """images: uint8 [N,C,H,W] → out: float32 [B,C,H,W] in [0, 1], the images `rows`, as `to_unit` makes them."""
    return out.copy_(images.index_select(0, rows)).div_(255)


def apply(
    parts: Sequence[Part],
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    seed: int | None,
    epoch: int,
    out: Tensor,
    masks: Tensor | None = None,
) -> Augmented:
    """images: uint8 [N,C,H,W]; labels: int64 [N]; rows: int64 [B] → the augmented images of `rows`, in `out`.

    out: float32 [B,C,H,W], overwritten. masks: uint8 or bool [N,H,W]; between parts they are shares of a
    pixel, float32 [B,H,W] in [0, 1].
    """
    c, h, w = images.shape[1:]
    own = labels[rows]
    weight = torch.zeros(len(rows), dtype=torch.float32, device=images.device)
    moved = None if masks is None else to_shares(masks.index_select(0, rows))
    made = Augmented(unit_rows(images, rows, out), own, own, weight, moved)
    for part in parts if len(rows) else ():
        draw: dict[str, Any] = {"seed": seed, "epoch": epoch}
        if part.name == "cutmix":
            drawn = _words(part, rows, CUTMIX_WORDS, **draw)
            made = mixing.cutmix(made, drawn, part.params, images=images, labels=labels, rows=rows, masks=masks)
        elif part.name in KERNELS:
            kernel = KERNELS[part.name]
            drawn = _words(part, rows, kernel.words((c, h, w)), **draw)
            if made.masks is not None and kernel.moves:
                both = torch.cat([made.images, made.masks[:, None]], dim=1)
                both = kernel.apply(both, drawn, part.params)
                made = replace(made, images=both[:, :c].contiguous(), masks=both[:, c])
            else:
                made = replace(made, images=kernel.apply(made.images, drawn, part.params))
        elif part.name in OWN:
            spec = OWN[part.name]
            if spec.apply is None:
                raise ValueError(f"augment: {part.name} is one's own and not loaded; see auglens.own.loading")
            drawn = _words(part, rows, spec.words, **draw)
            found = spec.apply(made.images, drawn, part.params)
            if found.shape != out.shape:  # it would spread over `out` unseen
                raise ValueError(
                    f"augment: {part.name} made images of {list(found.shape)} from {list(out.shape)};"
                    " return as many of the same shape"
                )
            made = replace(made, images=found)
        else:
            raise ValueError(
                f"augment: {part.name} makes no images; give it no parts and one half (see epoch_order)"
            )
    if made.masks is not None:
        made = replace(made, masks=made.masks >= HALF)
    return replace(made, images=out.copy_(made.images))  # nothing to copy where all worked in place
