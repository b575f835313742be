"""Explaining any number of images by one of the methods."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auglens.saliency import methods
from auglens.saliency.contract import Found, Method
from auglens.saliency.hooks import frozen
from auglens.saliency.layers import FEATURES, checking, find_layer


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


Targets = Tensor | NDArray[np.integer] | None


def explain(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    *,
    method: str | Method = "gradcam",
    targets: Targets = None,
    layer: str | None = None,
    batch_size: int = 128,
) -> Explanation:
    """Explain `images`, normalised floats [N, 3, H, W] or an iterable of such batches, on the model's device.

    method: a name, or a function that keeps the contract of `contract.Method`.
    targets: the classes to explain, integers [N]; None = the class predicted, image by image.
    layer: what `target_layer` takes; None = `features`.
    batch_size: images at a time; a longer batch is cut. It changes results by rounding alone.
    The model is left as it was: modes, `requires_grad`, `.grad`, hooks, buffers, also after an error.

    ValueError: an unknown method or layer; a map below 4×4; images or targets of a wrong shape, type or number.
    """
    return explain_each(model, images, [targets], method=method, layer=layer, batch_size=batch_size)[0]


def explain_each(
    model: nn.Module,
    images: Tensor | Iterable[Tensor],
    targets: Sequence[Targets],
    *,
    method: str | Method = "gradcam",
    layer: str | None = None,
    batch_size: int = 128,
) -> list[Explanation]:
    """`explain` for each of several `targets`, as [None, labels], in one pass over the images.

    The class activation maps run the network once for all of them. Others run once more for the images whose
    target is another than the first. Where the target is the first's, so is the map, to the last bit.
    """
    apply, looks = methods.each(method), methods.find(method) not in methods.OF_PIXELS.values()
    wanted = [_targets(one) for one in targets]
    if not wanted:
        raise ValueError(
            "targets: expected at least one set of classes, got none; pass [None] for those predicted"
        )
    given = [one for one in wanted if one is not None]
    batches = _batches(images, batch_size)
    first = next(batches, None)
    if first is None:
        raise ValueError("images: expected at least one image, got none; check the data")
    if isinstance(images, Tensor):
        _count(given, len(images))
    size = (first.shape[2], first.shape[3])
    name = find_layer(model, layer or FEATURES, size)
    like = next(model.parameters())
    found: list[list[Found]] = []
    done = 0
    with frozen(model):
        for batch in itertools.chain([first], batches):
            if batch.shape[2:] != first.shape[2:]:
                sides = f"{list(batch.shape[2:])} after {list(first.shape[2:])}"
                raise ValueError(f"images: expected one size, got {sides} pixels; resize them first")
            rows = slice(done, done + len(batch))
            done += len(batch)
            if any(len(one) < done for one in given):
                _count(given, done)
            chosen = [None if one is None else one[rows].to(like.device) for one in wanted]
            # Convolutions run up to twice as fast on it, whatever the format of the weights.
            batch = batch.to(like.device, like.dtype, memory_format=torch.channels_last)
            # The first batch says how large the maps are: a blank image would cost as much as one of these.
            with contextlib.nullcontext() if found or not looks else checking(model, name, size):
                found.append(apply(model, name, batch, chosen))
    _count(given, done)
    # What is found stays on its device until here: a GPU need not wait for each batch's copy.
    return [
        Explanation(*(torch.cat(parts).cpu().numpy() for parts in zip(*batches_of_one, strict=True)))
        for batches_of_one in zip(*found, strict=True)
    ]


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


def _count(given: Sequence[Tensor], images: int) -> None:
    """pytorch-grad-cam explains what is left over by zero maps; here a wrong number is an error."""
    for targets in given:
        if len(targets) != images:
            raise ValueError(
                f"targets: expected one class per image, got {len(targets)} for {images} images; pass all"
            )
