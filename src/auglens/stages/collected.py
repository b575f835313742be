"""What `collect` left, as `compare` and `analyse` use it; and how both write their tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from auglens import artifacts, config, stats
from auglens.config import REFERENCE
from auglens.stages import layout
from auglens.stages.drawing import Drawing, draw

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
    table = artifacts.load_table(layout.PER_IMAGE, needed, beside=[*every, *others, *OF_IMAGES])
    checkpoints = {(row["aug"], row["seed"]): row["checkpoint_sha256"] for row in study["cells"]}
    for name in (*every, *AGAINST_REFERENCE):
        if name not in table:  # a study of the reference alone compares nothing
            table[name] = float("nan")
    table = stats.flag_maps(stats.distinct_replicates(table, checkpoints))
    told = {name: study[name] for name in ("metrics", "further", "closer", "overlap", "variant", "absent")}
    return Collected(table, cells=len(study["cells"]), **told)


def load_maps(aug: str, seed: int) -> artifacts.Maps:
    name = REFERENCE if aug == REFERENCE else f"{aug}-{seed}"
    return artifacts.load_maps(layout.STUDY_MAPS / f"{name}.npz")


def write(folder: Path, tables: Mapping[str, pd.DataFrame], drawings: Mapping[str, Drawing]) -> None:
    """Tables as CSV, figures in `figures/` with their alt texts."""
    for name, table in tables.items():
        artifacts.save_table(folder / (name if name.endswith(".csv") else f"{name}.csv"), table)
    artifacts.save_json(folder / "figures" / "alt.json", draw(folder / "figures", drawings))
