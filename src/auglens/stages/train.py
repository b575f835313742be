"""train@cell: its spec + prepared data → a checkpoint and its training report, trained just once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from auglens import artifacts
from auglens.own import loading
from auglens.stages import layout, once


def save(cell: str, spec: dict[str, Any], checkpoint: Path, report: dict[str, Any]) -> None:
    """Move a finished training to the stage's outputs; the report names the cell, the checkpoint does not."""
    with artifacts.atomic(layout.checkpoint(cell)) as temporary:
        shutil.copyfile(checkpoint, temporary)
    with artifacts.atomic(layout.steps(cell)) as temporary:
        shutil.copyfile(checkpoint.with_suffix(".npz"), temporary)
    head = {name: spec[name] for name in ("cell", "aug", "seed")}
    artifacts.save_json(layout.training_report(cell), head | report)


def run(cell: str) -> None:
    spec = artifacts.load_json(layout.train_spec(cell), ("train_key", "model", "train", "parts", "streams"))
    if "own" in spec:
        loading.load(spec["own"], {part["name"]: part["code"] for part in spec["parts"] if "code" in part})
    work = once.work(spec["train_key"], spec["train"].get("watch_test", False))
    finished, finished_report = work / "finished.safetensors", work / "finished.json"
    with once.alone(work, f"train {cell}"):
        if finished_report.exists():
            print(f"train {cell}: the same training as another cell's (its seed decides nothing): taken over")
            save(cell, spec, finished, artifacts.load_json(finished_report))
            return
        from auglens.stages import fitting  # torch and timm: not for a training that is taken over

        report = fitting.run(cell, spec, work, finished)
        save(cell, spec, finished, report)
        if once.shared("train_key", spec["train_key"]):
            artifacts.save_json(finished_report, report)
            (work / "state.pt").unlink(missing_ok=True)
        else:
            shutil.rmtree(work)
