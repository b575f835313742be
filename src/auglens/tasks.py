"""What differs between classification and any later task, as one value that the pipeline takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Batch:
    """images: float32 [B,C,H,W] in [0, 1]; labels: int64 [B], the sources'; partner: the labels int64 [B] of what
    was mixed in and its share float32 [B] in [0, 1], or None where nothing was, so that nobody needs to look.
    """

    images: Tensor
    labels: Tensor
    partner: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Task:
    """How outputs are trained and scored, and which output is explained.

    loss(outputs, batch) → scalar, the mean over the batch;
    accuracy(outputs, labels) → per image, float64 [B];
    scores(outputs, labels) → per-image float64 tensors [B] by name; `loss` and `accuracy` are among them;
    predict(outputs) → what the model says per image, int64 [B]: the target of an explanation by default;
    overall(outputs, labels) → scores of a whole set by name, those that are no means over its images.
    """

    name: str
    loss: Callable[[Tensor, Batch], Tensor]
    accuracy: Callable[[Tensor, Tensor], Tensor]
    scores: Callable[[Tensor, Tensor], dict[str, Tensor]]
    predict: Callable[[Tensor], Tensor]
    overall: Callable[[Tensor, Tensor], dict[str, float]]


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
