"""Upsert by cell key: however often and wherever a cell is published, there is one finished run of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from auglens.tracking.records import (
    KEYS,
    PREFIX,
    UNDEFINED,
    CellIdentity,
    CellRecord,
    DatasetRecord,
    FoundRun,
    Outcome,
    Published,
)
from auglens.tracking.store import Store, local_folder

FINISHED = "FINISHED"
CONTENT = PREFIX + "content"
LIVE = PREFIX + "live"  # on the run of a training, until it is published
TRAINING, TRAINED = "training", "trained"
PROCESS = PREFIX + "process"  # host:pid of the writer
ABANDONED_MS = 3_600_000  # an unfinished run of another host that is older than an hour is nobody's

# MLflow takes at most 1,000 values a call: 800 metrics, 100 params and 100 tags.
METRICS_PER_CALL = 800
OTHERS_PER_CALL = 100

Point = tuple[str, float, int]  # name, value, step
Complete = Callable[[Sequence[CellRecord]], Iterable[CellRecord]]


def identity_tags(cell: CellIdentity) -> dict[str, str]:
    """The tags by which a run is found again, and by which its writer is known."""
    values = {"cell": cell.cell, "aug": cell.aug, "seed": str(cell.seed)}
    values |= {name: cell.keys[name] for name in KEYS}
    values["reference_train_key"] = cell.reference_train_key
    tags = {PREFIX + name: value for name, value in values.items()}
    return tags | {PROCESS: f"{socket.gethostname()}:{os.getpid()}", "mlflow.source.name": "auglens"}


def found_run(run: Any) -> FoundRun:
    """MLflow's run as ours; ValueError where somebody removed or changed a tag that we need."""
    tags = {name.removeprefix(PREFIX): value for name, value in run.data.tags.items()}
    try:
        return FoundRun(
            run_id=run.info.run_id,
            cell=tags["cell"],
            aug=tags["aug"],
            seed=int(tags["seed"]),
            keys={name: tags[name] for name in KEYS},
            content=tags["content"],
            reference_train_key=tags["reference_train_key"],
            tags=tags,
            metrics=dict(run.data.metrics),
            started=run.info.start_time,
            params=dict(run.data.params),
        )
    except (KeyError, ValueError):
        raise ValueError(
            f"MLflow run {run.info.run_id}: expected the tags of a cell, got others; delete that run in "
            "MLflow and run `auglens collect`"
        ) from None


def cell_runs(store: Store, kind: str, key: str, *, finished: bool = False) -> dict[str, list[Any]]:
    """Cell key -> its runs, among those whose `kind` (study_key or cell_key) is `key`.

    The earliest first; of equal starts, the lower run id.
    """
    condition = f"tags.`{PREFIX}{kind}` = '{key}'"
    if finished:
        condition += f" AND attributes.status = '{FINISHED}'"
    cells: dict[str, list[Any]] = {}
    for run in sorted(store.runs(condition), key=lambda run: (run.info.start_time, run.info.run_id)):
        cells.setdefault(run.data.tags.get(PREFIX + "cell_key", ""), []).append(run)
    return cells


def publish_all(store: Store, records: Sequence[CellRecord], complete: Complete | None = None) -> list[Published]:
    """One finished run per record, in the records' order. One query finds what is there already.

    complete: gives those records that have to be written, and only those, with what they still lack, in order.
    """
    known: set[str] = set()
    for record in records:
        if record.keys["cell_key"] in known:
            raise ValueError(f"cell {record.cell}: expected one record per cell key, got another; publish it once")
        known.add(record.keys["cell_key"])
    with contextlib.ExitStack() as locked:
        there: dict[str, list[Any]] = {}
        with store.reaching("looking for the runs of this study"):
            locked.enter_context(store.exclusively())
            for study_key in sorted({record.keys["study_key"] for record in records}):
                there |= cell_runs(store, "study_key", study_key)
        kept = {
            record.keys["cell_key"]: next(
                (run for run in _finished(there, record) if _is_current(run, record)), None
            )
            for record in records
        }
        new = [record for record in records if kept[record.keys["cell_key"]] is None]
        completed = iter(complete(new) if complete else new)
        return [
            _publish(store, next(completed), there) if kept[record.keys["cell_key"]] is None
            else _keep(store, record, there, kept[record.keys["cell_key"]])
            for record in records
        ]  # fmt: skip


def _finished(there: Mapping[str, list[Any]], record: CellRecord) -> list[Any]:
    return [run for run in there.get(record.keys["cell_key"], []) if run.info.status == FINISHED]


def _left(there: Mapping[str, list[Any]], record: CellRecord) -> list[Any]:
    """The cell's unfinished runs that nobody writes any more."""
    runs = there.get(record.keys["cell_key"], [])
    return [run for run in runs if run.info.status != FINISHED and not in_use(run)]


def _keep(store: Store, record: CellRecord, there: Mapping[str, list[Any]], kept: Any) -> Published:
    with store.reaching(f"publishing {record.cell}"):
        runs = _finished(there, record) + _left(there, record)
        _delete(store, [run for run in runs if run is not kept])
        return Published(record.cell, kept.info.run_id, "unchanged", local_folder(kept.info.artifact_uri))


def _publish(store: Store, record: CellRecord, there: Mapping[str, list[Any]]) -> Published:
    with store.reaching(f"publishing {record.cell}"):
        finished, left = _finished(there, record), _left(there, record)
        fed = ((run, _fed(store, run, record)) for run in left)
        trained, logged = next(((run, points) for run, points in fed if points is not None), (None, set()))
        run = open_run(store, record) if trained is None else trained
        run_id = str(run.info.run_id)
        _fill(store, run, record, logged)
        if trained is not None:
            store.client.delete_tag(run_id, LIVE)
        # Last, so that no more than one finished run of a cell exists at any time.
        _delete(store, [run for run in finished + left if run is not trained])
        store.client.set_terminated(run_id, FINISHED)
        outcome: Outcome = "completed" if trained else "replaced" if finished else "created"
        return Published(record.cell, run_id, outcome, local_folder(run.info.artifact_uri))


def open_run(store: Store, cell: CellIdentity, tags: Mapping[str, str] | None = None) -> Any:
    """A new, unfinished run of `cell`."""
    tags = identity_tags(cell) | dict(tags or {})
    return store.client.create_run(store.experiment_id, tags=tags, run_name=cell.cell)


def in_use(run: Any) -> bool:
    """Whether another living process writes this unfinished run, as far as this machine can tell."""
    host, _, pid = run.data.tags.get(PROCESS, "").rpartition(":")
    if run.info.status != "RUNNING" or run.data.tags.get(LIVE) == TRAINED:
        return False
    if host != socket.gethostname() or not pid.isdigit():
        return bool(time.time() * 1000 - run.info.start_time < ABANDONED_MS)
    if int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_current(run: Any, record: CellRecord) -> bool:
    """Equal content, and the artefacts still there, where this machine can see them without a server."""
    folder = local_folder(run.info.artifact_uri)
    if run.data.tags.get(CONTENT) != record.content:
        return False
    return folder is None or all(
        (folder / name).is_file() and (folder / name).stat().st_size == local.stat().st_size
        for name, local in record.artifacts.items()
    )


def _fed(store: Store, run: Any, record: CellRecord) -> set[Point] | None:
    """What a training logged in this run, if the record's curves have all of it and nothing came twice."""
    if LIVE not in run.data.tags or not {*run.data.metrics} <= {*record.curves}:
        return None
    history = [
        (metric.key, metric.value, metric.step)
        for name in run.data.metrics
        for metric in store.client.get_metric_history(run.info.run_id, name)
    ]
    points = {*history}
    return points if len(points) == len(history) and points <= {*record.points()[0]} else None


def log_points(
    store: Store,
    run_id: str,
    points: Sequence[Point],
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Metrics, params and tags in as few calls as MLflow's limits allow."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in points]
    parameters = [Param(name, str(value)) for name, value in (params or {}).items()]
    run_tags = [RunTag(name, value) for name, value in (tags or {}).items()]
    while metrics or parameters or run_tags:
        store.client.log_batch(
            run_id, metrics[:METRICS_PER_CALL], parameters[:OTHERS_PER_CALL], run_tags[:OTHERS_PER_CALL]
        )
        metrics, parameters = metrics[METRICS_PER_CALL:], parameters[OTHERS_PER_CALL:]
        run_tags = run_tags[OTHERS_PER_CALL:]


def log_files(store: Store, run_id: str, artifacts: Mapping[str, Path], address: str = "") -> None:
    """Local files under the names that they get in the run, uploaded in one call; copied where the run's artefact
    address, if given, is a folder on this machine: the store need not look up the run for it."""
    target = local_folder(address) if address else None
    if target is not None:
        for name, local in artifacts.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, target / name)
        return
    with tempfile.TemporaryDirectory(prefix="auglens-") as folder:
        for name, local in artifacts.items():
            link = Path(folder, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(local.resolve())
        if artifacts:
            store.client.log_artifacts(run_id, folder)


def log_dataset(store: Store, run_id: str, dataset: DatasetRecord) -> None:
    """The run's inputs, one for training and one for testing; logging them again changes nothing.

    Two data sets of one name, since MLflow keeps one context for each (run, name, digest). It keeps the first
    that it is given for a name and digest, so that the digest is of all that is said here.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tensors = {"features": (dataset.dtype, (-1, *dataset.shape)), "targets": ("int64", (-1,))}
    specs = {
        name: json.dumps([{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}])
        for name, (dtype, shape) in tensors.items()
    }
    schema = json.dumps({"mlflow_tensorspec": specs})
    source = json.dumps({"name": dataset.name, "sha256": dataset.source})
    inputs = []
    for context, counts in dataset.parts().items():
        profile = json.dumps({**counts, "classes": dataset.classes, "content": dataset.content})
        said = json.dumps([context, source, schema, profile])
        digest = f"{dataset.content[:8]}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"  # at most 36 characters
        entity = Dataset(dataset.name, digest, "auglens", source, schema, profile)
        inputs.append(DatasetInput(entity, [InputTag("mlflow.data.context", context)]))
    store.client.log_inputs(run_id, inputs)


def _fill(store: Store, run: Any, record: CellRecord, logged: set[Point]) -> None:
    run_id = str(run.info.run_id)
    points, undefined = record.points()
    missing = [point for point in points if point not in logged]
    tags = {name if name.startswith("mlflow.") else PREFIX + name: value for name, value in record.tags.items()}
    tags |= identity_tags(record) | {CONTENT: record.content}
    log_points(store, run_id, [*missing, (UNDEFINED, float(undefined), 0)], record.params, tags)
    if record.dataset is not None:  # after the metrics: a run that has them all is never completed, but replaced
        log_dataset(store, run_id, record.dataset)
    log_files(store, run_id, record.artifacts, run.info.artifact_uri)


def _delete(store: Store, runs: Iterable[Any]) -> None:
    """MLflow's own delete, which `mlflow gc` makes final and its UI can undo."""
    for run in runs:
        store.client.delete_run(run.info.run_id)
