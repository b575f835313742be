"""Weight gradients of convolutions as one matrix product per tap, where that is quicker on a processor with AVX2.

There oneDNN has no kernel of its own for dilated convolutions and for those whose kernel reaches over the whole
map (it multiplies matrices image by image and group by group), and slow ones for many channels on small maps.
Half a training step of EfficientNet-B0 at 64 pixels went into that. A product over the whole batch for each tap
gives the same sums in another order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

Pair = tuple[int, ...]
LARGEST_MAP = 28  # pixels of a side: on larger ones copying the shifted maps costs what the product gains
MANY_CHANNELS = 96  # in and out: with fewer, oneDNN's kernels for undilated convolutions are as quick


def _inside(size: int, outputs: int, stride: int, shift: int) -> tuple[slice, slice]:
    """Along one axis: the outputs whose tap lies within the map, and the pixels that it lies on.

    size: pixels of the map; shift: the tap's place for output 0, in pixels. Both are empty where none does.
    """
    first = max(0, -(shift // stride))
    last = max(first, min(outputs, (size - 1 - shift) // stride + 1))
    start = first * stride + shift
    return slice(first, last), slice(start, max(start, start + (last - first - 1) * stride + 1), stride)


def weight_gradient(
    images: Tensor, gradient: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, *, depthwise: bool
) -> Tensor:
    """images: float32 [B,C,H,W]; gradient: float32 [B,O,h,w], of the output → float32 [O,C,*kernel], or
    [O,1,*kernel] where every channel has a kernel of its own (depthwise). In channels_last, as its arguments
    had better be.
    """
    out, channels = gradient.shape[1], 1 if depthwise else images.shape[1]
    found = images.new_zeros(out, *kernel, channels)
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    for i in range(kernel[0]):
        rows, over_rows = _inside(images.shape[1], gradient.shape[1], stride[0], i * dilation[0] - padding[0])
        for j in range(kernel[1]):
            columns, over = _inside(images.shape[2], gradient.shape[2], stride[1], j * dilation[1] - padding[1])
            here, there = gradient[:, rows, columns], images[:, over_rows, over]
            if not here.numel():
                continue
            if depthwise:
                torch.sum(here * there, (0, 1, 2), out=found[:, i, j, 0])
            else:
                torch.mm(here.reshape(-1, out).T, there.reshape(-1, channels), out=found[:, i, j])
    return found.permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    """torch's own convolution, and its own gradient of the images."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, how: tuple[Pair, Pair, Pair, int]) -> Tensor:
        context.save_for_backward(images, weight)
        context.how = how
        return conv2d(images, weight, None, *how)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = context.saved_tensors
        stride, padding, dilation, groups = context.how
        back = None
        if context.needs_input_grad[0]:
            back = torch.ops.aten.convolution_backward(
                gradient,
                images,
                weight,
                None,
                stride,
                padding,
                dilation,
                False,
                (0, 0),
                groups,
                (True, False, False),
            )[0]
        if not context.needs_input_grad[1]:  # while a step explains
            return back, None, None
        kernel = tuple(weight.shape[2:])
        found = weight_gradient(images, gradient, kernel, stride, padding, dilation, depthwise=groups > 1)
        return back, found, None


def _pays(layer: nn.Conv2d, images: Tensor) -> bool:
    """Whether the product per tap is the quicker, as measured with two threads and one (docs/performance.md)."""
    assert not isinstance(layer.padding, str)
    sides = zip(images.shape[2:], layer.padding, layer.dilation, layer.kernel_size, layer.stride, strict=True)
    outputs = [
        (size + 2 * padding - gap * (kernel - 1) - 1) // stride + 1 for size, padding, gap, kernel, stride in sides
    ]
    if max(outputs) > LARGEST_MAP:
        return False
    many = layer.groups == 1 and min(layer.in_channels, layer.out_channels) >= MANY_CHANNELS
    return many or max(layer.dilation) > 1 or min(outputs) < max(layer.kernel_size)


def _replaceable(layer: nn.Module) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size != (1, 1)
        and (layer.groups == 1 or layer.groups == layer.in_channels == layer.out_channels)
        and layer.bias is None
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


@contextlib.contextmanager
def quick_gradients(model: nn.Module) -> Iterator[None]:
    """Inside the block `model`'s convolutions take `weight_gradient` where it pays.

    Outputs, the gradients of images and everything on other devices and processors, in bf16 and in evaluation
    are torch's own, bit by bit. Weight gradients differ by rounding.
    """
    layers: list[nn.Conv2d] = []
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and _replaceable(layer)]
    for layer in layers:
        layer.forward = _forward(layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: nn.Conv2d) -> Any:
    how = (layer.stride, layer.padding, layer.dilation, layer.groups)
    own = layer.forward

    def forward(images: Tensor) -> Tensor:
        plain = images.device.type == "cpu" and images.dtype == torch.float32 and torch.is_grad_enabled()
        if plain and not torch.is_autocast_enabled("cpu") and _pays(layer, images):
            found: Tensor = _Convolution.apply(images, layer.weight, how)
            return found
        return own(images)

    return forward
