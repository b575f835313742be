"""Class activation maps: a layer's activations weighted by what the head, or its gradient, says of them.

Raw maps are what comes before any scaling, in pytorch-grad-cam's order (1.5.7, whose finished maps these equal).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auglens.saliency.contract import Found, chosen_sum, select
from auglens.saliency.hooks import cut_at
from auglens.saliency.tokens import as_maps


class Seen(NamedTuple):
    """Of a batch: the layer's activations A and ∂(target's logit)/∂A, both [B, K, h, w], and the targets [B]."""

    model: nn.Module
    activations: Tensor
    gradients: Tensor
    targets: Tensor


@dataclass(frozen=True)
class LayerMethod:
    """A method that is a rule over what is seen at the layer: one forward pass serves every set of targets, and
    the backward pass covers the layers after it alone. A `contract.Method`.

    ValueError: targets out of range; the layer does not run exactly once or has no part in the logits.
    """

    rule: Callable[[Seen], Tensor]

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
        return self.each(model, layer, images, [targets])[0]

    def each(self, model: nn.Module, layer: str, images: Tensor, wanted: Sequence[Tensor | None]) -> list[Found]:
        found: list[Found] = []
        with torch.inference_mode(False), torch.enable_grad(), cut_at(model, layer) as leaves:
            logits = model(images)
            if len(leaves) != 1:
                raise ValueError(
                    f"maps.layer: {layer!r} runs {len(leaves)} times per image, expected once; use features"
                )
            (leaf,) = leaves
            for at, targets in enumerate(wanted):
                chosen = select(logits, targets)
                gradient = _gradient(logits, leaf, chosen, keep=at < len(wanted) - 1)
                if gradient is None:
                    raise ValueError(f"maps.layer: {layer!r} has no part in the logits; use features")
                with torch.no_grad():
                    seen = Seen(model, as_maps(model, leaf.detach()), as_maps(model, gradient), chosen)
                    raw = self.rule(seen).float()
                    if found:
                        raw = torch.where((chosen == found[0].targets)[:, None, None], found[0].raw, raw)
                found.append(Found(raw, logits.detach().float(), chosen))
        return found


def _gradient(logits: Tensor, leaf: Tensor, chosen: Tensor, *, keep: bool) -> Tensor | None:
    """∂(the chosen logits)/∂leaf; None where the leaf has no part in the logits. keep: the graph."""
    if not logits.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(
        logits, leaf, chosen_sum(logits, chosen), retain_graph=keep, allow_unused=True
    )
    return gradient


def weighted(weights: Tensor, activations: Tensor) -> Tensor:
    """Σₖ wₖ Aᵏ: [B, K], [B, K, h, w] → [B, h, w]."""
    return torch.einsum("bk,bkhw->bhw", weights, activations)


def _gradcam(seen: Seen) -> Tensor:
    return weighted(seen.gradients.mean((2, 3)), seen.activations).relu()


def _gradcam_plus_plus(seen: Seen) -> Tensor:
    square = seen.gradients**2
    cube = square * seen.gradients
    total = seen.activations.sum((2, 3), keepdim=True)
    alpha = square / (2 * square + total * cube + 1e-6)  # 0 where the gradient is
    return weighted((seen.gradients.relu() * alpha).sum((2, 3)), seen.activations).relu()


def _xgradcam(seen: Seen) -> Tensor:
    total = seen.activations.sum((2, 3), keepdim=True)
    weights = (seen.gradients * seen.activations / (total + 1e-7)).sum((2, 3))
    return weighted(weights, seen.activations).relu()


def _layercam(seen: Seen) -> Tensor:
    return (seen.gradients.relu() * seen.activations).sum(1).relu()


def _hirescam(seen: Seen) -> Tensor:
    return (seen.gradients * seen.activations).sum(1).relu()


def _eigencam(seen: Seen) -> Tensor:
    """The centred activations' first principal component over the cells, through the cells' Gram matrix."""
    batch, channels, height, width = seen.activations.shape
    cells = seen.activations.double().reshape(batch, channels, height * width)
    cells = cells - cells.mean(2, keepdim=True)
    values, vectors = torch.linalg.eigh(cells.transpose(1, 2) @ cells)
    component = vectors[:, :, -1] * values[:, -1:].clamp_min(0).sqrt()
    # An eigenvector's sign means nothing. The largest value in size is made positive: Chung and Ying, Applied
    # Sciences 15 (2025), 7562, equation 13.
    component = torch.where(component.amin(1, True).abs() > component.amax(1, True).abs(), -component, component)
    return component.reshape(batch, height, width).relu()


def _cam(seen: Seen) -> Tensor:
    rows = _head(seen.model)[seen.targets]
    cells = seen.gradients.shape[2] * seen.gradients.shape[3]
    # Behind average pooling every cell's gradient is the head's row / cells. Nothing else has a CAM.
    pooled = (rows / cells)[:, :, None, None]
    fits = rows.shape == seen.gradients.shape[:2]
    if not (fits and torch.allclose(seen.gradients, pooled, rtol=1e-3, atol=1e-6 * float(rows.abs().max()))):
        raise ValueError(
            "maps.method: cam needs a layer with nothing but average pooling and one linear layer behind it; "
            "use gradcam, which is the same map there and exists everywhere"
        )
    return weighted(rows, seen.activations)


def _head(model: nn.Module) -> Tensor:
    """The weights [C, K] of the last linear layer, or of a classifier that is affine in evaluation mode."""
    told = getattr(model, "get_classifier", None)
    weight = getattr(told(), "weight", None) if callable(told) else None
    if not (isinstance(weight, Tensor) and weight.ndim == 2):
        every = [module for module in model.modules() if isinstance(module, nn.Linear)]
        if not every:
            raise ValueError("maps.method: cam needs a linear classifier, and this network has none; use gradcam")
        weight = every[-1].weight
    return weight


# Σₖ wₖᶜ Aᵏ, w the linear head's row of the class. No ReLU. Zhou et al., CVPR 2016, equation 2.
cam = LayerMethod(_cam)
# ReLU(Σₖ αₖ Aᵏ), αₖ the spatial mean of the gradient. Selvaraju et al., ICCV 2017, equations 1 and 2.
gradcam = LayerMethod(_gradcam)
# Positive gradients weighted by α from their second and third powers. Chattopadhay et al., WACV 2018, equation 19.
gradcam_plus_plus = LayerMethod(_gradcam_plus_plus)
# Weights Σ G·A / Σ A. Fu et al., BMVC 2020, equation 10.
xgradcam = LayerMethod(_xgradcam)
# ReLU(Σₖ ReLU(Gᵏ)·Aᵏ), cell by cell. Jiang et al., IEEE TIP 30 (2021), equation 7.
layercam = LayerMethod(_layercam)
# ReLU(Σₖ Gᵏ·Aᵏ), cell by cell. Draelos and Carin, arXiv:2011.08891, equation 5; pytorch-grad-cam adds the ReLU.
hirescam = LayerMethod(_hirescam)
# No class: the activations' first principal component. Muhammad and Yeasin, IJCNN 2020.
eigencam = LayerMethod(_eigencam)
