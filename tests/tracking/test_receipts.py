"""When a store needs no look, and everything after which it does: a real store, real files."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auglens.tracking import CellRecord, Receipt, Tracker

Make = Callable[..., CellRecord]


@pytest.fixture
def receipt(tracker: Tracker, root: Path, make_record: Make) -> Receipt:
    """Of two cells that were published."""
    records = [make_record("equalize-1"), make_record("noise-1")]
    receipt = Receipt(root / ".auglens/published.json", tracker.store.uri, [record.content for record in records])
    assert not receipt.holds()
    published = tracker.publish_all(records)
    receipt.write(receipt.state(), records, published)
    return receipt


def test_a_store_that_nobody_touched_needs_no_look(receipt: Receipt, tracker: Tracker) -> None:
    assert receipt.holds()
    assert len(json.loads(receipt.path.read_text())["files"]) == 4
    tracker.query("5" * 64)  # reading changes nothing
    assert receipt.holds()


def delete_run(tracker: Tracker, root: Path) -> None:
    (run, *_) = tracker.query("5" * 64)
    tracker.store.client.delete_run(run.run_id)


def delete_and_restore(tracker: Tracker, root: Path) -> None:
    (run, *_) = tracker.query("5" * 64)
    tracker.store.client.delete_run(run.run_id)
    tracker.store.client.restore_run(run.run_id)


def someone_elses_run(tracker: Tracker, root: Path) -> None:
    tracker.store.client.create_run(tracker.store.experiment_id)


def rename_experiment(tracker: Tracker, root: Path) -> None:
    tracker.store.client.rename_experiment(tracker.store.experiment_id, "other")


def lose_database(tracker: Tracker, root: Path) -> None:
    (root / "mlflow.db").unlink()


def write_ahead(tracker: Tracker, root: Path) -> None:
    connection = sqlite3.connect(root / "mlflow.db")
    assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    connection.close()


def lose_artefacts(tracker: Tracker, root: Path) -> None:
    shutil.rmtree(root / "mlartifacts")


def cut_artefact(tracker: Tracker, root: Path) -> None:
    next((root / "mlartifacts").rglob("raw.npz")).write_bytes(b"ra")


EVENTS = (
    delete_run,
    delete_and_restore,
    someone_elses_run,
    rename_experiment,
    lose_database,
    write_ahead,
    lose_artefacts,
    cut_artefact,
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_after_any_event_the_store_is_asked(
    receipt: Receipt, tracker: Tracker, root: Path, event: Callable[[Tracker, Path], None]
) -> None:
    event(tracker, root)
    assert not receipt.holds()


def test_other_contents_or_another_store_are_not_held(receipt: Receipt, root: Path) -> None:
    assert not replace(receipt, told=["other"]).holds()
    for uri in ("http://127.0.0.1:5000", f"sqlite:///{root}/other.db", "postgresql://localhost/mlflow"):
        assert not replace(receipt, uri=uri).holds()
        assert replace(receipt, uri=uri).state() is None


def test_another_store_in_the_same_state_is_not_held(receipt: Receipt, root: Path) -> None:
    """Two stores may count alike: as many transactions, as many pages."""
    shutil.copy(root / "mlflow.db", root / "other.db")
    other = replace(receipt, uri=f"sqlite:///{root}/other.db")
    assert other.state() == receipt.state()
    assert not other.holds()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": 1, "state": 2, "files": []}'])
def test_a_damaged_receipt_is_none(receipt: Receipt, text: str) -> None:
    receipt.path.write_text(text)
    assert not receipt.holds()


def test_damaged_files_in_a_receipt_are_not_believed(receipt: Receipt) -> None:
    values = json.loads(receipt.path.read_text())
    receipt.path.write_text(json.dumps(values | {"files": 7}))
    assert not receipt.holds()


def test_where_nothing_can_be_known_no_receipt_is_left(
    receipt: Receipt, tracker: Tracker, make_record: Make
) -> None:
    record = make_record("equalize-1")
    receipt.write(None, [record], [tracker.publish(record)])
    assert not receipt.path.exists()
