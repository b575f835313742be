"""explain@cell: a checkpoint + test images → raw maps, logits and targets, for both targets.

The other target (the label, where the study explains the predicted class) is explained where it is another class.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from auglens import artifacts, compat
from auglens.config import ModelConfig, other_variant
from auglens.data.views import View, to_unit
from auglens.device import deterministic, find_device
from auglens.models import build, load_weights
from auglens.own import loading
from auglens.progress import Progress
from auglens.saliency import Explanation, check_map_size, explain, target_layer
from auglens.stages import layout


def run(cell: str) -> None:
    compat.tune_allocator()
    spec = artifacts.load_json(
        layout.maps_spec(cell), ("train_key", "map_key", "variant", "method", "target", "layer")
    )
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
        check_map_size(model, layer, settings.image_size)
        view = View(settings.image_size, metadata["mean"], metadata["std"])
        rows, size = prepared.test, spec["batch_size"]
        progress = Progress(f"explain {cell}", len(rows), unit="image")

        def batches(rows: artifacts.Array) -> Iterator[torch.Tensor]:
            for start in range(0, len(rows), size):
                images = np.ascontiguousarray(prepared.images[rows[start : start + size]])
                yield view(to_unit(torch.from_numpy(images).to(device)))
                progress.advance(len(images))

        def explained(rows: artifacts.Array, targets: artifacts.Array | None) -> Explanation:
            return explain(model, batches(rows), method=method, targets=targets, layer=layer, batch_size=size)

        labels = prepared.labels[rows]
        with progress:
            found = explained(rows, labels if spec["target"] == "true" else None)
            targets = labels if spec["target"] == "predicted" else found.logits.argmax(1)
            raw = found.raw.copy()
            differ = np.flatnonzero(targets != found.targets)
            if len(differ):
                progress.extend(len(differ))
                raw[differ] = explained(rows[differ], targets[differ]).raw
    for variant, maps, classes in (
        (spec["variant"], found.raw, found.targets),
        (other_variant(spec["variant"]), raw, targets),
    ):
        saved = artifacts.Maps(maps, found.logits, classes, settings.image_size, spec["map_key"])
        artifacts.save_maps(layout.maps(cell, variant), saved)
    height, width = found.raw.shape[1:]
    print(f"explain {cell}: {len(rows)} maps of {height} × {width} at {layer}")
