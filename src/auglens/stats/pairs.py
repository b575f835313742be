"""Which pairs of augs are among the most and the least correlated, counted over the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from auglens.stats.seeds import CONTROLS, REFERENCE


def pair_counts(maps: Mapping[str, pd.DataFrame], k: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Strong and weak pairs: in how many metrics a pair is among the k most / the k least correlated.

    maps: metric → `correlation_map`, all over the same augs; controls and the reference are left out.
    Returns (strong, weak), one row per unordered pair: aug_a < aug_b (alphabetical), count (int64), metrics
    (their names, ", " between, in the order of `maps`); highest count first, then alphabetical. The counts of
    each frame add up to k × the number of metrics counted. Equal correlations rank alphabetically by pair.

    A pair whose correlation is NaN takes no place. A metric with fewer than 2k pairs left would count pairs
    as strong and weak at once: it is not counted and stands, with its number of pairs, in
    `attrs["metrics_left_out"]`. With none left both frames are empty and `attrs["not_defined"]` says why.
    Source: tables 5.1 and 5.2 of the augmentation study (k = 4, 21 pairs, 8 metrics).
    """
    if k < 1:
        raise ValueError(f"k: expected 1 or more, got {k}")
    pairs = _pairs(maps)
    picked: dict[str, tuple[list[int], list[int]]] = {}
    left_out: dict[str, int] = {}
    for metric, matrix in maps.items():
        place = {str(aug): n for n, aug in enumerate(matrix.index)}
        square = matrix.to_numpy(dtype=np.float64)
        values = np.array([square[place[a], place[b]] for a, b in pairs], dtype=np.float64)
        finite = np.flatnonzero(np.isfinite(values))
        if len(finite) < 2 * k:
            left_out[metric] = len(finite)
            continue
        ascending = finite[np.argsort(values[finite], kind="stable")]
        descending = finite[np.argsort(-values[finite], kind="stable")]
        picked[metric] = (descending[:k].tolist(), ascending[:k].tolist())
    strong = _tally(pairs, {metric: sides[0] for metric, sides in picked.items()})
    weak = _tally(pairs, {metric: sides[1] for metric, sides in picked.items()})
    for frame in (strong, weak):
        if left_out:
            frame.attrs["metrics_left_out"] = left_out
        if not picked:
            most = max(left_out.values(), default=0)
            frame.attrs["not_defined"] = (
                f"{len(pairs)} pairs of augs, at most {most} with a correlation; "
                f"the {k} strongest and the {k} weakest need at least {2 * k}"
            )
    return strong, weak


def _pairs(maps: Mapping[str, pd.DataFrame]) -> list[tuple[str, str]]:
    """Unordered pairs of augs, alphabetical within and between."""
    augs: list[str] = []
    for metric, matrix in maps.items():
        names = sorted(str(aug) for aug in matrix.index if aug not in (*CONTROLS, REFERENCE))
        if augs and names != augs:
            raise ValueError(
                f"maps: {metric} has the augs {names}, expected {augs} as in the first; use one table"
            )
        augs = names
    return list(combinations(augs, 2))


def _tally(pairs: list[tuple[str, str]], picked: Mapping[str, list[int]]) -> pd.DataFrame:
    rows = []
    for n, (aug_a, aug_b) in enumerate(pairs if picked else []):
        metrics = [metric for metric, chosen in picked.items() if n in chosen]
        rows.append((aug_a, aug_b, len(metrics), ", ".join(metrics)))
    frame = pd.DataFrame(rows, columns=["aug_a", "aug_b", "count", "metrics"]).astype({"count": "int64"})
    return frame.sort_values("count", ascending=False, kind="stable", ignore_index=True)
