"""Methods that follow the gradient to the pixels: raw maps as large as the image, never negative.

Attributions have a value per channel. Gradients are made one by their length (L2 norm over the channels); products
with the image, whose channels add up to a part of the logit, by their sum's size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import interpolate
from torch.overrides import TorchFunctionMode

from auglens.saliency.cams import gradcam
from auglens.saliency.contract import Found, chosen_sum, select

SMOOTHGRAD_DRAWS, SMOOTHGRAD_SEED = 25, 0
SMOOTHGRAD_NOISE = 0.15  # standard deviation, as a share of the image's range
INTEGRATION_STEPS = 32


def gradients(model: nn.Module, images: Tensor, targets: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(∂(target's logit)/∂image [B, 3, H, W], logits, targets), from one pass there and back."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = images.detach().clone(memory_format=torch.preserve_format).requires_grad_(True)
        logits = model(leaf)
        chosen = select(logits, targets)
        (found,) = torch.autograd.grad(logits, leaf, chosen_sum(logits, chosen))
    return found, logits.detach().float(), chosen


def gradient(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """‖∂logit/∂image‖. Simonyan et al., ICLR Workshops 2014 (who take the maximum over channels). A `Method`."""
    found, logits, chosen = gradients(model, images, targets)
    return Found(found.norm(dim=1).float(), logits, chosen)


def inputxgradient(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """|Σ image · gradient|. Shrikumar et al., arXiv:1605.01713. A `Method`."""
    found, logits, chosen = gradients(model, images, targets)
    return Found((images * found).sum(1).abs().float(), logits, chosen)


class _Guided(torch.autograd.Function):
    """ReLU whose backward pass lets through what is positive alone, in the input and in the gradient."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        context.save_for_backward(values)
        return values.relu()

    @staticmethod
    def backward(context: Any, *given: Tensor) -> Tensor:
        (values,) = context.saved_tensors
        return given[0].relu() * (values > 0)


_RELU = {functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_OTHERS = {
    getattr(functional, name): name
    for name in ("silu", "gelu", "elu", "selu", "mish", "hardswish", "leaky_relu", "prelu", "relu6", "softplus")
}


class _GuidedMode(TorchFunctionMode):
    """Every ReLU guided, those of modules and those called as functions alike."""

    def __init__(self) -> None:
        super().__init__()
        self.relus, self.others = 0, set[str]()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _RELU:
            self.relus += 1
            return _Guided.apply(args[0])
        if function in _OTHERS:
            self.others.add(_OTHERS[function])
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def _guided() -> Iterator[None]:
    with _GuidedMode() as mode:
        yield
    if mode.others or not mode.relus:
        has = f"uses {', '.join(sorted(mode.others))}" if mode.others else "has no ReLU"
        raise ValueError(
            f"maps.method: guided backpropagation is defined for ReLU, and this network {has}; use gradient"
        )


def guided_backprop(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """`gradient` through guided ReLUs. Springenberg et al., ICLR Workshops 2015. A `Method`.

    ValueError: a network without ReLU or with other activations beside it.
    """
    with _guided():
        return gradient(model, layer, images, targets)


def guided_gradcam(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """Guided backpropagation times Grad-CAM, upsampled. Selvaraju et al., ICCV 2017, section 3.2. A `Method`."""
    fine = guided_backprop(model, layer, images, targets)
    coarse = gradcam(model, layer, images, fine.targets).raw[:, None]
    upsampled = interpolate(coarse, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return Found(fine.raw * upsampled, fine.logits, fine.targets)


def smoothgrad(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """The length of the mean gradient of copies with noise. Smilkov et al., arXiv:1706.03825. A `Method`.

    The noise is the same for every image and model: a map depends on no other image and on no generator.
    """
    with torch.no_grad():
        logits = model(images).float()
    chosen = select(logits, targets)
    generator = torch.Generator().manual_seed(SMOOTHGRAD_SEED)
    spread = SMOOTHGRAD_NOISE * (images.amax((1, 2, 3), True) - images.amin((1, 2, 3), True))
    total = torch.zeros_like(images)
    for _ in range(SMOOTHGRAD_DRAWS):
        noise = torch.randn(images.shape[1:], generator=generator).to(images)
        total += gradients(model, images + spread * noise, chosen)[0]
    return Found((total / SMOOTHGRAD_DRAWS).norm(dim=1).float(), logits, chosen)


def integrated_gradients(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """|Σ image · mean gradient| on the way from the data's mean colour (0 after normalising) to the image, by the
    rule of Gauss and Legendre. Sundararajan et al., ICML 2017, equation 1. A `Method`."""
    with torch.no_grad():
        logits = model(images).float()
    chosen = select(logits, targets)
    places, weights = np.polynomial.legendre.leggauss(INTEGRATION_STEPS)
    total = torch.zeros_like(images)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradients(model, float(place) * images, chosen)[0]
    return Found((images * total).sum(1).abs().float(), logits, chosen)
