"""The training behind `auglens train`: a spec + prepared data → a checkpoint, going on where it was stopped.

Apart from the stage, so that a cell whose training is there already needs no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auglens import artifacts, compat, tracking
from auglens.active.specs import first_step
from auglens.active.step import Made, Step
from auglens.batches import LabelledImages, Recipe
from auglens.config import ModelConfig, TrainConfig
from auglens.data.augmentations import Part
from auglens.data.views import View
from auglens.device import find_device
from auglens.models import build
from auglens.progress import Progress
from auglens.stages import layout, once
from auglens.tasks import TASKS, Task
from auglens.training import State, fit

SAMPLES = 24  # images of the last step that are kept for a look


def load_state(path: Path) -> State | None:
    """The state of an unfinished training, or None where there is none or it is damaged."""
    try:
        values = torch.load(path, weights_only=True)
        made = None if values["made"] is None else Made(**values["made"])
        steps = tuple(Step(**step) for step in values["steps"])
        return State(**{**values, "history": tuple(values["history"]), "made": made, "steps": steps})
    except FileNotFoundError:
        return None
    except Exception:  # a damaged state costs a training from the start, never a wrong one
        print(f"train: {path} is damaged; training starts anew", flush=True)
        return None


def save_state(path: Path, state: State) -> None:
    values = {name: getattr(state, name) for name in State.__dataclass_fields__}
    made = None if state.made is None else {name: getattr(state.made, name) for name in Made.__dataclass_fields__}
    steps = [{name: getattr(step, name) for name in Step.__dataclass_fields__} for step in state.steps]
    with artifacts.atomic(path) as temporary:
        torch.save({**values, "history": list(state.history), "made": made, "steps": steps}, temporary)


def labelled(prepared: artifacts.Prepared, rows: artifacts.Array, device: torch.device) -> LabelledImages:
    images = torch.from_numpy(np.ascontiguousarray(prepared.images[rows]))
    masks = None if prepared.masks is None else torch.from_numpy(np.ascontiguousarray(prepared.masks[rows]))
    return LabelledImages(images, torch.from_numpy(prepared.labels[rows]), masks).to(device)


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


def told(row: dict[str, float], epochs: int, task: Task) -> str:
    score = "dice" if task.segments else "accuracy"
    return (
        f"epoch {row['epoch']}/{epochs}: loss {row['train_loss']:.3f}, validation {score}"
        f" {row[f'validation_{score}']:.3f}"
    )


def standard(
    cell: str,
    spec: dict[str, Any],
    train_to: Callable[[Path, TrainConfig, State | None], State],
    config: TrainConfig,
) -> State:
    """The state before a saliency-driven aug's first step. All cells that differ in what they do from then on
    share it: it is trained once, and kept."""
    decides = {
        name: spec[name]
        for name in ("data", "model", "streams", "task", "classic", "classic_from")
        if name in spec
    }
    shared = once.work("standard", decides, asdict(config), spec["parts"][1:], spec["halves"])
    with once.alone(shared, f"train {cell}"):
        state = load_state(shared / "state.pt")
        if state is not None and state.epoch == config.epochs:
            print(
                f"train {cell}: its first {state.epoch} epochs are those of another cell: taken over", flush=True
            )
            return state
        return train_to(shared, config, state)


def save_steps(path: Path, state: State, shape: tuple[int, int]) -> None:
    """What a saliency-driven aug did, step by step, and the images that stood in the second half at the end."""
    arrays: dict[str, Any] = {"epochs": np.array([step.epoch for step in state.steps], np.int64)}
    arrays["shape"] = np.array(shape, np.int64)
    for name in ("wrong", "considered", "flat"):
        arrays[name] = np.array([getattr(step, name) for step in state.steps], np.int64)
    for place, step in enumerate(state.steps):
        arrays |= {f"rows_{place}": step.rows.numpy(), f"where_{place}": step.where.numpy()}
    made = state.made
    some = slice(0, SAMPLES)
    if made is not None:
        arrays |= {"made_rows": made.rows[some].cpu().numpy(), "made": made.images[some].cpu().numpy()}
    artifacts.save_arrays(path, **arrays)


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
        classic=tuple(Part(part["name"], part["params"]) for part in spec.get("classic", ())),
        classic_from=spec.get("classic_from", 0),
        layer=spec.get("layer", "features"),
    )
    task = TASKS[spec["task"]]
    train = labelled(prepared, prepared.train, device)
    validation = labelled(prepared, prepared.validation, device)
    test = labelled(prepared, prepared.test, device) if config.watch_test else None
    view = View(model_config.image_size, prepared.manifest["mean"], prepared.manifest["std"])
    per_epoch = recipe.halves * len(train.labels)

    def train_to(folder: Path, config: TrainConfig, state: State | None) -> State:
        """Up to `config.epochs` from `state`, kept in `folder`."""
        done = state.epoch * per_epoch if state else 0
        progress = Progress(f"train {cell}", config.epochs * per_epoch, done, unit="image")

        def on_epoch(now: State) -> None:
            save_state(folder / "state.pt", now)
            feed.log(now.epoch, {name: value for name, value in now.history[-1].items() if name != "epoch"})
            progress.line(told(now.history[-1], config.epochs, task))

        with progress, live(cell) as feed, compat.without_dynamo():
            state = fit(
                model, train, validation, view, task, config, recipe,
                state=state, test=test, on_epoch=on_epoch, on_images=progress.advance, say=progress.line,
            )  # fmt: skip
            progress.line(f"{state.seconds:.1f} s, best epoch {state.best_epoch}")
        return state

    state = load_state(work / "state.pt")
    if state is None and recipe.active is not None:
        state = standard(cell, spec, train_to, replace(config, epochs=first_step(recipe.active.params["steps"])))
    state = train_to(work, config, state)
    # What took how long stays out of every output: those are equal on every run.
    artifacts.save_json(layout.seconds(spec["train_key"]), {"seconds": state.seconds})
    metadata = {
        "train_key": spec["train_key"],
        "task": task.name,
        "model": asdict(model_config),
        "classes": classes,
        "mean": prepared.manifest["mean"],
        "std": prepared.manifest["std"],
        "best_epoch": state.best_epoch,
    }
    artifacts.save_checkpoint(finished, state.best, metadata)
    save_steps(finished.with_suffix(".npz"), state, (train.images.shape[2], train.images.shape[3]))
    return {
        "task": task.name,
        "train_key": spec["train_key"],
        "best_epoch": state.best_epoch,
        "checkpoint_sha256": artifacts.sha256(finished),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": config.epochs * -(-per_epoch // config.batch_size),
        "epochs": list(state.history),
        "made": [len(step.rows) for step in state.steps],
    }
