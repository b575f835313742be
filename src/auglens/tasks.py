"""What differs between classification and segmentation, as one value that the pipeline takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

SMOOTH = 1.0  # pixels, added to both sides of the Dice loss: near 0 where there is nothing and nothing said


@dataclass(frozen=True)
class Batch:
    """images: float32 [B,C,H,W] in [0, 1]; labels: int64 [B], the sources'; partner: the labels int64 [B] of what
    was mixed in and its share float32 [B] in [0, 1], or None where nothing was, so that nobody needs to look;
    masks: bool [B,H,W], of the images as they are here, or None where the data have none or the task no use for
    them.
    """

    images: Tensor
    labels: Tensor
    partner: tuple[Tensor, Tensor] | None = None
    masks: Tensor | None = None


@dataclass(frozen=True)
class Task:
    """How outputs are trained and scored, and which output is explained.

    A *truth* is what the outputs are held against: labels int64 [B], or masks bool [B,S,S] as the network sees
    them. loss(outputs, batch) → scalar, the mean over the batch, whose masks are as the network sees them;
    accuracy(outputs, truth) → per image, float64 [B] in [0, 1];
    scores(outputs, truth) → per-image float64 tensors [B] by name, NaN where undefined; `loss` and `accuracy` are
    among them;
    predict(outputs) → what the model says per image: int64 [B], or bool [B,S,S];
    overall(outputs, truth) → scores of a whole set by name, where some are no means over its images;
    segments: the truth is masks.
    """

    name: str
    loss: Callable[[Tensor, Batch], Tensor]
    accuracy: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[Tensor, Tensor], dict[str, Tensor]]
    predict: Callable[[Tensor], Tensor]
    overall: Callable[[Tensor, Tensor], dict[str, float]] | None = None
    segments: bool = False


def _classification_loss(outputs: Tensor, batch: Batch) -> Tensor:
    loss = cross_entropy(outputs, batch.labels, reduction="none")
    if batch.partner is not None:
        labels, weight = batch.partner
        loss = (1 - weight) * loss + weight * cross_entropy(outputs, labels, reduction="none")
    return loss.mean()


def _classification_accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs.argmax(1) == labels).to(torch.float64)


def _classification_scores(outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    outputs = outputs.to(torch.float64)
    return {
        "loss": cross_entropy(outputs, labels, reduction="none"),
        "accuracy": _classification_accuracy(outputs, labels),
    }


def _classification_overall(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    from auglens.metrics.performance import classification_scores  # scipy comes with it: only where asked for

    found = classification_scores(labels.cpu().numpy(), outputs.argmax(1).cpu().numpy(), outputs.shape[1])
    return {name: found[name] for name in ("accuracy", "precision", "recall", "f1")}


CLASSIFICATION = Task(
    name="classification",
    loss=_classification_loss,
    accuracy=_classification_accuracy,
    scores=_classification_scores,
    predict=lambda outputs: outputs.argmax(1),
    overall=_classification_overall,
)


def _pixel_losses(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross entropy, the mean over pixels, plus 1 − soft Dice: [B,S,S], masks bool → [B], nats + no
    unit."""
    truth = masks.to(logits.dtype)
    cross = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((1, 2))
    said = logits.sigmoid()
    both, each = (said * truth).sum((1, 2)), (said + truth).sum((1, 2))
    return cross + 1 - (2 * both + SMOOTH) / (each + SMOOTH)


def _masks_of(batch: Batch) -> Tensor:
    if batch.masks is None:
        raise ValueError("masks: expected those of every image, for the task is segmentation, got none; pass them")
    return batch.masks


def dice(predicted: Tensor, masks: Tensor) -> Tensor:
    """2 |P ∩ M| / (|P| + |M|): bool [B,S,S] → float64 [B]; NaN where both are empty."""
    both = (predicted & masks).sum((1, 2)).to(torch.float64)
    return 2 * both / (predicted.sum((1, 2)) + masks.sum((1, 2)))


def _segmentation_accuracy(outputs: Tensor, masks: Tensor) -> Tensor:
    return ((outputs[:, 0] > 0) == masks).to(torch.float64).mean((1, 2))


def _segmentation_scores(outputs: Tensor, masks: Tensor) -> dict[str, Tensor]:
    logits = outputs[:, 0].to(torch.float64)
    return {
        "loss": _pixel_losses(logits, masks),
        "accuracy": _segmentation_accuracy(outputs, masks),
        "dice": dice(outputs[:, 0] > 0, masks),
    }


SEGMENTATION = Task(
    name="segmentation",
    loss=lambda outputs, batch: _pixel_losses(outputs[:, 0], _masks_of(batch)).mean(),
    accuracy=_segmentation_accuracy,
    scores=_segmentation_scores,
    predict=lambda outputs: outputs[:, 0] > 0,
    segments=True,
)
TASKS = {task.name: task for task in (CLASSIFICATION, SEGMENTATION)}
