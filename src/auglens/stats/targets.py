"""Predicted against true target: do the metrics change when the maps explain the label, not the prediction?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Floats
from auglens.stats.correlation import LEAST_IMAGES
from auglens.stats.divergence import with_correctness
from auglens.stats.floor import IMAGES_AND_SEEDS, IMAGES_ONLY, seed_means, spread

PREDICTED, TRUE = "predicted", "true"
TARGETS = [
    "aug", "metric", "predicted", "true", "difference", "low", "high", "images_changed", "pearson", "images",
    "seeds", "covers",
]  # fmt: skip


def target_table(
    table: pd.DataFrame, metrics: Sequence[str], weights: NDArray[np.int32], confidence: float, *, other: str
) -> pd.DataFrame:
    """One row per (aug, metric): means under both targets, predicted − true with its interval.

    table: distinct replicates with columns correct, reference_correct, each metric and `{other}_{metric}`; other:
    the target, `true` or `predicted`, of the columns with a prefix. Metrics without such a column are left out.
    Both means, their difference and pearson (over images, of the two variants' seed means; NaN with fewer than
    three images or a constant side) use the maps on which both variants are defined; images: how many have one.
    images_changed: share of images on which the two targets differ in the aug's model or the reference, mean over
    models. Empty, with the reason in attrs["why"], where no metric has both columns.
    ValueError where `other` is no target.
    """
    if other not in (PREDICTED, TRUE):
        raise ValueError(f"other: expected {PREDICTED} or {TRUE}, got {other}; pass the prefix of the columns")
    both = [metric for metric in metrics if metric in table.columns and f"{other}_{metric}" in table.columns]
    if not both:
        found = pd.DataFrame(columns=TARGETS)
        found.attrs["why"] = f"the table has no metric under the {other} target; explain both targets"
        return found
    cells = with_correctness(table, [name for metric in both for name in (metric, f"{other}_{metric}")])
    changed = _changed(cells.values["correct"], cells.values["reference_correct"])
    rows = []
    for metric in both:
        variants = (cells.values[metric], cells.values[f"{other}_{metric}"])
        predicted, true = variants if other == TRUE else variants[::-1]
        defined = np.isfinite(predicted) & np.isfinite(true)
        values = {
            PREDICTED: np.where(defined, predicted, np.nan),
            TRUE: np.where(defined, true, np.nan),
            "difference": np.where(defined, predicted - true, np.nan),
        }
        found_difference = spread(replace(cells, values=values), "difference", weights)
        low, high = found_difference.interval(confidence)
        for n, aug in enumerate(cells.augs):
            mine = cells.members(aug)
            averaged = pd.DataFrame({name: seed_means(values[name][mine]) for name in (PREDICTED, TRUE)})
            means = (averaged[PREDICTED].mean(), averaged[TRUE].mean(), found_difference.estimate[n])
            pearson = averaged[PREDICTED].corr(averaged[TRUE], min_periods=LEAST_IMAGES)
            covers = IMAGES_AND_SEEDS if np.isfinite(found_difference.variance[n]) else IMAGES_ONLY
            counts = (int(averaged[PREDICTED].notna().sum()), int(found_difference.replicates[n]), covers)
            rows.append((aug, metric, *means, low[n], high[n], _mean_of_models(changed[mine]), pearson, *counts))
    found = pd.DataFrame(rows, columns=TARGETS)
    return found.sort_values("aug", key=lambda augs: augs.map(cells.augs.index), kind="stable", ignore_index=True)


def _changed(now: Floats, before: Floats) -> Floats:
    """float64 [C, N]: 1 where the label is not what the model, or the reference, predicts; NaN where unknown."""
    known = np.isfinite(now) & np.isfinite(before)
    return np.where(known, (now != 1) | (before != 1), np.nan)


def _mean_of_models(changed: Floats) -> float:
    shares = [row[np.isfinite(row)].mean() for row in changed if np.isfinite(row).any()]
    return float(np.mean(shares)) if shares else float("nan")
