"""A store per test: MLflow's migrations run once, then the file is copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from auglens.tracking import CellRecord, Tracker, content_digest

STUDY = "5" * 64
REFERENCE = "4" * 64


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("migrated")
    Tracker.connect(f"sqlite:///{root}/mlflow.db", "template", root)
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, migrated: Path) -> Path:
    """A project folder with a migrated store that knows no cell."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.fixture
def tracker(root: Path) -> Iterator[Tracker]:
    with Tracker.connect(None, "auglens", root) as connected:
        yield connected


@pytest.fixture
def make_record(tmp_path: Path) -> Callable[..., CellRecord]:
    """Records of small cells, their files under `tmp_path`, their content hashed from all they hold."""

    def make(cell: str = "equalize-1", study: str = STUDY, **changes: Any) -> CellRecord:
        aug, _, seed = cell.rpartition("-")
        files = changes.pop("files", {"maps/raw.npz": b"raw" + cell.encode(), "card.json": b"{}"})
        artifacts = {}
        for name, data in files.items():
            local = tmp_path / "files" / cell / f"local-{name.replace('/', '-')}"
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(data)
            artifacts[name] = local
        values: dict[str, Mapping[str, Any]] = {
            "params": {"epochs": 3, "model.name": "test_resnet"},
            "metrics": {"test_accuracy": 0.1 + 0.2, "pearson": 1 / 3},
            "curves": {"train_loss": [2.25, 1.125, 0.1], "validation_accuracy": [0.1, 0.2, 0.3]},
            "tags": {"variant": "gradcam-predicted"},
            **changes,
            "artifacts": artifacts,
        }
        keys = {"train_key": f"t-{cell}", "map_key": f"m-{cell}", "study_key": study, "cell_key": f"c-{cell}"}
        return CellRecord(
            cell=cell,
            aug=aug or cell,
            seed=int(seed) if aug else 0,
            keys=keys,
            reference_train_key=REFERENCE,
            content=content_digest(**values),
            **values,
        )

    return make
