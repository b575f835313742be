"""Grad-CAM of one batch, and the contract that every method of explaining keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auglens.saliency.hooks import cut_at


class Found(NamedTuple):
    """What a method says of a batch: raw float32 [B, h, w], logits float32 [B, C], targets int64 [B]."""

    raw: Tensor
    logits: Tensor
    targets: Tensor


# (model, layer's name, images [B, 3, H, W], targets int64 [B] or None for the predicted classes) → Found.
# The model comes frozen, in evaluation mode, on the images' device, and is handed back so.
Method = Callable[[nn.Module, str, Tensor, Tensor | None], Found]


def gradcam(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """ReLU(Σₖ αₖ Aᵏ), αₖ the spatial mean of ∂(target's logit)/∂Aᵏ, A = the layer's output. A `Method`.

    Raw maps are what comes after the ReLU and before any scaling, in pytorch-grad-cam's order. The backward
    pass covers the layers after `layer` alone. Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2.

    ValueError: targets out of range; the layer does not run exactly once or has no part in the logits.
    """
    with torch.inference_mode(False), torch.enable_grad(), cut_at(model, layer) as leaves:
        logits = model(images)
        if len(leaves) != 1:
            raise ValueError(
                f"maps.layer: {layer!r} runs {len(leaves)} times per image, expected once; use features"
            )
        (activations,) = leaves
        chosen = select(logits, targets)
        # A one-hot cotangent: the sum of the chosen logits, without a scatter in its backward pass.
        one_hot = torch.zeros_like(logits).scatter_(1, chosen[:, None], 1)
        gradient = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits, activations, one_hot, allow_unused=True)
    if gradient is None:
        raise ValueError(f"maps.layer: {layer!r} has no part in the logits; use features")
    weights = gradient.mean((2, 3))
    raw = torch.einsum("bk,bkhw->bhw", weights, activations.detach()).relu()
    return Found(raw.float(), logits.detach().float(), chosen)


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
