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
from auglens.data.augmentations import Part, draws_anything
from auglens.data.views import View
from auglens.device import find_device
from auglens.models import build
from auglens.progress import Progress
from auglens.stages import layout, once
from auglens.tasks import TASKS, Task
from auglens.training import State, fit

SAMPLES = 24  # images of the last step that are kept for a look


def load_state(folder: Path, device: torch.device) -> State | None:
    """The state of an unfinished training in `folder`, or None where there is none, it is damaged or another kind
    of device came so far."""
    path = folder / "state.pt"
    if not path.exists():
        return None
    try:
        values = torch.load(path, weights_only=True, map_location="cpu")
        if values["device"] != device.type:
            print(f"train: {path} is of {values['device']}; training starts anew on {device.type}", flush=True)
            return None
        if steps := values["steps"]:
            stepped = torch.load(_stepped(folder, steps), weights_only=True, map_location="cpu")
            made: Any = {name: one if one is None else one.to(device) for name, one in stepped["made"].items()}
            values["made"] = Made(**made)
            values["steps"] = tuple(Step(**step) for step in stepped["steps"])
        return State(**{**values, "history": tuple(values["history"]), "steps": values["steps"] or ()})
    except Exception:  # a damaged state costs a training from the start, never a wrong one
        print(f"train: {path} is damaged; training starts anew", flush=True)
        return None


def save_state(folder: Path, state: State) -> None:
    """What changes with every epoch in one file, and what changes with every step, which is larger, in another."""
    values = {name: getattr(state, name) for name in State.__dataclass_fields__ if name != "made"}
    if state.steps and state.steps[-1].epoch == state.epoch - 1:
        stepped = {"made": _fields(state.made), "steps": [_fields(step) for step in state.steps]}
        with artifacts.atomic(_stepped(folder, len(state.steps))) as temporary:
            torch.save(stepped, temporary)
    with artifacts.atomic(folder / "state.pt") as temporary:
        torch.save({**values, "history": list(state.history), "steps": len(state.steps)}, temporary)
    if len(state.steps) > 1:  # only now: the state before this one needed it
        _stepped(folder, len(state.steps) - 1).unlink(missing_ok=True)


def _stepped(folder: Path, steps: int) -> Path:
    return folder / f"step_{steps}.pt"


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


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
    device: torch.device,
) -> State:
    """The state before a saliency-driven aug's first step. All cells that differ in what they do from then on
    share it: it is trained once, and kept."""
    names = ("data", "model", "task", "classic", "classic_from")
    decides = {name: spec[name] for name in names if name in spec}
    streams, rest = dict(spec["streams"]), spec["parts"][1:]
    if not draws_anything((part["name"], part["params"]) for part in rest):
        del streams["augmentation"]
    shared = once.work("standard", decides, streams, asdict(config), rest, spec["halves"], device.type)
    with once.alone(shared, f"train {cell}"):
        state = load_state(shared, device)
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
            save_state(folder, now)
            tell(now.history[-1])
            progress.line(told(now.history[-1], config.epochs, task))

        with progress:
            state = fit(
                model, train, validation, view, task, config, recipe,
                state=state, test=test, on_epoch=on_epoch, on_images=progress.advance, say=progress.line,
            )  # fmt: skip
            progress.line(f"{state.seconds:.1f} s, best epoch {state.best_epoch}")
        return state

    with live(cell) as feed, compat.without_dynamo():

        def tell(row: dict[str, float]) -> None:
            feed.log(int(row["epoch"]), {name: value for name, value in row.items() if name != "epoch"})

        state = load_state(work, device)
        if state is None and recipe.active is not None:
            first = replace(config, epochs=first_step(recipe.active.params["steps"]))
            state = standard(cell, spec, train_to, first, device)
        elif state is not None:
            for row in state.history:
                tell(row)
        state = train_to(work, config, state)
    # What took how long stays out of every output: those are equal on every run.
    artifacts.save_json(layout.seconds(spec["train_key"]), {"seconds": state.seconds})
    metadata = {
        "task": task.name,
        "model": asdict(model_config),
        "classes": classes,
        "mean": prepared.manifest["mean"],
        "std": prepared.manifest["std"],
        "best_epoch": state.best_epoch,
    }  # and no cell: equal weights are equal files
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
