"""Augmentations as batch functions with per-sample parameters.

An augmented image depends on (seed, epoch, source row) and its parts' parameters alone: neither batch size
nor order nor the number of threads changes a bit of it. Two rules see to that. Each part draws from a stream
of its own, counted by the source row, in float64 on the CPU. And pixels pass only through operations whose
result per image cannot depend on the batch: elementwise ones, `grid_sample`, and sums that are exact, or in a
fixed order.

Importing this package imports no torch; `augment` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auglens.data.augmentations.schema import AUGS, CONTROLS, OWN, Part, draws_anything, parse, validate

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AUGS", "CONTROLS", "Augmented", "Part", "augment", "draws_anything", "parse", "validate"]

# Values (channels × height × width × images) worked on at once: on a CPU what its last cache holds, with enough
# images to share the cost of each step; elsewhere a bound on memory. Images do not depend on it.
CPU_CHUNK, DEVICE_CHUNK = 2**20, 2**25


@dataclass(frozen=True)
class Augmented:
    """images: float32 [B,C,H,W] in [0, 1]; labels: int64 [B], the source's;
    partner_labels: int64 [B]; partner_weight: float32 [B] in [0, 1], the partner's share of the label.

    Only cutmix with label=mixed has partners; elsewhere the weight is 0 and the partner's label the source's.
    masks: bool [B,H,W], where masks were given.
    """

    images: Tensor
    labels: Tensor
    partner_labels: Tensor
    partner_weight: Tensor
    masks: Tensor | None = None


def augment(
    parts: Sequence[Part],
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    seed: int | None,
    epoch: int,
    masks: Tensor | None = None,
) -> Augmented:
    """One augmented image of each of `rows`, the parts applied in their order.

    images: uint8 [N,3,H,W], the whole training set; labels: int64 [N]; rows: int64 [B]; all on one device,
    where the result is, too. seed: may be None where no part draws anything. epoch: from 0.
    masks: uint8 or bool [N,H,W], the object where not 0, of the whole training set. They move with their images:
    sampled at the same places, outside as the image is, through the whole chain, and the object where
    half a pixel or more is of it; cutmix pastes the partner's. Images are the same with and without them.
    ValueError on unknown or wrong parameters, on a seed of None where one is needed, on masks that do not fit and
    on masks for an augmentation of one's own.
    """
    import torch

    from auglens.data.augmentations import chain

    for part in parts:
        validate(part.name, part.params)
    if seed is None and draws_anything(parts):
        raise ValueError(f"augment: {'+'.join(p.name for p in parts)} draws at random; pass a seed, not None")
    if masks is not None:
        _check_masks(parts, images, masks)
    chunk = CPU_CHUNK if images.device.type == "cpu" else DEVICE_CHUNK
    size = max(1, chunk // images[0].numel())
    whole = torch.empty((len(rows), *images.shape[1:]), dtype=torch.float32, device=images.device)
    made = [
        chain.apply(parts, images, labels, some, seed=seed, epoch=epoch, out=out, masks=masks)
        for some, out in zip(rows.split(size), whole.split(size), strict=True)
    ]
    fields = ("labels", "partner_labels", "partner_weight", *([] if masks is None else ["masks"]))
    return Augmented(whole, **{name: torch.cat([getattr(one, name) for one in made]) for name in fields})


def _check_masks(parts: Sequence[Part], images: Tensor, masks: Tensor) -> None:
    expected = [len(images), *images.shape[2:]]
    kind = str(masks.dtype).removeprefix("torch.")
    if list(masks.shape) != expected or kind not in ("uint8", "bool"):
        raise ValueError(
            f"masks: expected uint8 or bool {expected}, got {kind} {list(masks.shape)}; pass one per image"
        )
    own = [part.name for part in parts if part.name in OWN]
    if own:
        raise ValueError(
            f"masks: {own[0]} is one's own and says nothing of where pixels go; leave it out or pass no masks"
        )
