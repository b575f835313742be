"""Publishing: one finished run per cell, however often, by whomever and after whatever interruption."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auglens.tracking import CellRecord, NullTracker, Tracker, publish, store
from auglens.tracking.records import UNDEFINED

Make = Callable[..., CellRecord]


def every_run(tracker: Tracker) -> list[Any]:
    """All runs that are not deleted, of any status, straight from MLflow."""
    return list(tracker.store.client.search_runs([tracker.store.experiment_id]))


def curve(tracker: Tracker, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in tracker.store.client.get_metric_history(run_id, name)]


def database(root: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(root / "mlflow.db") as connection:
        return list(connection.iterdump())


def test_everything_of_a_record_comes_back(tracker: Tracker, make_record: Make, tmp_path: Path) -> None:
    record = make_record("gaussian_blur-2")
    published = tracker.publish(record)
    assert published.outcome == "created"
    (run,) = tracker.query(record.keys["study_key"])
    assert (run.run_id, run.cell, run.aug, run.seed) == (
        published.run_id,
        "gaussian_blur-2",
        "gaussian_blur",
        2,
    )
    assert dict(run.keys) == record.keys
    assert (run.content, run.reference_train_key) == (record.content, record.reference_train_key)
    assert run.tags["variant"] == "gradcam-predicted"
    assert run.tags["mlflow.source.name"] == "auglens"
    # To the last digit; curves show their last value.
    last = {name: values[-1] for name, values in record.curves.items()}
    assert run.metrics == {**record.metrics, **last, UNDEFINED: 0.0}
    (raw,) = every_run(tracker)
    assert raw.data.params == {"epochs": "3", "model.name": "test_resnet"}
    assert (raw.info.status, raw.info.run_name) == ("FINISHED", "gaussian_blur-2")
    assert raw.data.tags["auglens.seed"] == "2"
    assert curve(tracker, run.run_id, "train_loss") == [(1, 2.25), (2, 1.125), (3, 0.1)]
    fetched = tracker.fetch(run, "maps/raw.npz", tmp_path / "new" / "raw.npz")
    assert fetched.read_bytes() == b"rawgaussian_blur-2"
    assert [path.name for path in fetched.parent.iterdir()] == ["raw.npz"]


def test_publishing_twice_writes_nothing(tracker: Tracker, root: Path, make_record: Make) -> None:
    records = [make_record("equalize-1"), make_record("affine+color_jitter-2"), make_record("reference")]
    first = tracker.publish_all(records)
    before = database(root)
    second = tracker.publish_all(records)
    assert database(root) == before
    assert [entry.outcome for entry in second] == ["unchanged"] * 3
    assert [entry.run_id for entry in second] == [entry.run_id for entry in first]
    assert [run.cell for run in tracker.query(records[0].keys["study_key"])] == [
        "affine+color_jitter-2",
        "equalize-1",
        "reference",
    ]


def test_other_content_replaces_the_run(tracker: Tracker, make_record: Make) -> None:
    old = tracker.publish(make_record())
    new = tracker.publish(make_record(metrics={"pearson": 0.5}))
    assert new.outcome == "replaced"
    (run,) = every_run(tracker)
    assert (run.info.run_id, run.data.metrics["pearson"]) == (new.run_id, 0.5)
    assert tracker.store.client.get_run(old.run_id).info.lifecycle_stage == "deleted"  # and can be restored


@pytest.mark.parametrize("damage", ["absent", "truncated"])
def test_lost_artefacts_are_published_again(tracker: Tracker, root: Path, make_record: Make, damage: str) -> None:
    record = make_record()
    tracker.publish(record)
    if damage == "absent":
        shutil.rmtree(root / "mlartifacts")
    else:
        next((root / "mlartifacts").rglob("raw.npz")).write_bytes(b"ra")
    assert tracker.publish(record).outcome == "replaced"
    assert tracker.publish(record).outcome == "unchanged"
    (run,) = tracker.query(record.keys["study_key"])
    assert tracker.fetch(run, "maps/raw.npz", root / "raw.npz").read_bytes() == b"rawequalize-1"


def test_undefined_values_are_left_out_and_counted(tracker: Tracker, make_record: Make) -> None:
    record = make_record(
        metrics={"pearson": math.nan, "mad": 0.25}, curves={"train_loss": [1.0, math.inf, 3.0, -math.inf]}
    )
    run_id = tracker.publish(record).run_id
    (run,) = tracker.query(record.keys["study_key"])
    assert run.metrics == {"mad": 0.25, "train_loss": 3.0, UNDEFINED: 3.0}
    assert curve(tracker, run_id, "train_loss") == [(1, 1.0), (3, 3.0)]


def test_more_values_than_one_call_takes(tracker: Tracker, make_record: Make) -> None:
    params = {f"p{index}": index for index in range(250)}
    curves = {f"loss {index}": [float(index + step) for step in range(450)] for index in range(5)}
    tags = {f"t{index}": str(index) for index in range(210)}
    run_id = tracker.publish(make_record(params=params, curves=curves, tags=tags)).run_id
    (run,) = every_run(tracker)
    assert run.data.params == {name: str(value) for name, value in params.items()}
    assert {name: run.data.tags[f"auglens.{name}"] for name in tags} == tags
    for index in (0, 4):
        assert curve(tracker, run_id, f"loss {index}") == list(enumerate(curves[f"loss {index}"], start=1))


def _publish_and_die(root: Path, record: CellRecord, call: str) -> None:
    tracker = Tracker.connect(None, "auglens", root)
    owner = publish if call == "log_files" else tracker.store.client
    setattr(owner, call, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    tracker.publish(record)


@pytest.mark.parametrize("call", ["log_batch", "log_files", "set_terminated"])
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "replacing"])
def test_a_killed_publish_is_made_good(
    tracker: Tracker, root: Path, make_record: Make, call: str, earlier: bool
) -> None:
    if earlier:
        tracker.publish(make_record(metrics={"pearson": 0.5}))
    record = make_record()
    child = multiprocessing.get_context("fork").Process(target=_publish_and_die, args=(root, record, call))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert [run.info.status for run in every_run(tracker)].count("RUNNING") == 1
    assert len(tracker.query(record.keys["study_key"])) == (1 if earlier and call != "set_terminated" else 0)

    assert tracker.publish(record).outcome == ("replaced" if earlier and call != "set_terminated" else "created")
    (run,) = every_run(tracker)
    assert (run.info.status, run.data.tags["auglens.content"]) == ("FINISHED", record.content)
    assert curve(tracker, run.info.run_id, "train_loss") == [(1, 2.25), (2, 1.125), (3, 0.1)]


def test_all_pages_are_read(tracker: Tracker, make_record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [make_record(f"noise-{seed}", files={}) for seed in range(8)]
    tracker.publish_all(records)
    monkeypatch.setattr(store, "PAGE", 3)
    assert [run.seed for run in tracker.query(records[0].keys["study_key"])] == list(range(8))
    assert {entry.outcome for entry in tracker.publish_all(records)} == {"unchanged"}


def test_more_runs_than_mlflow_returns_at_once(tracker: Tracker, root: Path, make_record: Make) -> None:
    """1,003 runs, copied in the database from one published by us."""
    import sqlite3

    record = make_record(files={})
    run_id = tracker.publish(record).run_id
    with sqlite3.connect(root / "mlflow.db") as connection:
        for table, column in (("runs", "run_uuid"), ("tags", "run_uuid")):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            picked = ", ".join(":id" if name == column else name for name in names)
            source = f"SELECT {picked} FROM {table} WHERE {column} = :old"
            connection.executemany(
                f"INSERT INTO {table} ({', '.join(names)}) {source}",
                [{"id": f"{index:032x}", "old": run_id} for index in range(1, 1003)],
            )
        connection.execute("UPDATE tags SET value = run_uuid WHERE key = 'auglens.cell_key'")
    assert len(tracker.query(record.keys["study_key"])) == 1003


def test_of_two_runs_of_a_cell_the_earliest_counts(tracker: Tracker, make_record: Make) -> None:
    """Two machines may publish a cell at the same moment; the next publish leaves one run."""
    record = make_record()
    client, tags = tracker.store.client, publish.identity_tags(record) | {"auglens.content": record.content}
    for start in (2000, 1000, 3000):
        run = client.create_run(tracker.store.experiment_id, start_time=start, tags=tags)
        publish.log_files(tracker.store, run.info.run_id, record.artifacts)
        client.set_terminated(run.info.run_id)
    (found,) = tracker.query(record.keys["study_key"])
    assert client.get_run(found.run_id).info.start_time == 1000
    assert tracker.publish(record).outcome == "unchanged"
    assert [run.info.run_id for run in every_run(tracker)] == [found.run_id]


def test_a_run_that_another_machine_is_writing_is_left_alone(tracker: Tracker, make_record: Make) -> None:
    import time

    record = make_record()
    tags = publish.identity_tags(record) | {publish.PROCESS: "elsewhere:1"}
    now = int(time.time() * 1000)
    young, old = (
        tracker.store.client.create_run(tracker.store.experiment_id, start_time=start, tags=tags).info.run_id
        for start in (now, now - 2 * publish.ABANDONED_MS)
    )
    published = tracker.publish(record)
    left = {run.info.run_id for run in every_run(tracker)}
    assert left == {young, published.run_id}
    assert old not in left


def test_other_studies_are_not_found(tracker: Tracker, make_record: Make) -> None:
    tracker.publish_all([make_record("noise-1", study="a"), make_record("noise-2", study="b")])
    assert [run.cell for run in tracker.query("a")] == ["noise-1"]
    assert tracker.query("c") == []


def test_the_same_cell_key_twice_is_refused(tracker: Tracker, make_record: Make) -> None:
    with pytest.raises(
        ValueError, match="cell equalize-1: expected one record per cell key, got another; publish"
    ):
        tracker.publish_all([make_record(), make_record()])
    assert every_run(tracker) == []


def test_a_run_with_foreign_tags_is_named(tracker: Tracker, make_record: Make) -> None:
    record = make_record()
    run_id = tracker.publish(record).run_id
    tracker.store.client.set_tag(run_id, "auglens.seed", "one")
    with pytest.raises(ValueError, match="expected the tags of a cell") as caught:
        tracker.query(record.keys["study_key"])
    assert str(caught.value) == (
        f"MLflow run {run_id}: expected the tags of a cell, got others; delete that run in MLflow and run "
        "`auglens collect`"
    )


def test_without_a_store_nothing_is_published_or_found(make_record: Make) -> None:
    record = make_record()
    with NullTracker() as tracker:
        assert [entry.outcome for entry in tracker.publish_all([record])] == ["off"]
        assert tracker.query(record.keys["study_key"]) == []
        assert not tracker.summarise(metrics={}, artifacts={}, cells={})
        with tracker.live(record) as feed:
            feed.log(1, {"train_loss": 1.0})


def test_what_a_record_lacks_is_made_only_where_it_is_written(
    tracker: Tracker, make_record: Make, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"drawn")
    asked: list[list[str]] = []

    def complete(records: Sequence[CellRecord]) -> Iterator[CellRecord]:
        asked.append([record.cell for record in records])
        for record in records:
            yield replace(record, artifacts={**record.artifacts, "picture.png": picture})

    first, second, third = make_record("affine-1"), make_record("affine-2"), make_record("cutmix-1")
    tracker.publish(second)
    found = tracker.publish_all([first, second, third], complete)
    assert [(one.cell, one.outcome) for one in found] == [
        ("affine-1", "created"), ("affine-2", "unchanged"), ("cutmix-1", "created"),
    ]  # fmt: skip
    assert asked == [["affine-1", "cutmix-1"]]
    listed = {one.cell: {f.path for f in tracker.store.client.list_artifacts(one.run_id)} for one in found}
    assert ["picture.png" in listed[one.cell] for one in found] == [True, False, True]
    tracker.publish_all([first, second, third], complete)
    assert len(asked) == 1
