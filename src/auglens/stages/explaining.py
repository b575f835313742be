"""The explaining behind `auglens explain`: a checkpoint + test images → maps for both targets, from one pass.

Apart from the stage, so that a cell whose maps are there already needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from auglens import artifacts, compat
from auglens.config import ModelConfig, other_variant
from auglens.data.views import View, to_unit
from auglens.device import deterministic, find_device
from auglens.models import build, load_weights
from auglens.own import loading
from auglens.progress import Progress
from auglens.saliency import explain_each, target_layer
from auglens.stages import layout


def run(cell: str, spec: dict[str, Any]) -> None:
    compat.tune_allocator()
    method = spec["method"]
    if "own" in spec:
        method = loading.load(spec["own"], {method: spec["code"]}).functions[method]
    prepared = artifacts.load_prepared(layout.SPLITS)
    tensors, metadata = artifacts.load_checkpoint(layout.checkpoint(cell))
    settings = ModelConfig(**metadata["model"])
    device = find_device(spec["device"])
    with deterministic(spec["threads"]):
        model = build(settings, len(metadata["classes"]), init_seed=0)
        load_weights(model, tensors)
        model.to(device)
        layer = target_layer(model, spec["layer"], image_size=settings.image_size)
        view = View(settings.image_size, metadata["mean"], metadata["std"])
        rows, size = prepared.test, spec["batch_size"]
        labels = prepared.labels[rows]
        progress = Progress(f"explain {cell}", len(rows), unit="image")

        def batches() -> Iterator[torch.Tensor]:
            for start in range(0, len(rows), size):
                images = prepared.images[rows[start : start + size]]
                yield view(to_unit(torch.from_numpy(images).to(device)))
                progress.advance(len(images))

        targets = [None, labels] if spec["target"] == "predicted" else [labels, None]
        with progress:
            found = explain_each(model, batches(), targets, method=method, layer=layer, batch_size=size)
    for variant, one in zip((spec["variant"], other_variant(spec["variant"])), found, strict=True):
        saved = artifacts.Maps(one.raw, one.logits, one.targets, settings.image_size, spec["map_key"])
        artifacts.save_maps(layout.maps(cell, variant), saved)
    height, width = found[0].raw.shape[1:]
    print(f"explain {cell}: {len(rows)} maps of {height} × {width} at {layer}")
