"""Feeding the run of a cell while it trains. A store that goes away never breaks a training."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping

from auglens.tracking.publish import LIVE, TRAINED, TRAINING, cell_runs, in_use, log_points, open_run
from auglens.tracking.records import CellIdentity, StoreUnavailable
from auglens.tracking.store import Store


class LiveFeed:
    """Takes the metrics of each epoch. Without a store, and after its first failure, it does nothing."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._run_id = ""

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """epoch: from 1. Undefined values are left out."""
        points = [(name, float(value), epoch) for name, value in metrics.items() if math.isfinite(value)]
        self._attempt(f"logging epoch {epoch}", lambda store: log_points(store, self._run_id, points))

    def open(self, cell: CellIdentity) -> None:
        """A run for `cell`, in place of what an interrupted training left."""
        self._attempt(f"opening the run of {cell.cell}", lambda store: self._open(store, cell))

    def close(self, *, ended_well: bool) -> None:
        """A run that ended well stays open until it is published, which completes it."""
        self._attempt("closing the run", lambda store: self._close(store, ended_well))

    def _open(self, store: Store, cell: CellIdentity) -> None:
        cell_key = cell.keys["cell_key"]
        for run in cell_runs(store, "cell_key", cell_key).get(cell_key, []):
            if run.info.status != "FINISHED" and not in_use(run):
                store.client.delete_run(run.info.run_id)
        self._run_id = str(open_run(store, cell, {LIVE: TRAINING}).info.run_id)

    def _close(self, store: Store, ended_well: bool) -> None:
        if ended_well:
            store.client.set_tag(self._run_id, LIVE, TRAINED)
        else:
            store.client.set_terminated(self._run_id, "FAILED")

    def _attempt(self, doing: str, action: Callable[[Store], None]) -> None:
        if self._store is None:
            return
        try:
            with self._store.reaching(doing):
                action(self._store)
        except StoreUnavailable as error:
            self._store = None
            warnings.warn(f"live tracking is off for the rest of this training: {error}", stacklevel=3)


@contextlib.contextmanager
def live(store: Store | None, cell: CellIdentity) -> Iterator[LiveFeed]:
    """A feed for the block in which `cell` trains; its run is marked as failed if the block raises."""
    feed = LiveFeed(store)
    feed.open(cell)
    try:
        yield feed
    except BaseException:
        feed.close(ended_well=False)
        raise
    feed.close(ended_well=True)
