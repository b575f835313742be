"""What goes into the record of a cell and what comes back of it: plain values, no MLflow."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

PREFIX = "auglens."
KEYS = ("train_key", "map_key", "study_key", "cell_key")
UNDEFINED = "undefined_metrics"  # how many values of a cell were NaN or infinite, and so were left out

Outcome = Literal["created", "unchanged", "replaced", "completed", "off"]


class StoreUnavailable(ValueError):
    """The MLflow store does not answer or cannot be used: one line, the store, what failed, the fix."""


@dataclass(frozen=True, kw_only=True)
class CellIdentity:
    """Which cell a run is. Two runs of one `cell_key` are the same run."""

    cell: str
    aug: str
    seed: int
    keys: Mapping[str, str]  # train_key, map_key, study_key, cell_key
    reference_train_key: str

    def __post_init__(self) -> None:
        for name in KEYS:
            key = self.keys.get(name, "")
            if not re.fullmatch(r"[\w.+-]{1,200}", key):
                raise ValueError(
                    f"cell {self.cell}: expected keys[{name!r}] of letters and digits, got {key!r}; "
                    "take it from the plan's index"
                )


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """What a model was trained and tested on. It names no path: the same data anywhere are the same record."""

    name: str  # the data's name in the parameters
    content: str  # hexadecimal hash of images, labels and splits
    source: str  # hexadecimal hash of what they were read from
    shape: tuple[int, ...]  # of one image: channels, height, width
    dtype: str  # of the images, as numpy names it
    classes: int
    counts: Mapping[str, int]  # split -> images: train, validation, test

    def __post_init__(self) -> None:
        for name in ("content", "source"):
            if not re.fullmatch(r"[0-9a-f]{16,128}", getattr(self, name)):
                raise ValueError(
                    f"dataset {self.name}: expected {name} to be a hexadecimal hash, got {getattr(self, name)!r}; "
                    "take it from data/splits/manifest.json"
                )
        if "test" not in self.counts or len(self.counts) < 2:
            raise ValueError(
                f"dataset {self.name}: expected counts of 'train' and 'test', got {sorted(self.counts)}; "
                "take them from data/splits/manifest.json"
            )

    def parts(self) -> dict[str, dict[str, int]]:
        """MLflow's context -> the counts of its splits: the validation images choose the epoch of a training."""
        training = {split: count for split, count in self.counts.items() if split != "test"}
        return {"training": training, "testing": {"test": self.counts["test"]}}


@dataclass(frozen=True, kw_only=True)
class CellRecord(CellIdentity):
    """Everything published of one cell. A curve's item i is logged at step i + 1, its epoch."""

    content: str  # sha256 over all that follows: see `content_digest`
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)  # path in the run -> local file
    dataset: DatasetRecord | None = None  # logged as the run's inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        twice = sorted({*self.metrics} & {*self.curves} | {UNDEFINED} & {*self.metrics, *self.curves})
        if twice:
            raise ValueError(f"cell {self.cell}: expected each metric once, got {twice[0]!r} again; rename it")
        for name in (*self.params, *self.metrics, *self.curves, *self.tags):
            if not re.fullmatch(r"\w[\w.\- ]{0,200}", name):
                raise ValueError(
                    f"cell {self.cell}: expected a name of letters, digits, '_', '-', '.' and spaces, "
                    f"got {name!r}; rename it"
                )
        for artifact, local in self.artifacts.items():
            safe_artifact(artifact)
            if not local.is_file():
                raise ValueError(f"cell {self.cell}: no file {local} for artefact {artifact}; run `dvc repro`")

    def points(self) -> tuple[list[tuple[str, float, int]], int]:
        """(name, value, step) of every finite value, scalars at step 0, and the number of the others."""
        every = [(name, float(value), 0) for name, value in self.metrics.items()]
        for name, curve in self.curves.items():
            every += [(name, float(value), epoch) for epoch, value in enumerate(curve, start=1)]
        finite = [point for point in every if math.isfinite(point[1])]
        return finite, len(every) - len(finite)


@dataclass(frozen=True)
class FoundRun:
    """A finished run of a cell in MLflow. tags: without the prefix `auglens.`; metrics: their last values."""

    run_id: str
    cell: str
    aug: str
    seed: int
    keys: Mapping[str, str]
    content: str
    reference_train_key: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    started: int  # milliseconds since 1970
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """Where a record ended up, and what that took. `off`: nothing was published.

    folder: of its artefacts, where that is on this machine."""

    cell: str
    run_id: str
    outcome: Outcome
    folder: Path | None = None


def content_digest(
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    curves: Mapping[str, Sequence[float]],
    tags: Mapping[str, str],
    artifacts: Mapping[str, Path],
    dataset: DatasetRecord | None = None,
    known: Mapping[str, str] | None = None,
) -> str:
    """Hexadecimal sha256 over values and the files' contents; where the files lie does not enter.

    known: artefact → hexadecimal sha256 of those files that have been read for it already.
    """
    files = dict(known or {})
    for name, local in artifacts.items():
        if name in files:
            continue
        with local.open("rb") as file:
            files[name] = hashlib.file_digest(file, "sha256").hexdigest()
    values: list[Any] = [
        dict(params),
        dict(metrics),
        {name: list(curve) for name, curve in curves.items()},
        dict(tags),
        files,
    ]
    if dataset is not None:
        values.append(asdict(dataset))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def safe_artifact(path: str) -> str:
    """`path`, if it is a plain relative POSIX path that stays inside the run; else ValueError."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or str(pure) != path or re.search(r"[\\:%\x00]", path):
        raise ValueError(
            f"artefact {path!r}: expected a relative path like 'maps/raw.npz' without '..'; rename it"
        )
    return path


def refuse_foreign(runs: Iterable[FoundRun], reference_train_key: str) -> None:
    """ValueError for the first run that was compared with another reference than `reference_train_key`."""
    for run in runs:
        if run.reference_train_key != reference_train_key:
            raise ValueError(
                f"MLflow run {run.run_id} ({run.cell}): expected the reference with train key "
                f"{reference_train_key[:12]}, got {run.reference_train_key[:12] or 'none'}; delete that "
                "run in MLflow, or set collect.scope: requested"
            )
