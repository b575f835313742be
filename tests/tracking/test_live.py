"""A run fed while its cell trains, and completed by publishing it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from auglens.tracking import CellRecord, NullTracker, Tracker, publish

Make = Callable[..., CellRecord]


def train(tracker: Tracker, record: CellRecord, epochs: int = 3, scale: float = 1.0) -> None:
    with tracker.live(record) as feed:
        for epoch in range(1, epochs + 1):
            feed.log(epoch, {name: scale * values[epoch - 1] for name, values in record.curves.items()})


def histories(tracker: Tracker, run_id: str, record: CellRecord) -> dict[str, list[float]]:
    client = tracker.store.client
    return {name: [point.value for point in client.get_metric_history(run_id, name)] for name in record.curves}


@pytest.mark.parametrize("epochs", [0, 2, 3])
def test_publishing_completes_the_run_of_the_training(tracker: Tracker, make_record: Make, epochs: int) -> None:
    record = make_record()
    train(tracker, record, epochs)
    (live,) = tracker.store.client.search_runs([tracker.store.experiment_id])
    assert (live.info.status, live.info.run_name) == ("RUNNING", "equalize-1")
    assert tracker.query(record.keys["study_key"]) == []  # not before it is whole

    published = tracker.publish(record)
    assert (published.outcome, published.run_id) == ("completed", live.info.run_id)
    (run,) = tracker.query(record.keys["study_key"])
    assert histories(tracker, run.run_id, record) == {name: list(values) for name, values in record.curves.items()}
    assert run.metrics["pearson"] == 1 / 3
    assert "live" not in run.tags
    assert tracker.publish(record).outcome == "unchanged"


def _complete_and_die(root: Path, record: CellRecord, call: str) -> None:
    tracker = Tracker.connect(None, "auglens", root)
    owner = publish if call == "log_files" else tracker.store.client
    setattr(owner, call, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    tracker.publish(record)


@pytest.mark.parametrize("call", ["log_batch", "log_files", "delete_tag", "set_terminated"])
def test_a_kill_while_completing_is_made_good(tracker: Tracker, root: Path, make_record: Make, call: str) -> None:
    record = make_record()
    train(tracker, record, epochs=2)
    child = multiprocessing.get_context("fork").Process(target=_complete_and_die, args=(root, record, call))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert tracker.query(record.keys["study_key"]) == []
    tracker.publish(record)
    (run,) = tracker.store.client.search_runs([tracker.store.experiment_id])
    assert run.info.status == "FINISHED"
    assert histories(tracker, run.info.run_id, record) == {name: list(v) for name, v in record.curves.items()}
    assert len(tracker.store.client.get_metric_history(run.info.run_id, "pearson")) == 1


def test_a_run_that_saw_other_values_is_remade(tracker: Tracker, make_record: Make) -> None:
    record = make_record()
    train(tracker, record, scale=1.5)
    assert tracker.publish(record).outcome == "created"
    (run,) = tracker.store.client.search_runs([tracker.store.experiment_id])
    assert histories(tracker, run.info.run_id, record) == {name: list(v) for name, v in record.curves.items()}


def test_a_training_that_fails_and_runs_again_leaves_one_run(tracker: Tracker, make_record: Make) -> None:
    record = make_record()

    def interrupted() -> None:
        with tracker.live(record) as feed:
            feed.log(1, {"train_loss": 2.25})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (failed,) = tracker.store.client.search_runs([tracker.store.experiment_id])
    assert failed.info.status == "FAILED"
    train(tracker, record)
    (run,) = tracker.store.client.search_runs([tracker.store.experiment_id])
    assert tracker.publish(record).run_id == run.info.run_id != failed.info.run_id


def test_training_again_what_is_published_leaves_the_published_run(tracker: Tracker, make_record: Make) -> None:
    record = make_record()
    first = tracker.publish(record)
    train(tracker, record)
    second = tracker.publish(record)
    assert (second.outcome, second.run_id) == ("unchanged", first.run_id)
    assert len(tracker.store.client.search_runs([tracker.store.experiment_id])) == 1


def test_a_store_that_goes_away_costs_a_warning_and_no_training(
    tracker: Tracker, root: Path, make_record: Make
) -> None:
    with warnings.catch_warnings(record=True) as caught, tracker.live(make_record()) as feed:
        warnings.simplefilter("always")
        feed.log(1, {"train_loss": 1.0})
        (run,) = tracker.store.client.search_runs([tracker.store.experiment_id])
        tracker.store.client.delete_run(run.info.run_id)  # somebody does so in the UI
        for epoch in (2, 3):
            feed.log(epoch, {"train_loss": 1.0})
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith(
        f"live tracking is off for the rest of this training: MLflow store sqlite:///{root}/mlflow.db: "
        "logging epoch 2 failed: "
    )


def test_no_store_at_all_costs_a_warning_and_no_training(tmp_path: Path, make_record: Make) -> None:
    with pytest.warns(
        UserWarning, match="live tracking is off: MLflow store http://127.0.0.1:9: opening it failed"
    ):
        tracker = Tracker.connect_or_null("http://127.0.0.1:9", "auglens", tmp_path)
    assert isinstance(tracker, NullTracker)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tracker.live(make_record()) as feed:
            feed.log(1, {"train_loss": 1.0})
