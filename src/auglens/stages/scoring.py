"""The scoring behind `auglens score`: a checkpoint, its maps and test images → scores per image and method.

Apart from the stage, so that a cell whose scores are there already needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from auglens import artifacts, compat, metrics
from auglens.config import ModelConfig, RobustnessConfig, ScoreConfig
from auglens.data.views import View, to_unit
from auglens.device import deterministic, find_device
from auglens.models import build, load_weights
from auglens.own import loading
from auglens.progress import Progress
from auglens.saliency import Explanation, explain, finish, sanity_maps, target_layer
from auglens.saliency.foreground import (
    PREFIX,
    Foreground,
    explain_foreground,
    foreground_layer,
    predicted_regions,
)
from auglens.stages import layout
from auglens.stages.selecting import chosen
from auglens.tasks import TASKS

CHUNK = 128  # images finished and scored at once
PREDICTED_AT_ONCE, SEGMENTED_AT_ONCE = 256, 16
OTHER_WEIGHTS = 1_000_003  # added to the seed: no cell's own initial weights


class Network:
    """A cell's model as scores need it. size: pixels, side of what the network sees."""

    def __init__(self, cell: str, spec: Mapping[str, Any]) -> None:
        tensors, metadata = artifacts.load_checkpoint(layout.checkpoint(cell))
        self.settings, self.task = ModelConfig(**metadata["model"]), TASKS[metadata["task"]]
        self.device = find_device(spec["device"])
        self.classes = len(metadata["classes"])
        self.model = build(self.settings, self.classes, init_seed=0)
        load_weights(self.model, tensors)
        self.model.to(self.device).eval()
        self.size = self.settings.image_size
        find = foreground_layer if self.task.segments else target_layer
        self.layer = find(self.model, spec["layer"], image_size=self.size)
        self.mean, self.std = metadata["mean"], metadata["std"]
        self.view = View(self.size, self.mean, self.std)
        self.unscaled = View(self.size, [0.0] * 3, [1.0] * 3)

    def pixels(self, images: artifacts.Array) -> artifacts.Array:
        """uint8 [B,3,h,w] → float32 [B,3,size,size] in [0, 1]: what the network sees, before normalisation."""
        resized = self.unscaled(to_unit(torch.from_numpy(images).to(self.device)))
        return resized.clamp(0, 1).cpu().contiguous().numpy()

    def normalised(self, pixels: artifacts.Array) -> torch.Tensor:
        return self.view(torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).to(self.device))

    @torch.inference_mode()
    def outputs(self, images: artifacts.Array) -> torch.Tensor:
        """uint8 [B,3,h,w] at the data's own resolution → what the network gives."""
        found: torch.Tensor = self.model(self.view(to_unit(torch.from_numpy(images).to(self.device))))
        return found

    @torch.inference_mode()
    def predict(self, pixels: artifacts.Array) -> artifacts.Array:
        """Pixels float32 [B,3,size,size] → probabilities float64 [B,C]."""
        parts = [
            self.model(self.normalised(pixels[at : at + PREDICTED_AT_ONCE])).double().softmax(1).cpu()
            for at in range(0, len(pixels), PREDICTED_AT_ONCE)
        ]
        return torch.cat(parts).numpy()


def raw_maps(
    network: Network,
    spec: Mapping[str, Any],
    maps: artifacts.Maps,
    pixels: artifacts.Array,
    rows: artifacts.Array,
    methods: Sequence[str],
    masks: artifacts.Array | None,
) -> dict[str, artifacts.Array]:
    """Method → raw maps float32 [N,h,w] of `rows`; the study's own are those of `explain`."""
    found = {spec["method"]: maps.raw[rows]}
    for method in methods:
        if method not in found and network.task.segments:
            found[method] = _segmented(network, spec, pixels, method, masks).raw
        elif method not in found:
            explanation = explain(
                network.model,
                network.normalised(pixels),
                method=method,
                targets=maps.targets[rows],
                layer=network.layer,
                batch_size=spec["batch_size"],
            )
            found[method] = explanation.raw
    return found


def _segmented(
    network: Network, spec: Mapping[str, Any], pixels: artifacts.Array, method: str, masks: artifacts.Array | None
) -> Explanation:
    size = spec["batch_size"]
    true = masks if spec["target"] == "true" else None
    batches = (
        (
            network.normalised(pixels[at : at + size]),
            None if true is None else torch.from_numpy(true[at : at + size]),
        )
        for at in range(0, len(pixels), size)
    )
    return explain_foreground(network.model, batches, method=method, layer=network.layer, batch_size=size)


def score(
    network: Network,
    pixels: artifacts.Array,
    masks: artifacts.Array | None,
    finished: artifacts.Array,
    settings: ScoreConfig,
) -> dict[str, artifacts.Array]:
    """Every score of finished maps float [N,size,size], image by image."""
    values: dict[str, artifacts.Array] = {"constant": metrics.is_constant(finished)}
    if masks is not None:
        values |= metrics.localization(finished, masks)
    if settings.faithfulness and not network.task.segments:  # of a region there is no one answer to be faithful to
        values |= metrics.faithfulness(
            network.predict, pixels, finished, fill=network.mean, seed=settings.seed,
            scores=settings.faithfulness, steps=settings.steps,
        )  # fmt: skip
    return values


def run(cell: str, spec: dict[str, Any], settings: ScoreConfig) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(scores as columns, a row per method and image; the sanity check's rows). Chunk by chunk of images."""
    compat.tune_allocator()
    prepared = artifacts.load_prepared(layout.SPLITS)
    own: Any = spec["method"]
    if "own" in spec:
        own = loading.load(spec["own"], {own: spec["code"]}).functions[own]
    maps = artifacts.load_maps(layout.maps(cell, spec["variant"]))
    test = prepared.test
    if len(maps.raw) != len(test):
        raise ValueError(f"score {cell}: {len(maps.raw)} maps for {len(test)} test images; run `dvc repro`")
    parts: dict[str, list[dict[str, Any]]] = {}
    with deterministic(spec["threads"]):
        network = Network(cell, spec)

        def masks_of(places: artifacts.Array) -> artifacts.Array | None:
            if prepared.masks is None:
                return None
            some = np.ascontiguousarray(prepared.masks[test[places]])
            return network.view.masks(torch.from_numpy(some)).numpy()

        every = masks_of(np.arange(len(test))) if settings.least_mask > 0 else None
        rows = chosen(len(test), every, images=settings.images, least_mask=settings.least_mask)
        methods = len({spec["method"], *settings.methods}) + len(metrics.FLOORS)
        with Progress(f"score {cell}", len(rows) * methods, unit="map") as progress:
            for at in range(0, len(rows), CHUNK):
                some = rows[at : at + CHUNK]
                pixels, masks = network.pixels(np.ascontiguousarray(prepared.images[test[some]])), masks_of(some)
                raw = raw_maps(network, spec, maps, pixels, some, settings.methods, masks)
                found = {method: finish(one, network.size) for method, one in raw.items()}
                found |= metrics.floor_maps(len(some), (network.size,) * 2, seed=settings.seed, start=at)
                for method, finished in found.items():
                    values = {"image": some} | score(network, pixels, masks, finished, settings)
                    share = {} if masks is None else {"mask_share": masks.mean((1, 2))}
                    parts.setdefault(method, []).append(share | values)
                    progress.advance(len(some))
        spread = chosen(len(rows), None, images=min(settings.sanity_images, len(rows)) or 1, least_mask=0)
        looked = rows[spread] if settings.sanity_images else rows[:0]
        images = network.pixels(np.ascontiguousarray(prepared.images[test[looked]])) if len(looked) else looked
        true = masks_of(looked) if network.task.segments and spec["target"] == "true" and len(looked) else None
        sanity = check(network, images, maps.targets[looked], own, spec, settings, true)
    lines = [{"method": np.full(len(part["image"]), name)} | part for name, some in parts.items() for part in some]
    table = {name: np.concatenate([line[name] for line in lines]) for name in lines[0]}
    image = table["image"]
    told = {"label": prepared.labels[test], "predicted": maps.logits.argmax(1), "target": maps.targets}
    head = {"method": table["method"], "image": image.astype(np.int32)}
    head |= {name: column[image].astype(np.int16) for name, column in told.items()}
    return head | {name: column for name, column in table.items() if name not in head}, sanity


def erase(cell: str, spec: dict[str, Any], settings: RobustnessConfig) -> dict[str, Any]:
    """The robustness set as columns: of every chosen image of the parts, whole and with each cell erased."""
    if settings.size is None:
        return {}
    prepared = artifacts.load_prepared(layout.SPLITS)
    with deterministic(spec["threads"]):
        return _erased(cell, Network(cell, spec), prepared, settings, settings.size)


def _erased(
    cell: str, network: Network, prepared: artifacts.Prepared, settings: RobustnessConfig, size: int
) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for part in settings.parts:
        rows = getattr(prepared, part)
        places = chosen(len(rows), None, images=settings.images, least_mask=0)
        rows = rows[places]
        side = prepared.images.shape[-1]
        copies = 1 + len(metrics.grid(side, side, size))

        def evaluate(images: artifacts.Array, some: artifacts.Array, rows: artifacts.Array = rows) -> Any:
            outputs = network.outputs(images)
            if not network.task.segments:
                predicted = outputs.argmax(1).cpu().numpy()
                return {
                    "predicted": predicted.astype(np.int16),
                    "correct": predicted == prepared.labels[rows[some]],
                }
            masks = np.ascontiguousarray(prepared.masks[rows[some]])  # type: ignore[index]
            truth = network.view.masks(torch.from_numpy(masks)).numpy()
            return metrics.segmentation(network.task.predict(outputs).cpu().numpy(), truth)

        with Progress(f"robustness {cell}, {part}", len(rows) * copies, unit="image") as progress:
            at_once = SEGMENTED_AT_ONCE if network.task.segments else PREDICTED_AT_ONCE
            columns = metrics.over_grid(
                evaluate,
                prepared.images[rows],
                size,
                batch_size=at_once,
                on_images=progress.advance,
            )
        columns["image"] = places[columns["image"]].astype(np.int32)
        found.append({"part": np.full(len(columns["image"]), part), **columns})
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def check(
    network: Network,
    pixels: artifacts.Array,
    targets: artifacts.Array,
    method: Any,
    spec: Mapping[str, Any],
    settings: ScoreConfig,
    masks: artifacts.Array | None = None,
) -> list[dict[str, Any]]:
    """The sanity check of the study's method: how much its maps keep as layer after layer is randomised.

    masks: what is explained of a segmentation, at every level; None = what the original predicts.
    """
    if not len(pixels):
        return []
    fresh = build(network.settings, network.classes, init_seed=settings.seed + OTHER_WEIGHTS).to(network.device)
    images, at_once = network.normalised(pixels), spec["batch_size"]
    model, layer, classes = network.model, network.layer, targets
    if network.task.segments:
        region = predicted_regions(model, images) if masks is None else torch.from_numpy(masks).to(network.device)
        model, fresh, layer, classes = Foreground(model), Foreground(fresh), PREFIX + layer, np.zeros_like(targets)
        model.regions, at_once = region, len(images)  # the same at every level, and so all images at once
    levels = sanity_maps(
        model, fresh, images, methods={spec["method"]: method}, size=network.size, layer=layer, targets=classes,
        batch_size=at_once,
    )  # fmt: skip
    return [dict(row) for row in metrics.sanity_check(levels)]
