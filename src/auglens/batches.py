"""What an epoch is made of: the training images, both halves in the one order, as batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from auglens import rng
from auglens.active.step import Made
from auglens.data.augmentations import Augmented, Part, augment
from auglens.data.augmentations.schema import known
from auglens.data.order import epoch_order
from auglens.data.views import View, to_unit
from auglens.tasks import Batch, Task

BLOCK = 1024  # images augmented at once: an augmented image does not depend on its batch, so large blocks are free


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 [N,3,H,W]; labels: int64 [N]; masks: uint8 or bool [N,H,W], the object where not 0, or None;
    all on the device that trains."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device) -> LabelledImages:
        masks = None if self.masks is None else self.masks.to(device)
        return LabelledImages(self.images.to(device), self.labels.to(device), masks)

    def truth(self, task: Task, view: View, cut: slice) -> Tensor:
        """What the outputs of the images `cut` are held against: labels, or masks as the network sees them."""
        if not task.segments:
            return self.labels[cut]
        if self.masks is None:
            raise ValueError("masks: expected one per image, for the task is segmentation, got none; add masks/")
        return view.masks(self.masks[cut])


@dataclass(frozen=True)
class Recipe:
    """What a cell does besides the settings that all cells share."""

    parts: tuple[Part, ...]
    halves: int  # 2: originals and one augmented image of each; 1: originals alone
    augmentation_seed: int | None
    dropout_seed: int | None
    order_seed: int
    classic: tuple[Part, ...] = ()  # the first half's own augmentation, the same for all cells
    classic_from: int = 0  # epochs that see the originals before it begins
    layer: str = "features"  # that a saliency-driven aug explains

    @property
    def active(self) -> Part | None:
        """The part that is made from what the model attends to."""
        return self.parts[0] if self.parts and known()[self.parts[0].name].active else None

    @property
    def online(self) -> tuple[Part, ...]:
        """The parts that are made anew for every batch."""
        return self.parts[1:] if self.active else self.parts


def second_half(data: LabelledImages, made: Made | None) -> LabelledImages:
    """What the second half is made from: the training images, where a step made another of one, that."""
    if made is None or not len(made.rows):
        return data
    images = data.images.clone()
    images[made.rows] = made.images
    masks = data.masks
    if masks is not None and made.masks is not None:
        masks = masks != 0
        masks[made.rows] = made.masks
    return LabelledImages(images, data.labels, masks)


def _augmented(
    parts: tuple[Part, ...], data: LabelledImages, rows: Tensor, seed: int | None, epoch: int, masked: bool
) -> Augmented:
    masks = data.masks if masked else None
    return augment(parts, data.images, data.labels, rows, seed=seed, epoch=epoch, masks=masks)


def batches(
    data: LabelledImages,
    recipe: Recipe,
    *,
    epoch: int,
    batch_size: int,
    made: Made | None = None,
    masked: bool = False,
) -> Iterator[Batch]:
    """The batches of one epoch in the fixed order, at the data's own resolution, float32 in [0, 1].

    made: what a saliency-driven aug made so far; masked: with masks. What must wait for a GPU (indices made on the
    processor, the look whether labels are mixed) is done once per block, never per batch.
    """
    n = len(data.labels)
    order = torch.from_numpy(epoch_order(n, seed=recipe.order_seed, halves=recipe.halves))
    step = max(batch_size, BLOCK // batch_size * batch_size)
    source = second_half(data, made)
    classic = recipe.classic if epoch >= recipe.classic_from else ()
    classic_seed = rng.derive(recipe.order_seed, "classic") if classic else None
    for start in range(0, len(order), step):
        positions = order[start : start + step].to(data.labels.device)
        rows = positions % n
        images, labels, partner = to_unit(data.images[rows]), data.labels[rows], None
        masks = (data.masks[rows] != 0) if masked and data.masks is not None else None
        if classic:
            first = (positions < n).nonzero().squeeze(1)
            moved = _augmented(classic, data, rows[first], classic_seed, epoch, masked)
            images[first] = moved.images
            if masks is not None and moved.masks is not None:
                masks[first] = moved.masks
        if recipe.halves == 2:
            second = (positions >= n).nonzero().squeeze(1)
            found = _augmented(recipe.online, source, rows[second], recipe.augmentation_seed, epoch, masked)
            images[second] = found.images
            labels[second] = found.labels
            if masks is not None and found.masks is not None:
                masks[second] = found.masks
            others, weight = found.partner_labels, found.partner_weight
            if made is not None and len(made.rows) and bool(made.partner_weight.any()):
                others, weight = _partners(data, made, rows[second])
            if bool(weight.any()):
                partner = labels.clone(), torch.zeros(len(rows), device=labels.device)
                partner[0][second], partner[1][second] = others, weight
        for at in range(0, len(rows), batch_size):
            cut = slice(at, at + batch_size)
            mixed = None if partner is None else (partner[0][cut], partner[1][cut])
            yield Batch(images[cut], labels[cut], mixed, None if masks is None else masks[cut])


def _partners(data: LabelledImages, made: Made, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(labels int64, shares float32) of what a step mixed into the second half's images of `rows`."""
    labels = data.labels.clone()
    weight = torch.zeros(len(labels), device=labels.device)
    labels[made.rows], weight[made.rows] = made.partner_labels, made.partner_weight
    return labels[rows], weight[rows]
