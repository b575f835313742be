"""What differs between classification and any later task, as one value that the pipeline takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from auglens.data.augmentations import Augmented


@dataclass(frozen=True)
class Task:
    """How outputs are trained and scored, and which output is explained.

    loss(outputs, batch) → scalar, the mean over the batch;
    scores(outputs, labels) → per-image float64 tensors [B] by name; `loss` and `accuracy` are among them;
    predict(outputs) → what the model says per image, int64 [B]: the target of an explanation by default.
    """

    name: str
    loss: Callable[[Tensor, Augmented], Tensor]
    scores: Callable[[Tensor, Tensor], dict[str, Tensor]]
    predict: Callable[[Tensor], Tensor]


def _classification_loss(outputs: Tensor, batch: Augmented) -> Tensor:
    loss = cross_entropy(outputs, batch.labels, reduction="none")
    if bool(batch.partner_weight.any()):
        partner = cross_entropy(outputs, batch.partner_labels, reduction="none")
        loss = (1 - batch.partner_weight) * loss + batch.partner_weight * partner
    return loss.mean()


def _classification_scores(outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
    outputs = outputs.to(torch.float64)
    return {
        "loss": cross_entropy(outputs, labels, reduction="none"),
        "accuracy": (outputs.argmax(1) == labels).to(torch.float64),
    }


CLASSIFICATION = Task(
    name="classification",
    loss=_classification_loss,
    scores=_classification_scores,
    predict=lambda outputs: outputs.argmax(1),
)
