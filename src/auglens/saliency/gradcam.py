"""Grad-CAM of one batch, and the contract that every method of explaining keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return gradcam_each(model, layer, images, [targets])[0]


def gradcam_each(model: nn.Module, layer: str, images: Tensor, wanted: Sequence[Tensor | None]) -> list[Found]:
    """`gradcam` for each set of targets in `wanted`, from one forward pass: each costs a backward pass alone.

    Where a later set names the class of the first, the map is the same to the last bit.
    """
    with torch.inference_mode(False), torch.enable_grad(), cut_at(model, layer) as leaves:
        logits = model(images)
        if len(leaves) != 1:
            raise ValueError(
                f"maps.layer: {layer!r} runs {len(leaves)} times per image, expected once; use features"
            )
        (leaf,) = leaves
        classes = [select(logits, targets) for targets in wanted]
        last = len(classes) - 1
        alphas = [_weights(logits, leaf, chosen, keep=at < last) for at, chosen in enumerate(classes)]
    found: list[Found] = []
    activations, scores = leaf.detach(), logits.detach().float()
    for chosen, weights in zip(classes, alphas, strict=True):
        if weights is None:
            raise ValueError(f"maps.layer: {layer!r} has no part in the logits; use features")
        raw = torch.einsum("bk,bkhw->bhw", weights, activations).relu().float()
        if found:
            raw = torch.where((chosen == found[0].targets)[:, None, None], found[0].raw, raw)
        found.append(Found(raw, scores, chosen))
    return found


def _weights(logits: Tensor, leaf: Tensor, chosen: Tensor, *, keep: bool) -> Tensor | None:
    """α [B, K] of each image's chosen class; None where the leaf has no part in the logits. keep: the graph."""
    if not logits.requires_grad:
        return None
    # A one-hot cotangent: the sum of the chosen logits, without a scatter in its backward pass.
    one_hot = torch.zeros_like(logits).scatter_(1, chosen[:, None], 1)
    (gradient,) = torch.autograd.grad(logits, leaf, one_hot, retain_graph=keep, allow_unused=True)
    return None if gradient is None else gradient.mean((2, 3))


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
