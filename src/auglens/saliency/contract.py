"""What every method of explaining is given and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn


class Found(NamedTuple):
    """What a method says of a batch: raw float32 [B, h, w], logits float32 [B, C], targets int64 [B]."""

    raw: Tensor
    logits: Tensor
    targets: Tensor


# (model, layer's name, images [B, 3, H, W], targets int64 [B] or None for the predicted classes) → Found.
# The model comes frozen, in evaluation mode, on the images' device, and is handed back so.
Method = Callable[[nn.Module, str, Tensor, Tensor | None], Found]


@runtime_checkable
class Shared(Protocol):
    """A method that shares work between sets of targets.

    Where a later set names the class of the first, its map is the same to the last bit.
    """

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found: ...

    def each(
        self, model: nn.Module, layer: str, images: Tensor, wanted: Sequence[Tensor | None]
    ) -> list[Found]: ...


def select(logits: Tensor, targets: Tensor | None) -> Tensor:
    """The classes to explain, int64 [B]: those given, else those predicted. ValueError: one out of range."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model: expected logits [N, classes], got {got}; explain a classifier")
    if targets is None:
        return logits.detach().argmax(1)
    wrong = targets[(targets < 0) | (targets >= logits.shape[1])]
    if len(wrong):
        last = logits.shape[1] - 1
        raise ValueError(f"targets: expected classes 0 to {last}, got {int(wrong[0])}; pass this model's classes")
    return targets


def chosen_sum(logits: Tensor, classes: Tensor) -> Tensor:
    """A one-hot cotangent [B, C]: its product with the logits is the sum of the chosen ones, and its gradient
    needs no scatter."""
    return logits.new_zeros(logits.shape).scatter_(1, classes[:, None], 1)
