"""The explaining behind `auglens explain`: a checkpoint + test images → maps for both targets, from one pass.

Apart from the stage, so that a cell whose maps are there already needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from auglens import artifacts, compat
from auglens.config import ModelConfig, other_variant
from auglens.data.views import View, to_unit
from auglens.device import deterministic, find_device
from auglens.models import build, load_weights
from auglens.own import loading
from auglens.progress import Progress
from auglens.saliency import explain_each, target_layer
from auglens.saliency.foreground import explain_foreground, foreground_layer
from auglens.stages import layout
from auglens.tasks import TASKS, Task


@torch.inference_mode()
def outputs(model: torch.nn.Module, batches: Iterator[torch.Tensor], task: Task) -> artifacts.Array:
    """What a segmentation says of every image: bool [N, pixels]."""
    model.eval()
    return np.concatenate([task.predict(model(images)).flatten(1).cpu().numpy() for images in batches])


def run(cell: str, spec: dict[str, Any]) -> None:
    compat.tune_allocator()
    method = spec["method"]
    if "own" in spec:
        method = loading.load(spec["own"], {method: spec["code"]}).functions[method]
    prepared = artifacts.load_prepared(layout.SPLITS)
    tensors, metadata = artifacts.load_checkpoint(layout.checkpoint(cell))
    settings, task = ModelConfig(**metadata["model"]), TASKS[metadata["task"]]
    device = find_device(spec["device"])
    with deterministic(spec["threads"]):
        model = build(settings, len(metadata["classes"]), init_seed=0)
        load_weights(model, tensors)
        model.to(device)
        size = settings.image_size
        layer = (foreground_layer if task.segments else target_layer)(model, spec["layer"], image_size=size)
        view = View(settings.image_size, metadata["mean"], metadata["std"])
        rows, size = prepared.test, spec["batch_size"]
        labels = prepared.labels[rows]
        regions = ("predicted", "true") if spec["target"] == "predicted" else ("true", "predicted")
        progress = Progress(f"explain {cell}", len(rows) * (2 if task.segments else 1), unit="image")

        def batches() -> Iterator[torch.Tensor]:
            for start in range(0, len(rows), size):
                images = prepared.images[rows[start : start + size]]
                yield view(to_unit(torch.from_numpy(images).to(device)))
                progress.advance(len(images))

        predicted: artifacts.Array | None = None
        truth: artifacts.Array | None = None
        if task.segments:
            masks = prepared.masks

            def segmented(region: str) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
                for start, images in zip(range(0, len(rows), size), batches(), strict=True):
                    some = np.ascontiguousarray(masks[rows[start : start + size]])  # type: ignore[index]
                    wanted = view.masks(torch.from_numpy(some).to(device)) if region == "true" else None
                    yield images, wanted

            with progress:
                found = [
                    explain_foreground(model, segmented(one), method=method, layer=layer, batch_size=size)
                    for one in regions
                ]
            predicted = np.packbits(outputs(model, batches(), task), axis=1)
            seen = [view.masks(torch.from_numpy(np.array(masks[row])[None])) for row in rows]  # type: ignore[index]
            truth = np.packbits(torch.cat(seen).flatten(1).numpy(), axis=1)
        else:
            targets = [None if one == "predicted" else labels for one in regions]
            with progress:
                found = explain_each(model, batches(), targets, method=method, layer=layer, batch_size=size)
    for variant, one in zip((spec["variant"], other_variant(spec["variant"])), found, strict=True):
        saved = artifacts.Maps(
            one.raw, one.logits, one.targets, settings.image_size, spec["map_key"], predicted, truth
        )
        artifacts.save_maps(layout.maps(cell, variant), saved)
    height, width = found[0].raw.shape[1:]
    print(f"explain {cell}: {len(rows)} maps of {height} × {width} at {layer}")
