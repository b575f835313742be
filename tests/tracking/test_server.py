"""A real MLflow server on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from auglens.tracking import CellRecord, StoreUnavailable, Tracker

START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(root: Path, port: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += [
        "--backend-store-uri",
        f"sqlite:///{root}/mlflow.db",
        "--artifacts-destination",
        f"{root}/served",
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (root / "server.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=root, env=environment, start_new_session=True)


def wait(server: subprocess.Popen[bytes], root: Path, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start: {(root / 'server.log').read_text()}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """With its workers, which are in a process group of their own with it."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def test_publish_query_fetch_and_a_server_that_goes_away(
    migrated: Path, tmp_path: Path, make_record: Callable[..., CellRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, port = tmp_path / "server", free_port()
    root.mkdir()
    shutil.copy(migrated, root / "mlflow.db")
    server = start(root, port)
    try:
        wait(server, root, port)
        uri = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        tracker = Tracker.connect(None, "auglens", tmp_path)
        records = [make_record("noise-1"), make_record("noise-2", curves={"train_loss": [1 / 3] * 1200})]
        with tracker.live(records[0]) as feed:
            feed.log(1, {"train_loss": 2.25})
        assert [entry.outcome for entry in tracker.publish_all(records)] == ["completed", "created"]
        assert [entry.outcome for entry in tracker.publish_all(records)] == ["unchanged", "unchanged"]
        first, second = tracker.query(records[0].keys["study_key"])
        assert (first.cell, second.cell) == ("noise-1", "noise-2")
        assert first.metrics["pearson"] == 1 / 3
        assert len(tracker.store.client.get_metric_history(second.run_id, "train_loss")) == 1200
        assert tracker.fetch(second, "maps/raw.npz", tmp_path / "raw.npz").read_bytes() == b"rawnoise-2"
        with pytest.raises(
            ValueError, match=f"MLflow run {first.run_id} .noise-1.: expected a file maps/other.npz"
        ):
            tracker.fetch(first, "maps/other.npz", tmp_path / "other.npz")
        assert not (tmp_path / "mlartifacts").exists()  # the server keeps the files
    finally:
        stop(server)

    away = "connection refused; start that server or unset MLFLOW_TRACKING_URI, then run `auglens collect`"
    attempts: dict[str, Callable[[], object]] = {
        "opening it": lambda: Tracker.connect(None, "auglens", tmp_path),
        "looking for the runs of this study": lambda: tracker.publish(records[0]),
        "querying the runs of this study": lambda: tracker.query("study"),
        "fetching card.json of noise-1": lambda: tracker.fetch(first, "card.json", tmp_path / "card.json"),
    }
    for doing, attempt in attempts.items():
        with pytest.raises(StoreUnavailable) as caught:
            attempt()
        assert str(caught.value) == f"MLflow store {uri}: {doing} failed: {away}"
    assert not (tmp_path / "card.json").exists()
