"""A cell's training from its spec: what the report and the checkpoint hold, and where the seconds go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auglens import artifacts
from auglens.stages import fitting, layout

MODEL = {"name": "test_resnet", "image_size": 32, "output_stride": 8, "dropout": 0.0, "drop_path": 0.0}
TRAIN = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.001,
    "weight_decay": 0.0,
    "select": "validation_loss",
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = rng.integers(0, 256, (24, 3, 16, 16), dtype=np.uint8)
    manifest = {"classes": ["a", "b"], "mean": [0.5] * 3, "std": [0.25] * 3, "content": "c", "size": 16}
    prepared = artifacts.Prepared(
        images, labels, None, np.arange(12), np.arange(12, 18), np.arange(18, 24), manifest
    )  # fmt: skip
    artifacts.save_prepared(layout.SPLITS, prepared)
    cell = {
        "cell": "reference", "aug": "reference", "seed": 0, "cell_key": "c", "train_key": "t", "map_key": "m"
    }  # fmt: skip
    index = {"cells": [cell], "live": None, "study_key": "s", "reference_train_key": "t"}
    artifacts.save_json(layout.INDEX, index)
    return tmp_path


def run(project: Path, name: str, **settings: Any) -> tuple[dict[str, Any], Path]:
    """In a work folder of its own: from the start."""
    spec = {
        "train_key": "t",
        "model": MODEL | {"precode_size": 4},
        "train": TRAIN | settings,
        "streams": {"augmentation": None, "dropout": 0, "init": 0, "order": 0},
        "parts": [],
        "halves": 1,
        "task": "classification",
    }
    (project / name).mkdir()
    finished = project / name / "finished.safetensors"
    return fitting.run("reference", spec, project / name, finished), finished


def test_the_seconds_stand_beside_the_outputs_and_not_in_them(project: Path) -> None:
    report, checkpoint = run(project, "one")
    seconds = json.loads((project / ".auglens/seconds/t.json").read_text())
    assert seconds.keys() == {"seconds"}
    assert seconds["seconds"] > 0
    again, other = run(project, "two")
    assert again == report
    assert other.read_bytes() == checkpoint.read_bytes()
    assert "seconds" not in json.dumps(report)
    tensors, metadata = artifacts.load_checkpoint(checkpoint)
    assert "seconds" not in metadata
    assert metadata["model"]["precode_size"] == 4
    assert "fc.encoder.weight" in tensors


def test_the_test_images_are_watched_where_that_is_asked_for(project: Path) -> None:
    names = {"test_accuracy", "test_precision", "test_recall", "test_f1"}
    plain, one = run(project, "plain")
    watched, two = run(project, "watched", watch_test=True)
    assert one.read_bytes() == two.read_bytes()
    for row, other in zip(watched["epochs"], plain["epochs"], strict=True):
        assert row.keys() - other.keys() == names
        assert row.items() >= other.items()
        assert row["test_accuracy"] * 6 == pytest.approx(round(row["test_accuracy"] * 6))
