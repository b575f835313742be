"""The registry of methods: a name in `maps.method` → what explains a batch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from auglens.saliency import cams, pixels
from auglens.saliency.contract import Found, Method, Shared, select
from auglens.saliency.hooks import frozen
from auglens.saliency.layers import check_map_size
from auglens.saliency.scorecam import scorecam

OF_LAYER: dict[str, Method] = {
    "cam": cams.cam,
    "gradcam": cams.gradcam,
    "gradcam++": cams.gradcam_plus_plus,
    "scorecam": scorecam,
    "xgradcam": cams.xgradcam,
    "layercam": cams.layercam,
    "eigencam": cams.eigencam,
    "hirescam": cams.hirescam,
}
# Their raw maps are as large as the image.
OF_PIXELS: dict[str, Method] = {
    "gradient": pixels.gradient,
    "inputxgradient": pixels.inputxgradient,
    "guided_backprop": pixels.guided_backprop,
    "guided_gradcam": pixels.guided_gradcam,
    "smoothgrad": pixels.smoothgrad,
    "integrated_gradients": pixels.integrated_gradients,
}
METHODS: dict[str, Method] = OF_LAYER | OF_PIXELS

Each = Callable[[nn.Module, str, Tensor, Sequence[Tensor | None]], list[Found]]


def find(method: str | Method) -> Method:
    """ValueError: an unknown name."""
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(METHODS)}"
        raise ValueError(f"maps.method: no method {method!r}; {hint}")
    return METHODS[method]


def each(method: str | Method) -> Each:
    """The method for several sets of targets at once."""
    found = find(method)
    if isinstance(found, Shared):
        return found.each

    def apply(model: nn.Module, layer: str, images: Tensor, wanted: Sequence[Tensor | None]) -> list[Found]:
        first = Found(*found(model, layer, images, wanted[0]))
        done = [first]
        for targets in wanted[1:]:
            chosen = select(first.logits, targets)
            differ = (chosen != first.targets).nonzero()[:, 0]
            raw = first.raw.clone()
            if len(differ):
                some = images[differ].contiguous(memory_format=torch.channels_last)
                raw[differ] = Found(*found(model, layer, some, chosen[differ])).raw
            done.append(Found(raw, first.logits, chosen))
        return done

    return apply


def try_out(method: str, model: nn.Module, layer: str, size: int) -> tuple[int, int]:
    """Sides of the raw maps of images of `size` pixels, by explaining a blank one.

    ValueError: the method is not defined for this network.
    """
    if method in OF_PIXELS or method == "cam":  # the others, and one's own, take every layer that gives maps
        blank = next(model.parameters()).new_zeros(1, 3, size, size)
        with frozen(model):
            raw = find(method)(model, layer, blank, None).raw
        return int(raw.shape[1]), int(raw.shape[2])
    return check_map_size(model, layer, size)
