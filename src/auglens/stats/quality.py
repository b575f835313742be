"""How good the explanations are: scores per image → per model → per aug, beside the trivial explanations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auglens.stats.scores import EXPLANATION

# Of every score per image whether more is better. Definitions: docs/metrics.md.
HIGHER_IS_BETTER = {name: not score.lower for name, score in EXPLANATION.items() if name != "sanity"}
COLUMNS = ["aug", "method", "score", "mean", "sd", "models", "images", "undefined"]


def scores_by_model(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, seed, method, score): mean over its finite images, their number, and the others'.

    scores: columns aug, seed, method, image and some of `HIGHER_IS_BETTER`, a row per image; distinct replicates.
    """
    names = [name for name in scores if name in HIGHER_IS_BETTER]
    long = scores.melt(["aug", "seed", "method", "image"], names, "score", "value")
    long["value"] = long["value"].where(np.isfinite(long["value"].astype(np.float64)))
    groups = long.groupby(["aug", "seed", "method", "score"], sort=False)["value"]
    found = groups.agg(mean="mean", images="count", size="size").reset_index()
    return found.assign(undefined=found["size"] - found["images"]).drop(columns="size")


def score_table(models: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, method, score): mean and sd (n − 1; NaN with one) over its models of their means over
    images; models with a finite mean; images and undefined values of all of them together.

    models: `scores_by_model`'s rows.
    """
    groups = models.groupby(["aug", "method", "score"], sort=False)
    found = groups.agg(
        mean=("mean", "mean"), sd=("mean", "std"), models=("mean", "count"), images=("images", "sum"),
        undefined=("undefined", "sum"),
    ).reset_index()  # fmt: skip
    return found[COLUMNS]
