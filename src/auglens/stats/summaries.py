"""Tables over images and over seeds: distributions of metrics, performance of models, extreme images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from auglens.metrics.performance import SCORES, classification_scores
from auglens.metrics.segmentation import SEGMENTATION
from auglens.stats.grid import CELL, codes_of
from auglens.stats.seeds import CONTROLS, REFERENCE, images_by_aug, metrics_of

DESCRIBED = ("mean", "sd", "median", "q25", "q75", "n")


def describe(values: Any) -> dict[str, float]:
    """mean, sd (n − 1 below; NaN with one value), median, q25, q75 and n of the finite values."""
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    names = DESCRIBED[:-1]
    if len(finite) == 0:
        return {**dict.fromkeys(names, float("nan")), "n": 0}
    q25, median, q75 = np.percentile(finite, [25, 50, 75])
    sd = finite.std(ddof=1) if len(finite) > 1 else float("nan")
    found = (finite.mean(), sd, median, q25, q75)
    return {**{name: float(value) for name, value in zip(names, found, strict=True)}, "n": len(finite)}


def metric_summary(averaged: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, metric) of a table made by `average_seeds`.

    Columns aug, metric, mean, sd, median, q25, q75 over images, n = images with a finite value, seeds_min and
    seeds_max = the least and the most seeds behind one of those (0 where n is 0).
    """
    rows = []
    for aug, group in averaged.groupby("aug", sort=False):
        for metric in metrics_of(averaged):
            seeds = group.loc[np.isfinite(group[metric]), f"{metric}_seeds"]
            least, most = (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)
            row = {
                "aug": aug,
                "metric": metric,
                **describe(group[metric]),
                "seeds_min": least,
                "seeds_max": most,
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=["aug", "metric", *DESCRIBED, "seeds_min", "seeds_max"])


def seed_spread(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per (aug, metric): sd over seeds of the mean over images, NaN with one, and the replicates.

    table: distinct replicates, one row per (aug, seed, image); the reference's own rows are left out.
    """
    rows = table.loc[table["aug"] != REFERENCE, [*CELL, *metrics]]
    codes, cells = codes_of(rows, CELL)
    index = (
        pd.MultiIndex.from_tuples(cells, names=CELL) if cells else pd.MultiIndex.from_product([[], []], names=CELL)
    )
    values = rows[list(metrics)]
    means = values.where(np.isfinite(values)).groupby(codes).mean().set_axis(index)
    found = []
    for aug, group in means.groupby("aug", sort=False):
        finite = group.notna().sum()
        found += [(aug, metric, group[metric].std(ddof=1), int(finite[metric])) for metric in metrics]
    return pd.DataFrame(found, columns=["aug", "metric", "sd", "replicates"])


def score_names(table: pd.DataFrame) -> tuple[str, ...]:
    """Which scores a table of `performance` has: a classification's or a segmentation's."""
    return (*SEGMENTATION, "found") if set(SEGMENTATION) <= set(table) else SCORES


def performance(table: pd.DataFrame, classes: int) -> pd.DataFrame:
    """One row per cell, the reference's included: aug, seed, images, then `classification_scores`; where the table
    has those of a segmentation, their means over the images where they are defined, and found: the share of right
    images.

    table: rows per (aug, seed, image) with integer columns label and predicted. Cells in table order.
    """
    rows: list[dict[str, Any]] = []
    if set(SEGMENTATION) <= set(table):
        for (aug, seed), group in table[[*CELL, *SEGMENTATION, "correct"]].groupby(CELL, sort=False):
            means = {name: group[name].mean() for name in SEGMENTATION}
            rows.append(
                {"aug": aug, "seed": seed, "images": len(group), **means, "found": group["correct"].mean()}
            )
        return pd.DataFrame(rows)
    for (aug, seed), group in table[[*CELL, "label", "predicted"]].groupby(CELL, sort=False):
        scores = classification_scores(group["label"].to_numpy(), group["predicted"].to_numpy(), classes)
        rows.append({"aug": aug, "seed": seed, "images": len(group), **scores})
    return pd.DataFrame(rows)


def performance_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, score) of `performance`: mean, sd, min, max over seeds, and replicates (how many).

    Give it `distinct_replicates`' rows: equal checkpoints are one replicate. sd is NaN with one.
    """
    rows = []
    for aug, group in scores.groupby("aug", sort=False):
        for score in score_names(scores):
            finite = group[score].dropna()
            row = {"aug": aug, "score": score, "mean": finite.mean(), "sd": finite.std(ddof=1)}
            rows.append({**row, "min": finite.min(), "max": finite.max(), "replicates": len(finite)})
    return pd.DataFrame(rows)


def extremes(averaged: pd.DataFrame, metric: str) -> dict[str, int | None]:
    """{"highest_mean", "highest_std"}: the test image with the highest mean / sd of the metric over the augs.

    Only images with a finite value for every aug compete; controls are left out; the lowest image index wins
    a tie. None where no image competes, and for highest_std with fewer than two augs.
    Source: appendix A of the augmentation study.
    """
    augs = averaged.loc[~averaged["aug"].isin([*CONTROLS, REFERENCE])]
    wide = images_by_aug(augs, metric).dropna(how="any")
    if wide.empty:
        return {"highest_mean": None, "highest_std": None}
    images, values = wide.index.to_numpy(), wide.to_numpy(dtype=np.float64)
    several = values.shape[1] > 1
    return {
        "highest_mean": int(images[values.mean(axis=1).argmax()]),
        "highest_std": int(images[values.std(axis=1).argmax()]) if several else None,
    }
