"""The metrics apart for images that both models, one of them or neither got right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from auglens.stats.seeds import REFERENCE
from auglens.stats.summaries import DESCRIBED, describe

SEGMENTS = ("both right", "one right", "both wrong")


def segments(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `segment`: one of SEGMENTS, missing in the reference's own rows.

    table: rows per (aug, seed, image) with columns correct and reference_correct.
    Source: appendix C of the augmentation study.
    """
    right = table["correct"].astype("boolean").astype("Int64") + table["reference_correct"].astype(
        "boolean"
    ).astype("Int64")
    right = right.mask(table["aug"] == REFERENCE)
    names = right.map({2: SEGMENTS[0], 1: SEGMENTS[1], 0: SEGMENTS[2]})
    return table.assign(segment=names.astype("str").where(right.notna()))


def segment_values(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per (aug, image, segment): mean of each metric over the seeds that put the image there.

    table: rows per (aug, seed, image), `segments` applied or not. Seeds may disagree about an image; it then
    has a row in two segments. Columns aug, segment, image, seeds (int64), then the metrics (NaN where none of
    those seeds has a finite value). Augs in table order, segments in theirs, images ascending.
    """
    rows = table if "segment" in table.columns else segments(table)
    rows = rows.loc[rows["segment"].notna(), ["aug", "segment", "image", "seed", *metrics]]
    augs = list(rows["aug"].unique())
    rows = rows.sort_values("seed", kind="stable").replace([np.inf, -np.inf], np.nan)
    rows = rows.assign(
        aug=pd.Categorical(rows["aug"], augs), segment=pd.Categorical(rows["segment"], list(SEGMENTS))
    )
    groups = rows.groupby(["aug", "segment", "image"], sort=True, observed=True)
    values = groups[list(metrics)].mean()
    values.insert(0, "seeds", groups["seed"].nunique())
    return values.reset_index().astype({"aug": "str", "segment": "str"})


def segment_summary(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per (aug, segment): images, then mean, sd, median, q25, q75, n over `segment_values`.

    images counts the images in the segment, n those with a finite value. A segment without images has a row.
    """
    values = segment_values(table, [metric])
    rows = []
    for aug in values["aug"].unique():
        for segment in SEGMENTS:
            chosen = values.loc[(values["aug"] == aug) & (values["segment"] == segment), metric]
            rows.append({"aug": aug, "segment": segment, "images": len(chosen), **describe(chosen)})
    return pd.DataFrame(rows, columns=["aug", "segment", "images", *DESCRIBED])
