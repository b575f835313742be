"""The pictures of cells that are about to be published, drawn by processes of their own while MLflow writes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from auglens import artifacts
from auglens.metrics import confusion_matrix
from auglens.metrics.threads import available_threads
from auglens.stages.processes import deaf_to_interrupts

CURVES, CONFUSION = "curves.png", "confusion.png"
AT_ONCE = 8  # cells that a process is given
LEAST_EACH = 24  # cells a process: below, they are drawn before it has begun


class Cell(NamedTuple):
    """A cell to draw: its per-image table and training report, and the folder for its pictures."""

    name: str
    aug: str
    seed: int
    table: Path
    report: Path
    folder: Path


def draw(cells: Sequence[Cell], classes: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Picture's name → its file, cell by cell in their order, each as soon as it is drawn."""
    parts = [(cells[at : at + AT_ONCE], tuple(classes)) for at in range(0, len(cells), AT_ONCE)]
    processes = min(available_threads() - 1, len(cells) // LEAST_EACH)
    if processes < 1:
        for part in parts:
            yield from _draw(*part)
        return
    # Spawned, not forked: the threads of MLflow and pyarrow do not survive a fork.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        with deaf_to_interrupts():
            drawing = pool.map(_draw, *zip(*parts, strict=True))
        for drawn in drawing:
            yield from drawn
    finally:
        pool.shutdown(cancel_futures=True)


@functools.cache
def _printer(classes: tuple[str, ...]):  # type: ignore[no-untyped-def]
    from auglens.figures import CellPictures  # matplotlib: only where something is drawn

    return CellPictures(classes)


def _draw(cells: Sequence[Cell], classes: tuple[str, ...]) -> list[dict[str, Path]]:
    printer, found = _printer(classes), []
    for cell in cells:
        table = artifacts.load_table(cell.table, ("label", "predicted"), beside=())
        history = pd.DataFrame(artifacts.load_json(cell.report)["epochs"]).assign(aug=cell.aug, seed=cell.seed)
        matrix = confusion_matrix(table["label"].to_numpy(), table["predicted"].to_numpy(), len(classes))
        drawn = {CURVES: printer.curves(history), CONFUSION: printer.confusion(matrix, cell.name)}
        for name, pixels in drawn.items():
            artifacts.save_picture(cell.folder / name, pixels)
        found.append({name: cell.folder / name for name in drawn})
    return found
