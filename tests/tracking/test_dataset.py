"""The model's inputs in MLflow: one data set for training, one for testing, whoever publishes and how often."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auglens.tracking import CellRecord, DatasetRecord, Tracker, content_digest, publish

Make = Callable[..., CellRecord]

DATA = DatasetRecord(
    name="cifar10",
    content="c" * 64,
    source="5" * 64,
    shape=(3, 32, 32),
    dtype="uint8",
    classes=10,
    counts={"train": 4576, "validation": 509, "test": 1017},
)


def inputs(tracker: Tracker, run_id: str) -> dict[str, Any]:
    """Context -> data set, of everything logged as an input of the run."""
    logged = tracker.store.client.get_run(run_id).inputs.dataset_inputs
    contexts = [{tag.key: tag.value for tag in entry.tags}["mlflow.data.context"] for entry in logged]
    assert len(set(contexts)) == len(contexts)
    return {context: entry.dataset for context, entry in zip(contexts, logged, strict=True)}


def test_a_run_names_what_it_was_trained_and_tested_on(tracker: Tracker, make_record: Make) -> None:
    from mlflow.data.schema import TensorDatasetSchema  # MLflow's own reader is the oracle of the schema

    run_id = tracker.publish(make_record(dataset=DATA)).run_id
    found = inputs(tracker, run_id)
    assert sorted(found) == ["testing", "training"]
    profiles = {context: json.loads(dataset.profile) for context, dataset in found.items()}
    shared = {"classes": 10, "content": "c" * 64}
    assert profiles == {
        "training": {"train": 4576, "validation": 509, **shared},
        "testing": {"test": 1017, **shared},
    }
    for dataset in found.values():
        assert (dataset.name, dataset.source_type) == ("cifar10", "auglens")
        assert json.loads(dataset.source) == {"name": "cifar10", "sha256": "5" * 64}
        assert dataset.digest.startswith("c" * 8 + "-")
        assert len(dataset.digest) <= 36
        schema = TensorDatasetSchema.from_dict(json.loads(dataset.schema))
        ((features,), (targets,)) = (schema.features.inputs, schema.targets.inputs)
        assert (features.type.name, features.shape) == ("uint8", (-1, 3, 32, 32))
        assert (targets.type.name, targets.shape) == ("int64", (-1,))
    # Both are found by MLflow's own search, as in the runs table of its UI.
    search = tracker.store.client.search_runs
    for context, count in {"training": 1, "testing": 1, "validation": 0}.items():
        assert len(search([tracker.store.experiment_id], f"dataset.context = '{context}'")) == count


def test_all_runs_share_the_data_sets(tracker: Tracker, make_record: Make) -> None:
    records = [make_record(f"noise-{seed}", dataset=DATA) for seed in (1, 2)]
    first, second = tracker.publish_all(records)
    assert inputs(tracker, first.run_id) == inputs(tracker, second.run_id)
    assert [entry.outcome for entry in tracker.publish_all(records)] == ["unchanged"] * 2
    assert sorted(inputs(tracker, first.run_id)) == ["testing", "training"]


def test_other_data_are_other_content(tracker: Tracker, make_record: Make) -> None:
    """Runs published before data sets were logged, and those of changed data, are published again."""
    outcomes = []
    for dataset in (None, DATA, replace(DATA, source="6" * 64), replace(DATA, counts={**DATA.counts, "test": 9})):
        published = tracker.publish(make_record(dataset=dataset))
        outcomes.append(published.outcome)
        found = inputs(tracker, published.run_id)
        assert len(found) == (2 if dataset else 0)
        if dataset:
            assert json.loads(found["testing"].source)["sha256"] == dataset.source
            assert json.loads(found["testing"].profile)["test"] == dataset.counts["test"]
    assert outcomes == ["created", "replaced", "replaced", "replaced"]


def test_no_data_set_leaves_the_content_as_it_was() -> None:
    values: dict[str, Any] = {"params": {}, "metrics": {}, "curves": {}, "tags": {}, "artifacts": {}}
    without = content_digest(**values)
    assert content_digest(**values, dataset=None) == without
    assert content_digest(**values, dataset=DATA) != without
    assert content_digest(**values, dataset=replace(DATA, shape=(3, 64, 64))) != content_digest(
        **values, dataset=DATA
    )


def _publish_and_die(root: Path, record: CellRecord, call: str) -> None:
    tracker = Tracker.connect(None, "auglens", root)
    owner = publish if call == "log_files" else tracker.store.client
    setattr(owner, call, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    tracker.publish(record)


@pytest.mark.parametrize("call", [None, "log_inputs", "log_files"])
def test_a_run_that_was_fed_live_gets_them_once(
    tracker: Tracker, root: Path, make_record: Make, call: str | None
) -> None:
    record = make_record(dataset=DATA)
    with tracker.live(record) as feed:
        feed.log(1, {name: values[0] for name, values in record.curves.items()})
    if call:
        child = multiprocessing.get_context("fork").Process(target=_publish_and_die, args=(root, record, call))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
    published = tracker.publish(record)
    assert published.outcome == ("created" if call else "completed")
    assert sorted(inputs(tracker, published.run_id)) == ["testing", "training"]
    (run,) = tracker.store.client.search_runs([tracker.store.experiment_id])
    assert len(run.inputs.dataset_inputs) == 2


def test_no_path_of_this_machine_is_logged(tracker: Tracker, root: Path, make_record: Make) -> None:
    run_id = tracker.publish(make_record(dataset=DATA)).run_id
    for dataset in inputs(tracker, run_id).values():
        said = dataset.source + dataset.schema + dataset.profile
        assert str(Path.home()) not in said
        assert not any(part in said for part in ("/", "\\\\", str(root)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"source": "/home/someone/cifar"},
            "expected source to be a hexadecimal hash, got '/home/someone/cifar'; take it from "
            "data/splits/manifest.json",
        ),
        (
            {"counts": {"train": 5}},
            "expected counts of 'train' and 'test', got ['train']; take them from data/splits/manifest.json",
        ),
    ],
)
def test_a_record_of_something_else_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="dataset cifar10") as caught:
        replace(DATA, **change)
    assert str(caught.value) == f"dataset cifar10: {message}"
