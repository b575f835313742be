"""One's own augmentation, map method and metric: a complete example. docs/own.md explains it line by line.

    dvc exp run -S 'aug.names=[solarize,affine+solarize,identity]' -S '+aug.solarize.threshold=[0.3,0.9]'
    dvc exp run -S maps.method=activation -S 'measure.further=[ssim,top_shift]'

Everything stands in this one file: code of the project in other files would be in no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auglens.own import Range, augmentation, map_method, metric
from auglens.rng import fractions
from auglens.saliency.contract import Found, select


@augmentation(
    definition="Every value above a threshold t is turned into 1 − v; t is drawn for each image.",
    knobs={"threshold": Range("intensity, uniform from smallest to largest", 0, 1)},
    words=1,
)
def solarize(images: Tensor, words: np.ndarray, params: Mapping[str, Any]) -> Tensor:
    """images: float32 [B,C,H,W] in [0, 1]; words: uint64 [B,1] → images like them."""
    low, high = params["threshold"]
    drawn = low + (high - low) * fractions(words[:, 0])  # float64 [B] in [low, high)
    threshold = torch.from_numpy(drawn.astype(np.float32)).to(images.device).view(-1, 1, 1, 1)
    return torch.where(images > threshold, 1 - images, images)


@map_method(definition="The root mean square of the layer's channels: where the network is active, for no class.")
def activation(model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
    """images: [B,3,H,W]; targets: int64 [B] or None → raw maps [B,h,w], logits [B,C], the targets."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output.clone())
    )
    try:
        with torch.no_grad():
            logits = model(images)
    finally:
        handle.remove()
    raw = kept[0].square().mean(1).sqrt()
    return Found(raw.float(), logits.float(), select(logits, targets))


@metric(
    definition="Distance between the highest pixels of the two maps, in sides of the image.",
    higher_is_closer=False,
)
def top_shift(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """reference, other: float32 [N,H,W], finished maps → float64 [N]; NaN where one is constant or not finite."""
    n, height, width = reference.shape
    flat = [maps.reshape(n, -1) for maps in (reference, other)]
    rows, columns = zip(*(np.divmod(maps.argmax(1), width) for maps in flat), strict=True)
    distance = np.hypot((rows[0] - rows[1]) / height, (columns[0] - columns[1]) / width)
    defined = [np.isfinite(maps).all(1) & (maps.max(1) > maps.min(1)) for maps in flat]
    return np.where(defined[0] & defined[1], distance, np.nan)
