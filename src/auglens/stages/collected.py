"""What `collect` left, as `compare` and `analyse` use it; and how both write their tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from auglens import artifacts, config, figures, stats
from auglens.config import REFERENCE
from auglens.metrics import SEGMENTATION
from auglens.metrics.threads import available_threads
from auglens.stages import layout
from auglens.stages.processes import deaf_to_interrupts

# A partial of a function of `figures`: what it is given goes to another process.
Drawing = Callable[[], Figure]
LEAST = 12  # figures: fewer are drawn before another process has begun
MOST_PROCESSES = 8  # of about 200 MB each
AGAINST_REFERENCE = ("reference_correct", "reference_constant", "reference_raw_range")
OF_IMAGES = ("correct", "constant", "raw_range", *AGAINST_REFERENCE)


@dataclass(frozen=True, eq=False)
class Collected:
    """The study. table: per (aug, seed, image), distinct replicates, flat maps flagged; metrics: the study's,
    further: those beside them; closer: metric → whether higher values mean more alike."""

    table: pd.DataFrame
    metrics: Sequence[str]
    further: Sequence[str]
    closer: Mapping[str, bool]
    overlap: Sequence[float]
    variant: str
    checkpoints: Mapping[tuple[str, int], str]  # (aug, seed) → content of every cell's checkpoint
    cells: int
    absent: Sequence[str]

    @property
    def every(self) -> list[str]:
        return [*self.metrics, *self.further]

    def models(self) -> list[tuple[str, int]]:
        """(aug, seed) of every distinct model, the reference among them, in table order."""
        return [(str(aug), int(seed)) for aug, seed in self.table[["aug", "seed"]].drop_duplicates().to_numpy()]


def load(*, other_target: bool = False) -> Collected:
    """other_target: with the metrics of the maps of the other target."""
    keys = ("metrics", "further", "closer", "overlap", "variant", "cells", "absent")
    study = artifacts.load_json(layout.RUNS, keys)
    every = [*study["metrics"], *study["further"]]
    other = config.other_variant(study["variant"]).rpartition("-")[2]
    others = [f"{other}_{name}" for name in every] if other_target else []
    needed = ("aug", "seed", "image", "label", "predicted")
    table = artifacts.load_table(layout.PER_IMAGE, needed, beside=[*every, *others, *OF_IMAGES, *SEGMENTATION])
    checkpoints = {(row["aug"], row["seed"]): row["checkpoint_sha256"] for row in study["cells"]}
    for name in (*every, *AGAINST_REFERENCE):
        if name not in table:  # a study of the reference alone compares nothing
            table[name] = float("nan")
    table = stats.flag_maps(stats.distinct_replicates(table, checkpoints))
    told = {name: study[name] for name in ("metrics", "further", "closer", "overlap", "variant", "absent")}
    return Collected(table, checkpoints=checkpoints, cells=len(study["cells"]), **told)


def load_maps(aug: str, seed: int) -> artifacts.Maps:
    name = REFERENCE if aug == REFERENCE else f"{aug}-{seed}"
    return artifacts.load_maps(layout.STUDY_MAPS / f"{name}.npz")


def write(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Tables as CSV."""
    for name, table in tables.items():
        artifacts.save_table(folder / f"{name}.csv", table)


class Drawings:
    """Figures on their way to `folder`/figures, drawn by processes of their own while this one goes on.

    matplotlib takes longer than all the statistics, and knows one core. The bytes do not depend on who draws.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "figures"
        self.held: dict[str, Drawing] = {}
        self.sent: dict[str, Future[str]] = {}
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Drawings:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def add(self, drawings: Mapping[str, Drawing]) -> None:
        """File's name → how to draw it; what is there already is not drawn again."""
        self.held |= {name: drawing for name, drawing in drawings.items() if name not in self.sent}
        cores = available_threads()
        if self.pool is None and cores > 1 and len(self.held) >= LEAST:
            # Spawned, not forked: the threads of pyarrow and BLAS do not survive a fork.
            self.pool = ProcessPoolExecutor(min(cores, MOST_PROCESSES), mp_context=get_context("spawn"))
        if self.pool is not None:
            with deaf_to_interrupts():
                for name, drawing in self.held.items():
                    self.sent[name] = self.pool.submit(_draw, self.folder / name, drawing)
            self.held.clear()

    def finish(self, names: Iterable[str]) -> None:
        """Waits for all, and writes their alt texts in the order of `names`."""
        told = {name: _draw(self.folder / name, drawing) for name, drawing in self.held.items()}
        told |= {name: found.result() for name, found in self.sent.items()}
        artifacts.save_json(self.folder / "alt.json", {name: told[name] for name in names})


def _draw(path: Path, drawing: Drawing) -> str:
    figure = drawing()
    artifacts.save_figure(path, figure)
    return figures.alt_text(figure)
