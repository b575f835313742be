"""From one row per (aug, seed, image) to one per (aug, image): replicates, seed means, flags, counts.

Every `table` here: columns aug (str), seed (int), image (int), then one float64 column per metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from auglens.stats.grid import CELL, codes_of, grid_of, mean_of_finite

REFERENCE = "reference"
CONTROLS = ("identity", "noise", "reseed")
WITHOUT_SECOND_HALF = (REFERENCE, "reseed")  # half as many gradient steps as every aug

# A raw map whose range is below this share of the study's median range is flat: rescaling to [0, 1] shows
# it in full contrast all the same.
FLAT_SHARE = 1e-6


def distinct_replicates(table: pd.DataFrame, checkpoints: Mapping[tuple[str, int], str]) -> pd.DataFrame:
    """Rows of one seed per distinct checkpoint of an aug, the lowest seed; rows and their order stay.

    table: any table with columns aug and seed. checkpoints: (aug, seed) → content hash, for every cell in the
    table but the reference's. Augs that draw nothing give the same model for every seed: one replicate.
    Raises ValueError where a cell has no hash.
    """
    codes, cells = codes_of(table, CELL)
    kept: dict[tuple[str, str], int] = {}
    for aug, seed in sorted(cell for cell in cells if cell[0] != REFERENCE):
        if (aug, seed) not in checkpoints:
            raise ValueError(f"checkpoints: no hash for cell {aug}-{seed}; add it or drop the cell's rows")
        kept.setdefault((aug, checkpoints[aug, seed]), seed)
    cells_kept = {(aug, seed) for (aug, _), seed in kept.items()}
    keep = np.array([cell[0] == REFERENCE or cell in cells_kept for cell in cells], dtype=bool)
    return table.reset_index(drop=True) if keep.all() else table[keep[codes]].reset_index(drop=True)


def average_seeds(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per (aug, image): the mean of each metric over its finite seed values, and their number.

    Columns aug, image, then each metric and `{metric}_seeds` (int64; 0 where the mean is NaN). Augs in the
    order of first appearance, images ascending; the reference, not compared with itself, is left out.
    Give it `distinct_replicates`' rows, so that equal models do not count twice.
    Raises ValueError where a cell has an image twice.
    """
    rows = table.loc[table["aug"] != REFERENCE, [*CELL, "image", *metrics]]
    grid = grid_of(rows)
    members = grid.members()
    augs = list(members)
    here = grid.present()
    there = np.array([here[members[aug]].any(0) for aug in augs], dtype=bool).reshape(len(augs), len(grid.images))
    place, image = np.nonzero(there)
    values: dict[str, Any] = {"aug": pd.Series(augs, dtype=table["aug"].dtype).take(place).reset_index(drop=True)}
    values |= {"image": grid.images[image]}
    for metric in metrics:
        spread = grid.spread(rows[metric])
        found = [mean_of_finite(spread[members[aug]]) for aug in augs]
        means, counts = (np.stack(part) for part in zip(*found, strict=True)) if found else (there, there)
        values |= {metric: means[there].astype(np.float64), f"{metric}_seeds": counts[there].astype(np.int64)}
    return pd.DataFrame(values)


def metrics_of(averaged: pd.DataFrame) -> list[str]:
    """Names of the metrics of a table made by `average_seeds`."""
    return [name.removesuffix("_seeds") for name in averaged.columns if name.endswith("_seeds")]


def images_by_aug(averaged: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric of a table made by `average_seeds`: images × augs float64, infinite values as NaN.

    Images ascending, augs in table order; an (image, aug) without a row is NaN.
    """
    grid = grid_of(averaged, ["aug"])
    augs = pd.Index([aug for (aug,) in grid.models], dtype=averaged["aug"].dtype)
    return pd.DataFrame(grid.spread(averaged[metric]).T, index=grid.images, columns=augs)


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
    codes, cells = codes_of(flagged, CELL)
    counts = pd.DataFrame(cells, columns=CELL).assign(images=np.bincount(codes, minlength=len(cells)))
    for name in ("constant", "flat", "reference_constant", "reference_flat"):
        true = flagged[name].astype("boolean").to_numpy(dtype=bool, na_value=False)
        counts[name] = np.bincount(codes[true], minlength=len(cells))
    for metric in metrics:
        undefined = ~np.isfinite(flagged[metric].to_numpy(dtype=np.float64))
        counts[f"{metric}_undefined"] = np.bincount(codes[undefined], minlength=len(cells))
    counts = counts.astype(dict.fromkeys(counts.columns[2:], "Int64"))
    compared = ["reference_constant", "reference_flat", *(f"{metric}_undefined" for metric in metrics)]
    counts.loc[counts["aug"] == REFERENCE, compared] = pd.NA
    return counts
