"""The training behind `auglens train`: a spec + prepared data → a checkpoint, going on where it was stopped.

Apart from the stage, so that a cell whose training is there already needs no torch.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auglens import artifacts, compat, tracking
from auglens.config import ModelConfig, TrainConfig
from auglens.data.augmentations import Part
from auglens.data.views import View
from auglens.device import find_device
from auglens.models import build
from auglens.progress import Progress
from auglens.stages import layout
from auglens.tasks import CLASSIFICATION
from auglens.training import LabelledImages, Recipe, State, fit


def load_state(path: Path) -> State | None:
    """The state of an unfinished training, or None where there is none or it is damaged."""
    try:
        values = torch.load(path, weights_only=True)
        return State(**{**values, "history": tuple(values["history"])})
    except FileNotFoundError:
        return None
    except Exception:  # a damaged state costs a training from the start, never a wrong one
        print(f"train: {path} is damaged; training starts anew", flush=True)
        return None


def save_state(path: Path, state: State) -> None:
    values = {name: getattr(state, name) for name in State.__dataclass_fields__}
    with artifacts.atomic(path) as temporary:
        torch.save({**values, "history": list(state.history)}, temporary)


def labelled(prepared: artifacts.Prepared, rows: artifacts.Array, device: torch.device) -> LabelledImages:
    images = torch.from_numpy(np.ascontiguousarray(prepared.images[rows]))
    return LabelledImages(images, torch.from_numpy(prepared.labels[rows])).to(device)


def live(cell: str) -> contextlib.AbstractContextManager[tracking.LiveFeed]:
    """Where `tracking.live` is on, a feed of the epochs to the cell's run; else one that does nothing."""
    index = artifacts.load_json(layout.INDEX, ("cells", "live"))
    entry = next(entry for entry in index["cells"] if entry["cell"] == cell)
    keys = {name: entry[name] for name in ("cell_key", "train_key", "map_key")} | {"study_key": index["study_key"]}
    identity = tracking.CellIdentity(
        cell=cell, aug=entry["aug"], seed=entry["seed"], keys=keys,
        reference_train_key=index["reference_train_key"],
    )  # fmt: skip
    if not index["live"]:
        return tracking.NullTracker().live(identity)
    return tracking.Tracker.connect_or_null(index["live"]["uri"], index["live"]["experiment"], layout.root()).live(
        identity
    )


def run(cell: str, spec: dict[str, Any], work: Path, finished: Path) -> dict[str, Any]:
    """Train the cell, its state kept in `work`; the checkpoint goes to `finished`. Returns its report."""
    compat.tune_allocator()
    prepared = artifacts.load_prepared(layout.SPLITS)
    model_config, config = ModelConfig(**spec["model"]), TrainConfig(**spec["train"])
    streams = spec["streams"]
    device = find_device(config.device)
    classes = prepared.manifest["classes"]
    model = build(model_config, len(classes), init_seed=streams["init"])
    recipe = Recipe(
        parts=tuple(Part(part["name"], part["params"]) for part in spec["parts"]),
        halves=spec["halves"],
        augmentation_seed=streams["augmentation"],
        dropout_seed=streams["dropout"],
        order_seed=streams["order"],
    )
    train = labelled(prepared, prepared.train, device)
    validation = labelled(prepared, prepared.validation, device)
    test = labelled(prepared, prepared.test, device) if config.watch_test else None
    view = View(model_config.image_size, prepared.manifest["mean"], prepared.manifest["std"])
    state = load_state(work / "state.pt")
    per_epoch = recipe.halves * len(train.labels)
    done = state.epoch * per_epoch if state else 0
    progress = Progress(f"train {cell}", config.epochs * per_epoch, done, unit="image")

    def on_epoch(now: State) -> None:
        row = now.history[-1]
        save_state(work / "state.pt", now)
        feed.log(now.epoch, {name: value for name, value in row.items() if name != "epoch"})
        progress.line(
            f"epoch {now.epoch}/{config.epochs}: loss {row['train_loss']:.3f},"
            f" validation accuracy {row['validation_accuracy']:.3f}"
        )

    with progress, live(cell) as feed, compat.without_dynamo():
        state = fit(
            model, train, validation, view, CLASSIFICATION, config, recipe,
            state=state, test=test, on_epoch=on_epoch, on_images=progress.advance,
        )  # fmt: skip
        progress.line(f"{state.seconds:.1f} s, best epoch {state.best_epoch}")
    # What took how long stays out of every output: those are equal on every run.
    artifacts.save_json(layout.seconds(spec["train_key"]), {"seconds": state.seconds})
    metadata = {
        "train_key": spec["train_key"],
        "model": asdict(model_config),
        "classes": classes,
        "mean": prepared.manifest["mean"],
        "std": prepared.manifest["std"],
        "best_epoch": state.best_epoch,
    }
    artifacts.save_checkpoint(finished, state.best, metadata)
    return {
        "task": CLASSIFICATION.name,
        "train_key": spec["train_key"],
        "best_epoch": state.best_epoch,
        "checkpoint_sha256": artifacts.sha256(finished),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": config.epochs * -(-per_epoch // config.batch_size),
        "epochs": list(state.history),
    }
