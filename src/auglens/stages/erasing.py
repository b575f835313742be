"""What `compare` says of erased images and of saliency-driven augs: tables and figures of both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

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


def of_steps(curves: pd.DataFrame, prepared: artifacts.Prepared) -> Found:
    """What saliency-driven augs chose and made, step by step."""
    steps: dict[tuple[str, int], dict[int, tuple[artifacts.Array, artifacts.Array]]] = {}
    counts, made, rows = [], {}, None
    for aug, seed in curves[["aug", "seed"]].drop_duplicates().itertuples(index=False):
        path = layout.STEPS / f"{aug}-{seed}.npz"
        if not path.exists():
            continue
        names = ("epochs", "shape", "wrong", "considered", "flat")
        found = artifacts.load_arrays(path, names, beside=("made", "made_rows"))
        height, width = (int(side) for side in found["shape"])
        epochs = [int(epoch) for epoch in found["epochs"]]
        parts = artifacts.load_arrays(
            path, [f"{name}_{k}" for k in range(len(epochs)) for name in ("rows", "where")]
        )
        mine = {}
        for k, epoch in enumerate(epochs):
            bits = np.unpackbits(parts[f"where_{k}"], axis=1, count=height * width)
            mine[epoch] = (parts[f"rows_{k}"], bits.reshape(-1, height, width).astype(bool))
        steps[str(aug), int(seed)] = mine
        told = [
            {"epoch": epoch, "made": len(mine[epoch][0])}
            | {name: int(found[name][k]) for name in ("wrong", "considered", "flat")}
            for k, epoch in enumerate(epochs)
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
