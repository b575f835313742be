"""The metrics apart for images that both models, one of them or neither got right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.grid import CELL, grid_of, mean_of_finite
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
    if "segment" in table.columns:
        which = pd.Categorical(table["segment"], list(SEGMENTS)).codes.astype(np.int64)
    else:
        which = _segment_codes(table)
    rows = table.loc[which >= 0, [*CELL, "image", *metrics]]
    grid = grid_of(rows)
    segment = np.full(grid.shape, -1, dtype=np.int64)
    segment.ravel()[grid.place] = which[which >= 0]
    members = grid.members()
    augs = list(members)
    there = {aug: segment[None, members[aug]] == np.arange(len(SEGMENTS))[:, None, None] for aug in augs}
    seeds = np.stack([there[aug].sum(1) for aug in augs]) if augs else np.zeros((0, len(SEGMENTS), 0), np.int64)
    place, part, image = np.nonzero(seeds)
    values = {
        "aug": pd.Series(augs, dtype="str").take(place).reset_index(drop=True),
        "segment": pd.Series(SEGMENTS, dtype="str").take(part).reset_index(drop=True),
        "image": grid.images[image],
        "seeds": seeds[place, part, image].astype(np.int64),
    }
    for metric in metrics:
        spread = grid.spread(rows[metric])
        means = [
            mean_of_finite(np.where(one, spread[members[aug]], np.nan))[0] for aug in augs for one in there[aug]
        ]
        values[metric] = np.reshape(means, seeds.shape)[place, part, image].astype(np.float64)
    return pd.DataFrame(values)


def _segment_codes(table: pd.DataFrame) -> NDArray[np.int64]:
    """int64 [rows]: place in SEGMENTS, −1 in the reference's own rows and where a correctness is missing."""
    right = np.zeros(len(table))
    for name in ("correct", "reference_correct"):
        column = table[name]
        plain = column.dtype == np.bool_
        right += column if plain else column.astype("boolean").to_numpy(dtype=np.float64, na_value=np.nan)
    known = np.isfinite(right) & (table["aug"] != REFERENCE).to_numpy()
    return np.where(known, len(SEGMENTS) - 1 - np.where(known, right, 0), -1).astype(np.int64)


def segment_summary(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per (aug, segment): images, then mean, sd, median, q25, q75, n over `segment_values`.

    images counts the images in the segment, n those with a finite value. A segment without images has a row.
    """
    return summarise_segments(segment_values(table, [metric]), metric)


def summarise_segments(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`segment_summary` of a table that `segment_values` has made, of this metric and perhaps others."""
    column = values[metric].to_numpy()
    found = values.groupby(["aug", "segment"], sort=False).indices
    rows = []
    for aug in values["aug"].unique():
        for segment in SEGMENTS:
            chosen = column[found.get((aug, segment), [])]
            rows.append({"aug": aug, "segment": segment, "images": len(chosen), **describe(chosen)})
    return pd.DataFrame(rows, columns=["aug", "segment", "images", *DESCRIBED])
