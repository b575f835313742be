"""Explaining a segmentation: of its foreground logits, their mean over a region."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auglens.saliency.explanation import Explanation, explain
from auglens.saliency.hooks import frozen
from auglens.saliency.layers import FEATURES, LAST_CONV, target_layer

PREFIX = "network."
SEVERAL = ("smoothgrad", "integrated_gradients")  # they run on changed images, whose own regions are others
UNDEFINED = ("cam", "scorecam")  # one needs a linear head, the other's masked images have regions of their own


class Foreground(nn.Module):
    """A segmentation network, logits float [B,1,H,W], as a classifier of one class: the mean logit of a region.

    The region is `regions` bool [B,H,W] where given, else the predicted foreground (logit above 0); the whole
    image where that is empty. Source: Seg-Grad-CAM, Vinogradova et al., AAAI 2020, equation 2, up to the region's
    size.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.default_cfg = getattr(network, "default_cfg", None)
        self.regions: Tensor | None = None

    def forward_features(self, images: Tensor) -> Tensor:
        found: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        return found

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)[:, 0]
        region = logits.detach() > 0 if self.regions is None else self.regions
        region = torch.where(region.flatten(1).any(1)[:, None, None], region, True)
        mean = (logits * region).sum((1, 2)) / region.sum((1, 2))
        return mean[:, None]


def explain_foreground(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor | None]],
    *,
    method: Any = "gradcam",
    layer: str | None = None,
    batch_size: int = 128,
) -> Explanation:
    """`explain` of a segmentation network. batches: (normalised images float [B,3,H,W], B at most batch_size, and
    the regions bool [B,H,W] whose logits are explained, None = what the model predicts as foreground).

    logits of the result: float32 [N,2], 0 and the region's mean logit; targets: all 1.
    ValueError as of `explain`, and for a method that is not defined here.
    """
    if method in UNDEFINED:
        raise ValueError(f"maps.method: {method} is not defined for a segmentation; use gradcam")
    wrapped = Foreground(model)

    def images() -> Iterator[Tensor]:
        like = next(model.parameters())
        for batch, regions in batches:
            if regions is None and method in SEVERAL:
                regions = predicted_regions(model, batch)
            wrapped.regions = None if regions is None else regions.to(like.device)
            yield batch

    name = layer or FEATURES
    if name not in (FEATURES, LAST_CONV):
        name = PREFIX + name
    found = explain(wrapped, images(), method=method, layer=name, batch_size=batch_size)
    logits = np.concatenate([np.zeros_like(found.logits), found.logits], axis=1)
    return Explanation(found.raw, logits, np.ones_like(found.targets))


def predicted_regions(model: nn.Module, images: Tensor) -> Tensor:
    """bool [B,H,W] on the model's device: what a segmentation network says is foreground."""
    like = next(model.parameters())
    with frozen(model), torch.no_grad():
        found: Tensor = model(images.to(like.device, like.dtype))[:, 0] > 0
    return found


def foreground_layer(model: nn.Module, layer: str, *, image_size: int) -> str:
    """`target_layer` of a segmentation network, under its own name."""
    named = layer if layer in (FEATURES, LAST_CONV) else PREFIX + layer
    return target_layer(Foreground(model), named, image_size=image_size).removeprefix(PREFIX)
