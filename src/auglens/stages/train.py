"""train@cell: its spec + prepared data → a checkpoint and its training report; goes on where it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import auglens
from auglens import artifacts, compat, tracking
from auglens.config import ModelConfig, TrainConfig
from auglens.data.augmentations import Part
from auglens.data.views import View
from auglens.device import find_device
from auglens.models import build
from auglens.own import loading
from auglens.progress import Progress
from auglens.stages import layout
from auglens.tasks import CLASSIFICATION
from auglens.training import LabelledImages, Recipe, State, fit


def fingerprint(spec: dict[str, Any]) -> str:
    """What a saved state must agree with to be gone on from: the train key, the code and the libraries."""
    root = Path(auglens.__file__).parent
    sources = sorted(path for path in root.rglob("*.py") if "stages" not in path.parts and path.name != "cli.py")
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return artifacts.hash_values([spec["train_key"], code, torch.__version__])


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


def save(cell: str, spec: dict[str, Any], checkpoint: Path, report: dict[str, Any]) -> None:
    """Move a finished training to the stage's outputs; the report names the cell, the checkpoint does not."""
    with artifacts.atomic(layout.checkpoint(cell)) as temporary:
        shutil.copyfile(checkpoint, temporary)
    head = {name: spec[name] for name in ("cell", "aug", "seed")}
    artifacts.save_json(layout.training_report(cell), head | report)


def shared(spec: dict[str, Any]) -> bool:
    """Whether another cell of the plan has the same train key (its seed decides nothing)."""
    cells = artifacts.load_json(layout.INDEX, ("cells",))["cells"]
    return sum(other["train_key"] == spec["train_key"] for other in cells) > 1


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


def run(cell: str) -> None:
    compat.tune_allocator()
    spec = artifacts.load_json(layout.train_spec(cell), ("train_key", "model", "train", "parts", "streams"))
    if "own" in spec:
        loading.load(spec["own"], {part["name"]: part["code"] for part in spec["parts"] if "code" in part})
    work = layout.work(fingerprint(spec))
    finished, finished_report = work / "finished.safetensors", work / "finished.json"
    if finished_report.exists():
        print(f"train {cell}: the same training as another cell's (its seed decides nothing): taken over")
        save(cell, spec, finished, artifacts.load_json(finished_report))
        return

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
        started = time.perf_counter()
        state = fit(
            model, train, validation, view, CLASSIFICATION, config, recipe,
            state=state, on_epoch=on_epoch, on_images=progress.advance,
        )  # fmt: skip
        progress.line(f"{time.perf_counter() - started:.1f} s, best epoch {state.best_epoch}")
    metadata = {
        "train_key": spec["train_key"],
        "model": asdict(model_config),
        "classes": classes,
        "mean": prepared.manifest["mean"],
        "std": prepared.manifest["std"],
        "best_epoch": state.best_epoch,
    }
    artifacts.save_checkpoint(finished, state.best, metadata)
    report = {
        "task": CLASSIFICATION.name,
        "train_key": spec["train_key"],
        "best_epoch": state.best_epoch,
        "checkpoint_sha256": artifacts.sha256(finished),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": config.epochs * -(-per_epoch // config.batch_size),
        "epochs": list(state.history),
    }
    save(cell, spec, finished, report)
    if shared(spec):
        artifacts.save_json(finished_report, report)
        (work / "state.pt").unlink(missing_ok=True)
    else:
        shutil.rmtree(work)
