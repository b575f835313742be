"""The record of every run: `Tracker` on an MLflow store, `NullTracker` on none."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auglens.tracking import live as feeding
from auglens.tracking.publish import Complete, cell_runs, found_run, log_files, log_points, publish_all
from auglens.tracking.records import (
    PREFIX,
    CellIdentity,
    CellRecord,
    FoundRun,
    Published,
    StoreUnavailable,
    safe_artifact,
)
from auglens.tracking.store import Store, open_store, store_uri

PARENT = "MLFLOW_RUN_ID"  # the run that `mlflow run` opened; every child process would write into it
TAG_CHARACTERS = 8000  # MLflow cuts longer ones


@dataclass(frozen=True)
class Tracker:
    """A store that answers. As a context manager it gives MLFLOW_RUN_ID back at the end."""

    store: Store
    parent: str | None

    @classmethod
    def connect(cls, uri: str | None, experiment: str, root: Path) -> Tracker:
        """Opens `uri`, else MLFLOW_TRACKING_URI, else `root`/mlflow.db, and makes what is not there yet.

        root: the repository, as DVC_ROOT names it. Raises StoreUnavailable.
        """
        store = open_store(store_uri(uri, root), experiment, root)
        return cls(store, os.environ.pop(PARENT, None))

    @classmethod
    def connect_or_null(cls, uri: str | None, experiment: str, root: Path) -> Tracker | NullTracker:
        """For a training that feeds its run: warns where the store is away, and returns a tracker of none."""
        try:
            return cls.connect(uri, experiment, root)
        except StoreUnavailable as error:
            warnings.warn(f"live tracking is off: {error}", stacklevel=2)
            return NullTracker()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.parent is not None:
            os.environ[PARENT] = self.parent

    def publish(self, record: CellRecord) -> Published:
        return publish_all(self.store, [record])[0]

    def publish_all(self, records: Sequence[CellRecord], complete: Complete | None = None) -> list[Published]:
        """One finished run per record, in order; equal records write nothing again.

        complete: gives those records that have to be written, and only those, with what they still lack, in order.
        """
        return publish_all(self.store, records, complete)

    def query(self, study_key: str) -> list[FoundRun]:
        """Every finished run of the study by (aug, seed); of several runs of one cell the earliest."""
        with self.store.reaching("querying the runs of this study"):
            cells = cell_runs(self.store, "study_key", study_key, finished=True)
        runs = [found_run(runs[0]) for runs in cells.values()]
        return sorted(runs, key=lambda run: (run.aug, run.seed, run.keys["cell_key"]))

    def fetch(self, run: FoundRun, artifact: str, destination: Path) -> Path:
        """The run's file `artifact` at `destination`, whole or not at all; what is in it is not checked.

        Raises ValueError where the store has no such file, StoreUnavailable where it does not answer.
        """
        safe_artifact(artifact)
        destination.parent.mkdir(parents=True, exist_ok=True)
        client = self.store.client
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=destination.parent) as folder:
            try:
                with self.store.reaching(f"fetching {artifact} of {run.cell}"):
                    fetched = Path(client.download_artifacts(run.run_id, artifact, folder))
            except StoreUnavailable:
                with self.store.reaching(f"fetching {artifact} of {run.cell}"):
                    client.get_run(run.run_id)
                fetched = Path(folder, "absent")
            if not fetched.is_file():
                raise ValueError(
                    f"MLflow run {run.run_id} ({run.cell}): expected a file {artifact}, got none; delete "
                    "that run in MLflow and run `auglens collect` where the cell's files are"
                )
            fetched.replace(destination)
        return destination

    def live(self, cell: CellIdentity) -> contextlib.AbstractContextManager[feeding.LiveFeed]:
        """A feed for the epochs of `cell`, whose run `publish` completes. It warns once and never raises."""
        return feeding.live(self.store, cell)

    def summarise(
        self,
        *,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, Path],
        cells: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        """Writes the study's summary into the run that `mlflow run` opened; False where there is none.

        cells: name -> run id, for the tag `auglens.cells`, links in the run's description and `cells.json`.
        """
        if self.parent is None:
            return False
        for artifact in artifacts:
            safe_artifact(artifact)
        own = {
            PREFIX + "cells": _fitting(list(cells), ",", TAG_CHARACTERS),
            "mlflow.note.content": self._note(cells),
        }
        own |= {PREFIX + name: value for name, value in (tags or {}).items()}
        points = [(name, float(value), 0) for name, value in metrics.items() if float(value) - float(value) == 0]
        with (
            self.store.reaching("writing the summary of `mlflow run`"),
            tempfile.TemporaryDirectory() as folder,
        ):
            listing = Path(folder, "cells.json")
            listing.write_text(json.dumps(dict(cells), indent=2) + "\n", encoding="utf-8")
            log_points(self.store, self.parent, points, tags=own)
            log_files(self.store, self.parent, {**artifacts, "cells.json": listing})
        return True

    def _note(self, cells: Mapping[str, str]) -> str:
        base = self.store.uri.rstrip("/") + "/" if self.store.uri.startswith("http") else ""
        runs = f"{base}#/experiments/{self.store.experiment_id}/runs"
        head = f"The study's {len(cells)} cells, a run each (all of them in `cells.json`):\n\n"
        lines = [f"* [{cell}]({runs}/{run_id})" for cell, run_id in cells.items()]
        return head + _fitting(lines, "\n", TAG_CHARACTERS - len(head))


@dataclass(frozen=True)
class NullTracker:
    """The same interface on no store: publishes nothing, finds nothing."""

    parent: str | None = None

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def publish(self, record: CellRecord) -> Published:
        return Published(record.cell, "", "off")

    def publish_all(self, records: Sequence[CellRecord], complete: Complete | None = None) -> list[Published]:
        return [self.publish(record) for record in records]

    def query(self, study_key: str) -> list[FoundRun]:
        return []

    def fetch(self, run: FoundRun, artifact: str, destination: Path) -> Path:
        raise ValueError(
            f"MLflow run {run.run_id} ({run.cell}): expected a store to fetch from, got none; connect to one"
        )

    def live(self, cell: CellIdentity) -> contextlib.AbstractContextManager[feeding.LiveFeed]:
        return feeding.live(None, cell)

    def summarise(
        self,
        *,
        metrics: Mapping[str, float],
        artifacts: Mapping[str, Path],
        cells: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
    ) -> bool:
        return False


def _fitting(parts: Sequence[str], separator: str, limit: int) -> str:
    """As many whole parts as fit into `limit` characters; an ellipsis stands for the others."""
    text = separator.join(parts)
    if len(text) <= limit:
        return text
    kept = text[: limit - len(separator) - 1].rpartition(separator)[0]
    return f"{kept}{separator}…"
