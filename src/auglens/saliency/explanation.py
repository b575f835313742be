"""Explaining any number of images by one of the methods."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auglens.saliency.gradcam import Found, Method, gradcam
from auglens.saliency.hooks import frozen
from auglens.saliency.layers import FEATURES, check_map_size, target_layer

METHODS: dict[str, Method] = {"gradcam": gradcam}


@dataclass(frozen=True, eq=False)
class Explanation:
    """raw: float32 [N, h, w], the layer's resolution, unscaled; logits: float32 [N, C]; targets: int64 [N]."""

    raw: NDArray[np.float32]
    logits: NDArray[np.float32]
    targets: NDArray[np.int64]

    @property
    def probs(self) -> NDArray[np.float64]:
        """Softmax of the logits, float64 [N, C]."""
        logits = self.logits.astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def explain(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    *,
    method: str | Method = "gradcam",
    targets: Tensor | NDArray[np.integer] | None = None,
    layer: str | None = None,
    batch_size: int = 128,
) -> Explanation:
    """Explain `images`, normalised floats [N, 3, H, W] or an iterable of such batches, on the model's device.

    method: a name, or a function that keeps the contract of `gradcam.Method`.
    targets: the classes to explain, integers [N]; None = the class predicted, image by image.
    layer: what `target_layer` takes; None = `features`.
    batch_size: images at a time; a longer batch is cut. It changes results by rounding alone.
    The model is left as it was: modes, `requires_grad`, `.grad`, hooks, buffers, also after an error.

    ValueError: an unknown method or layer; a map below 4×4; images or targets of a wrong shape, type or number.
    """
    apply = _method(method)
    wanted = _targets(targets)
    batches = _batches(images, batch_size)
    first = next(batches, None)
    if first is None:
        raise ValueError("images: expected at least one image, got none; check the data")
    if wanted is not None and isinstance(images, Tensor):
        _count(len(wanted), len(images))
    size = (first.shape[2], first.shape[3])
    name = target_layer(model, layer or FEATURES, image_size=size)
    check_map_size(model, name, size)
    like = next(model.parameters())
    found: list[Found] = []
    done = 0
    with frozen(model):
        for batch in itertools.chain([first], batches):
            if batch.shape[2:] != first.shape[2:]:
                sides = f"{list(batch.shape[2:])} after {list(first.shape[2:])}"
                raise ValueError(f"images: expected one size, got {sides} pixels; resize them first")
            chosen = None
            if wanted is not None:
                chosen = wanted[done : done + len(batch)].to(like.device)
                if len(chosen) < len(batch):
                    _count(len(wanted), done + len(batch))
            done += len(batch)
            # Convolutions run up to twice as fast on it, whatever the format of the weights.
            batch = batch.to(like.device, like.dtype, memory_format=torch.channels_last)
            found.append(Found(*(part.cpu() for part in apply(model, name, batch, chosen))))
    if wanted is not None:
        _count(len(wanted), done)
    raw, logits, explained = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return Explanation(raw, logits, explained)


def _method(method: str | Method) -> Method:
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(METHODS)}"
        raise ValueError(f"maps.method: no method {method!r}; {hint}")
    return METHODS[method]


def _batches(images: Tensor | Iterable[Tensor], batch_size: int) -> Iterator[Tensor]:
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more images, got {batch_size}; 128 is the default")
    for batch in [images] if isinstance(images, Tensor) else images:
        if batch.ndim != 4 or batch.shape[1] != 3 or not batch.is_floating_point():
            got = f"{str(batch.dtype).removeprefix('torch.')} {list(batch.shape)}"
            raise ValueError(f"images: expected normalised floats [N, 3, H, W], got {got}; normalise them first")
        if len(batch):
            yield from batch.split(batch_size)


def _targets(targets: Tensor | NDArray[np.integer] | None) -> Tensor | None:
    if targets is None:
        return None
    found = torch.as_tensor(targets)
    if found.ndim != 1 or found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        got = f"{str(found.dtype).removeprefix('torch.')} {list(found.shape)}"
        raise ValueError(f"targets: expected integers [N], got {got}; pass one class per image or None")
    return found.to(torch.int64)


def _count(targets: int, images: int) -> None:
    """pytorch-grad-cam explains what is left over by zero maps; here a wrong number is an error."""
    if targets != images:
        raise ValueError(f"targets: expected one class per image, got {targets} for {images} images; pass all")
