"""What `compare` says of erased images and of saliency-driven augs: tables and figures of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from auglens import artifacts, figures, stats
from auglens.config import REFERENCE
from auglens.stages import layout
from auglens.stages.collected import Drawing
from auglens.stats.control import IDENTITY

Found = tuple[dict[str, pd.DataFrame], dict[str, Drawing]]
SHEET_ROWS = 6


def of_robustness(checkpoints: Mapping[tuple[str, int], str]) -> Found:
    """How the models bear erased pixels, of distinct replicates."""
    frame = artifacts.load_table(layout.ROBUSTNESS, ("part", "image", "row", "column"))
    if not len(frame):
        return {}, {}
    frame = stats.distinct_replicates(frame, checkpoints)
    models = stats.robustness_by_model(frame)
    tables = {
        "robustness": stats.robustness_table(models),
        "robustness_models": models,
        "robustness_differences": pd.concat(
            [stats.paired_differences(models, one) for one in (REFERENCE, IDENTITY) if one in set(models["aug"])],
            ignore_index=True,
        ),
    }
    score = "dice" if "dice" in frame else "accuracy"
    where = stats.where_erasing_hurts(frame, score)
    tables["robustness_where"] = where
    part = "test" if (models["part"] == "test").any() else str(models["part"].iloc[0])
    shown, spots = models[models["part"] == part], where[where["part"] == part]
    drawings: dict[str, Drawing] = {
        "robustness.svg": partial(figures.robustness_dots, shown),
        "erasing.svg": partial(figures.erasing_maps, spots, score),
    }
    return tables, drawings


class Steps(Mapping[int, tuple[artifacts.Array, artifacts.Array]]):
    """Epoch → (rows int64 [M], the pixels chosen bool [M,H,W]) of a cell, read when asked for: of all steps of all
    cells together there may be tens of GB."""

    def __init__(self, path: Path, found: Mapping[str, artifacts.Array]) -> None:
        self.path, self.shape = path, tuple(int(side) for side in found["shape"])
        self.places = {int(epoch): place for place, epoch in enumerate(found["epochs"])}

    def __iter__(self) -> Iterator[int]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, epoch: int) -> artifacts.Array:
        name = f"rows_{self.places[epoch]}"
        return artifacts.load_arrays(self.path, (name,))[name]

    def __getitem__(self, epoch: int) -> tuple[artifacts.Array, artifacts.Array]:
        name = f"where_{self.places[epoch]}"
        packed = artifacts.load_arrays(self.path, (name,))[name]
        bits = np.unpackbits(packed, axis=1, count=self.shape[0] * self.shape[1])
        return self.rows(epoch), bits.view(bool).reshape(-1, *self.shape)


def of_steps(
    curves: pd.DataFrame, checkpoints: Mapping[tuple[str, int], str], prepared: artifacts.Prepared
) -> Found:
    """What saliency-driven augs chose and made, step by step, of distinct replicates."""
    curves = stats.distinct_replicates(curves, checkpoints)
    steps: dict[tuple[str, int], Steps] = {}
    counts, made, rows = [], {}, None
    for aug, seed in curves[["aug", "seed"]].drop_duplicates().itertuples(index=False):
        path = layout.STEPS / f"{aug}-{seed}.npz"
        if not path.exists():
            continue
        names = ("epochs", "shape", "wrong", "considered", "flat")
        found = artifacts.load_arrays(path, names, beside=("made", "made_rows"))
        mine = steps[str(aug), int(seed)] = Steps(path, found)
        told = [
            {"epoch": epoch, "made": len(mine.rows(epoch)), "wrong": None if wrong < 0 else int(wrong)}
            | {name: int(found[name][place]) for name in ("considered", "flat")}
            for (epoch, place), wrong in zip(mine.places.items(), found["wrong"], strict=True)
        ]
        counts.append({"aug": str(aug), "seed": int(seed), "steps": told})
        if str(aug) not in made and "made" in found and len(found["made"]):
            made[str(aug)] = (found["made_rows"], found["made"])
    if not steps:
        return {}, {}
    iou = stats.window_iou(steps)
    tables = {"windows": iou, "steps": stats.step_counts(counts)}
    score = "dice" if "validation_dice" in curves else "accuracy"
    dates = sorted({epoch for mine in steps.values() for epoch in mine})
    shown = curves[curves["aug"].isin([*{aug for aug, _ in steps}, "reference", "identity"])]
    drawings: dict[str, Drawing] = {
        "convergence.svg": partial(figures.convergence, shown, score, dates[0], steps=dates)
    }
    if iou["iou"].notna().any():
        drawings["windows.svg"] = partial(figures.iou_matrices, iou)
    for aug, (rows, images) in made.items():
        some = slice(0, SHEET_ROWS)
        originals = np.asarray(prepared.images[prepared.train[rows[some]]])
        titles = [f"image {row}" for row in rows[some]]
        label = {figures.aug_label(aug): images[some]}
        drawings[f"made/{aug}.png"] = partial(figures.step_sheet, originals, label, titles)
    return tables, drawings
