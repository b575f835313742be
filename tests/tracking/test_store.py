"""Which store is opened, that it is made once, and one line where it cannot be used."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import auglens
from auglens.tracking import CellRecord, StoreUnavailable, Tracker, store, store_uri

Make = Callable[..., CellRecord]

FRESH_PROCESS = """
import sys
import auglens.tracking
assert "mlflow" not in sys.modules, "importing the room imports mlflow"
from pathlib import Path
tracker = auglens.tracking.Tracker.connect(None, "auglens", Path(sys.argv[1]))
assert tracker.query("study") == []
import os
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
heavy = {"torch", "timm", "kornia", "matplotlib", "pytorch_grad_cam"}
print(*sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""


def test_a_fresh_process_imports_no_torch_and_prints_nothing(root: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = str(Path(auglens.__file__).parents[1])
    command = [sys.executable, "-c", FRESH_PROCESS, str(root)]
    done = subprocess.run(command, env=environment, cwd=root.parent, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
    assert sorted(path.name for path in root.parent.iterdir()) == ["project"]  # no stray `mlruns`


def test_the_address_is_absolute_and_the_users_choice_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert store_uri("sqlite:///runs/x.db?timeout=5", tmp_path) == f"sqlite:///{tmp_path}/runs/x.db?timeout=5"
    assert store_uri("sqlite:////data/x%20y.db", tmp_path) == "sqlite:////data/x%20y.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert store_uri(None, tmp_path) == "http://127.0.0.1:5000"
    assert store_uri("postgresql://h/db", tmp_path) == "postgresql://h/db"


def test_a_folder_with_an_awkward_name(migrated: Path, tmp_path: Path, make_record: Make) -> None:
    root = tmp_path / "50%20 off#1?é"
    root.mkdir()
    shutil.copy(migrated, root / "mlflow.db")
    tracker, record = Tracker.connect(None, "auglens", root), make_record()
    assert [tracker.publish(record).outcome for _ in range(2)] == ["created", "unchanged"]
    (run,) = tracker.query(record.keys["study_key"])
    assert tracker.fetch(run, "card.json", tmp_path / "card.json").read_bytes() == b"{}"
    assert len(list((root / "mlartifacts").rglob("raw.npz"))) == 1


def _connect_and_publish(root: Path, barrier: Any, record: CellRecord) -> None:
    barrier.wait()
    Tracker.connect(None, "auglens", root).publish(record)


def test_two_processes_may_make_a_fresh_store_at_once(tmp_path: Path, make_record: Make, migrated: Path) -> None:
    root = tmp_path / "fresh"
    root.mkdir()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    records = [make_record("noise-1"), make_record("noise-2")]
    children = [context.Process(target=_connect_and_publish, args=(root, barrier, record)) for record in records]
    for child in children:
        child.start()
    for child in children:
        child.join(90)
    assert [child.exitcode for child in children] == [0, 0]
    tracker = Tracker.connect(None, "auglens", root)
    assert [run.cell for run in tracker.query(records[0].keys["study_key"])] == ["noise-1", "noise-2"]
    assert len(tracker.store.client.search_experiments(filter_string="name = 'auglens'")) == 1
    default = tracker.store.client.get_experiment("0")  # the one that `mlflow run` writes into
    assert default.artifact_location == (root / "mlartifacts" / "0").as_uri()


def test_the_run_of_mlflow_run_is_not_written_into(
    tracker: Tracker, root: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, record = tracker.store.client, make_record()
    parent = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    with Tracker.connect(None, "auglens", root) as inside:
        assert inside.parent == parent
        assert "MLFLOW_RUN_ID" not in os.environ  # nor do child processes see it
        assert inside.publish(record).run_id != parent
        untouched = client.get_run(parent)
        assert (untouched.data.metrics, untouched.data.params) == ({}, {})
    assert os.environ["MLFLOW_RUN_ID"] == parent


def test_the_summary_goes_into_the_run_of_mlflow_run(
    tracker: Tracker, root: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = tracker.store.client
    parent = client.create_run("0").info.run_id
    report = tmp_path / "index.html"
    report.write_text("<p>report</p>")
    cells = {f"gaussian_blur-{seed}": f"{seed:032x}" for seed in range(300)}
    assert not tracker.summarise(metrics={"n": 1.0}, artifacts={"report/index.html": report}, cells=cells)
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    with Tracker.connect(None, "auglens", root) as inside:
        assert inside.summarise(
            metrics={"accuracy": 0.75, "pearson": float("nan")},
            artifacts={"report/index.html": report},
            cells=cells,
            tags={"study_key": "abc"},
        )
    run = client.get_run(parent)
    assert run.data.metrics == {"accuracy": 0.75}
    assert run.data.tags["auglens.study_key"] == "abc"
    assert run.data.tags["auglens.cells"] == ",".join(cells)
    note = run.data.tags["mlflow.note.content"].splitlines()
    assert note[0] == "The study's 300 cells, a run each (all of them in `cells.json`):"
    link = f"#/experiments/{inside.store.experiment_id}/runs"
    assert note[2:4] == [f"* [gaussian_blur-{n}]({link}/{n:032x})" for n in (0, 1)]
    assert note[-1] == "…"  # MLflow would cut the text in the middle of a link
    assert note[-2].endswith(")")
    fetched = Path(client.download_artifacts(parent, "", str(tmp_path)))
    assert (fetched / "report" / "index.html").read_text() == "<p>report</p>"
    assert (fetched / "cells.json").read_text().count('"gaussian_blur-') == 300


def test_a_fetch_of_what_is_not_there(tracker: Tracker, make_record: Make, tmp_path: Path) -> None:
    record = make_record()
    run_id = tracker.publish(record).run_id
    (run,) = tracker.query(record.keys["study_key"])
    for artifact in ("maps/other.npz", "maps"):  # absent; a folder
        with pytest.raises(ValueError, match="expected a file") as caught:
            tracker.fetch(run, artifact, tmp_path / "out" / "x")
        assert str(caught.value) == (
            f"MLflow run {run_id} (equalize-1): expected a file {artifact}, got none; delete that run in "
            "MLflow and run `auglens collect` where the cell's files are"
        )
    with pytest.raises(ValueError, match=r"artefact '../../secret': expected a relative path"):
        tracker.fetch(run, "../../secret", tmp_path / "out" / "x")
    assert list((tmp_path / "out").iterdir()) == []


def unavailable(uri: str | None, root: Path, experiment: str = "auglens") -> str:
    with pytest.raises(StoreUnavailable) as caught:
        Tracker.connect(uri, experiment, root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_server_that_is_away(tmp_path: Path) -> None:
    assert unavailable("http://user:secret@127.0.0.1:9", tmp_path) == (
        "MLflow store http://user:***@127.0.0.1:9: opening it failed: connection refused; start that server "
        "or unset MLFLOW_TRACKING_URI, then run `auglens collect`"
    )


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but a text of some length\n" * 100)
    assert unavailable(None, tmp_path) == (
        f"MLflow store sqlite:///{tmp_path}/mlflow.db: opening it failed: (sqlite3.DatabaseError) file is "
        "not a database; check that it can be written, or delete it and run `auglens collect`, which "
        "fills a new one"
    )


def test_a_deleted_experiment(tracker: Tracker, root: Path) -> None:
    identifier = tracker.store.experiment_id
    tracker.store.client.delete_experiment(identifier)
    assert unavailable(None, root) == (
        f"MLflow store sqlite:///{root}/mlflow.db: experiment 'auglens' was deleted; run `mlflow experiments "
        f"restore -x {identifier}` or name another experiment"
    )


def test_a_store_that_was_moved(tracker: Tracker, root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert unavailable(None, moved) == (
        f"MLflow store sqlite:///{moved}/mlflow.db: its artefacts belong in {root}/mlartifacts, so it was "
        "moved from there; move it back, or delete mlflow.db and run `auglens collect`, which fills a new one"
    )


def test_a_lock_that_is_never_freed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(store, "LOCK_SECONDS", 0.01)
    with FileLock(root / "mlflow.db.lock"):
        message = unavailable(None, root)
    assert f"The file lock '{root}/mlflow.db.lock' could not be acquired" in message


def test_mistakes_in_our_code_are_not_blamed_on_the_store(tracker: Tracker) -> None:
    with pytest.raises(KeyError), tracker.store.reaching("testing"):
        raise KeyError("x")
