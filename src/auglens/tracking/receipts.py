"""Knowing without MLflow, whose import takes longer than all else, that a store still has all it was given.

Only of a SQLite file: its header counts the transactions, whoever made them. Any other store is asked each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auglens.artifacts import hash_values, save_json
from auglens.tracking.records import CellRecord, Published
from auglens.tracking.store import sqlite_path

HEADER = 100  # bytes
VERSIONS = slice(18, 20)  # 2 in write-ahead mode, in which the counter of changes may stand still


@dataclass(frozen=True)
class Receipt:
    """In `path`: what the store at `uri` was given. told: JSON values that name all of it."""

    path: Path
    uri: str
    told: object

    @property
    def key(self) -> str:
        return hash_values([self.uri, self.told])

    def state(self) -> str | None:
        """Of the store's database: equal states, no change between. None where only the store itself can tell."""
        database = sqlite_path(self.uri)
        if database is None or not database.is_file():
            return None
        with database.open("rb") as file:
            header = file.read(HEADER)
        return header.hex() if max(header[VERSIONS], default=2) == 1 else None

    def holds(self) -> bool:
        """Whether the store is as it was left, with every artefact still there in its size."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            state, files = self.state(), found["files"].items()
            if state is None or [found["key"], found["state"]] != [self.key, state]:
                return False
            return all(Path(name).stat().st_size == size for name, size in files)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False  # lost or damaged: the store is asked

    def write(self, state: str | None, records: Sequence[CellRecord], published: Sequence[Published]) -> None:
        """state: taken after publishing and before what was then found, so that a change meanwhile shows."""
        folders = [one.folder for one in published]
        if state is None or None in folders:
            self.path.unlink(missing_ok=True)
            return
        files: Mapping[str, int] = {
            str(folder / name): local.stat().st_size
            for record, folder in zip(records, folders, strict=True)
            for name, local in record.artifacts.items()
            if folder is not None
        }
        save_json(self.path, {"key": self.key, "state": state, "files": files})
