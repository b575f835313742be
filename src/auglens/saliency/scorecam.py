"""Score-CAM: each channel weighted by what the network says of the image seen through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from auglens.saliency.cams import weighted
from auglens.saliency.contract import Found, select
from auglens.saliency.hooks import outputs_at
from auglens.saliency.tokens import as_maps

EPSILON = 1e-8  # pytorch-grad-cam's, added to a channel's range


@dataclass(frozen=True)
class ScoreCam:
    """ReLU(Σₖ softmaxₖ(sᵏ) Aᵏ), sᵏ the target's logit for the image times channel k, upsampled and scaled to
    [0, 1]. Wang et al., CVPR Workshops 2020, with pytorch-grad-cam's choices: the logit itself without that of a
    baseline, the normalised image masked, corners aligned. A `contract.Method`.

    chunk: masked images that are made and run at once, whatever the number of channels and images: the memory.
    A channel without a range lets nothing through; all such share one run. The scores of all classes come from the
    same runs, so that further sets of targets cost nothing.
    """

    chunk: int = 32

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor | None) -> Found:
        return self.each(model, layer, images, [targets])[0]

    def each(self, model: nn.Module, layer: str, images: Tensor, wanted: Sequence[Tensor | None]) -> list[Found]:
        with torch.no_grad():
            with outputs_at(model, layer) as outputs:
                logits = model(images)
            if len(outputs) != 1:
                raise ValueError(
                    f"maps.layer: {layer!r} runs {len(outputs)} times per image, expected once; use features"
                )
            classes = [select(logits, targets) for targets in wanted]
            activations = as_maps(model, outputs[0])
            nothing = model(torch.zeros_like(images[:1])).float()
            scores = torch.stack(
                [self._scores(model, *one, nothing) for one in zip(images, activations, strict=True)]
            )  # [B, K, C]
            found: list[Found] = []
            for chosen in classes:
                own = scores.take_along_dim(chosen[:, None, None], dim=2)[:, :, 0]
                raw = weighted(own.softmax(1).to(activations.dtype), activations).relu().float()
                found.append(Found(raw, logits.float(), chosen))
        return found

    def _scores(self, model: nn.Module, image: Tensor, channels: Tensor, nothing: Tensor) -> Tensor:
        """[K, C] of one image [3, H, W]. nothing: the logits [1, C] of an image that no channel lets through."""
        scores = nothing.repeat(len(channels), 1)
        flat = channels.flatten(1)
        for rows in (flat.amax(1) > flat.amin(1)).nonzero()[:, 0].split(self.chunk):
            masks = interpolate(channels[rows][:, None], size=image.shape[1:], mode="bilinear", align_corners=True)
            low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
            masks = (masks - low) / (high - low + EPSILON)
            masked = (image * masks).contiguous(memory_format=torch.channels_last)
            scores[rows] = model(masked).float()
        return scores


scorecam = ScoreCam()
