"""From one row per (aug, seed, image) to one per (aug, image): replicates, seed means, flags, counts.

Every `table` here: columns aug (str), seed (int), image (int), then one float64 column per metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

REFERENCE = "reference"
CONTROLS = ("identity", "noise", "reseed")
CELL = ["aug", "seed"]

# A raw map whose range is below this share of the study's median range is flat: rescaling to [0, 1] shows
# it in full contrast all the same.
FLAT_SHARE = 1e-6


def distinct_replicates(table: pd.DataFrame, checkpoints: Mapping[tuple[str, int], str]) -> pd.DataFrame:
    """Rows of one seed per distinct checkpoint of an aug, the lowest seed; rows and their order stay.

    table: any table with columns aug and seed. checkpoints: (aug, seed) → content hash, for every cell in the
    table but the reference's. Augs that draw nothing give the same model for every seed: one replicate.
    Raises ValueError where a cell has no hash.
    """
    kept: dict[tuple[str, str], int] = {}
    cells = table[CELL].drop_duplicates().sort_values(CELL)
    for aug, seed in cells[cells["aug"] != REFERENCE].itertuples(index=False):
        if (aug, seed) not in checkpoints:
            raise ValueError(f"checkpoints: no hash for cell {aug}-{seed}; add it or drop the cell's rows")
        kept.setdefault((aug, checkpoints[aug, seed]), seed)
    cells_kept = {(aug, seed) for (aug, _), seed in kept.items()}
    keep = [
        aug == REFERENCE or (aug, seed) in cells_kept
        for aug, seed in zip(table["aug"], table["seed"], strict=True)
    ]
    return table.loc[np.array(keep, dtype=bool)].reset_index(drop=True)


def average_seeds(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per (aug, image): the mean of each metric over its finite seed values, and their number.

    Columns aug, image, then each metric and `{metric}_seeds` (int64; 0 where the mean is NaN). Augs in the
    order of first appearance, images ascending; the reference, not compared with itself, is left out.
    Give it `distinct_replicates`' rows, so that equal models do not count twice.
    Raises ValueError where a cell has an image twice.
    """
    rows = table.loc[table["aug"] != REFERENCE, [*CELL, "image", *metrics]]
    twice = rows.duplicated([*CELL, "image"])
    if twice.any():
        aug, seed, image = rows.loc[twice, [*CELL, "image"]].iloc[0]
        raise ValueError(f"table: image {image} occurs twice in cell {aug}-{seed}; expected one row per image")
    order = {aug: place for place, aug in enumerate(rows["aug"].unique())}
    # Sorted by seed, the sums do not depend on the order of the rows to the last bit.
    rows = rows.sort_values("seed", kind="stable").replace([np.inf, -np.inf], np.nan)
    groups = rows.groupby(["aug", "image"], sort=True)[list(metrics)]
    means, counts = groups.mean(), groups.count()
    averaged = means.join(counts.add_suffix("_seeds")).reset_index()
    columns = [name for metric in metrics for name in (metric, f"{metric}_seeds")]
    averaged = averaged[["aug", "image", *columns]]
    place = averaged["aug"].map(order)
    return averaged.assign(place=place).sort_values(["place", "image"], ignore_index=True).drop(columns="place")


def metrics_of(averaged: pd.DataFrame) -> list[str]:
    """Names of the metrics of a table made by `average_seeds`."""
    return [name.removesuffix("_seeds") for name in averaged.columns if name.endswith("_seeds")]


def images_by_aug(averaged: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric of a table made by `average_seeds`: images × augs float64, infinite values as NaN.

    Images ascending, augs in table order; an (image, aug) without a row is NaN.
    """
    # pivot refuses a repeated (image, aug), pivot_table would average it without a word.
    wide = averaged.pivot(index="image", columns="aug", values=metric)
    wide = wide[list(averaged["aug"].unique())].sort_index()
    return wide.replace([np.inf, -np.inf], np.nan).rename_axis(index=None, columns=None)


def flag_maps(table: pd.DataFrame) -> pd.DataFrame:
    """The table with bool columns `flat` and `reference_flat`: a map that is almost uniform before scaling.

    Flat: raw_range < 1e-6 × the median of all finite raw_range values of the study (so give it the whole
    table, the reference's rows too). Flagged, never changed; a range of NaN is not flat but undefined.
    """
    ranges = table["raw_range"].to_numpy(dtype=np.float64)
    finite = ranges[np.isfinite(ranges)]
    limit = FLAT_SHARE * float(np.median(finite)) if len(finite) else 0.0
    reference = table["reference_raw_range"].to_numpy(dtype=np.float64)
    return table.assign(flat=ranges < limit, reference_flat=reference < limit)


def degenerate_counts(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per cell: how many of its maps say little, and how many values of each metric are undefined.

    Columns aug, seed, images, constant, flat, reference_constant, reference_flat, then `{metric}_undefined`
    (NaN or infinite); Int64, <NA> in the reference's row where nothing was compared. Cells in table order.
    """
    flagged = table if "flat" in table.columns else flag_maps(table)
    rows = flagged[CELL].assign(images=1)
    for name in ("constant", "flat", "reference_constant", "reference_flat"):
        rows[name] = flagged[name].astype("boolean").fillna(False).astype("int64")
    for metric in metrics:
        rows[f"{metric}_undefined"] = (~np.isfinite(flagged[metric].to_numpy(dtype=np.float64))).astype("int64")
    counts = rows.groupby(CELL, sort=False).sum().astype("Int64").reset_index()
    compared = ["reference_constant", "reference_flat", *(f"{metric}_undefined" for metric in metrics)]
    counts.loc[counts["aug"] == REFERENCE, compared] = pd.NA
    return counts
