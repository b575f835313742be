"""The noise floor: how far each aug's maps moved beside those of the controls, which should change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats
from auglens.stats.resampling import (
    CORRECTING,
    draw_variance,
    holm,
    interval,
    moderate_augs,
    seed_part,
    standard_error,
    weighted_means,
    weighted_medians,
)
from auglens.stats.seeds import CONTROLS

IMAGES_AND_SEEDS, IMAGES_ONLY = "images and seeds", "images"
ABOVE, BELOW, WITHIN, UNKNOWN = "above", "below", "within", "cannot be known"
MEANS = ["aug", "metric", "statistic", "estimate", "low", "high", "seeds", "images", "covers"]
FLOOR = ["aug", "metric", "control", "mean", "control_mean", "difference", "low", "high", "p", "p_holm", "verdict"]


@dataclass(frozen=True, eq=False)
class Spread:
    """A statistic of A augs. estimate [A]; draws [B, A] under resampled images; variance [A], from the seeds, of
    the estimate, and its degrees of freedom [A]; replicates [A]; images: the most behind a value."""

    estimate: Floats
    draws: Floats
    variance: Floats
    freedom: Floats
    replicates: NDArray[np.int64]
    images: int

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        return interval(self.estimate, self.draws, self.variance, self.freedom, confidence, self.images)


def seed_means(values: Floats) -> Floats:
    """Mean over the finite models of each image: [R, N] → [N]; NaN where none is finite."""
    number = np.isfinite(values).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(number > 0, np.nansum(values, axis=0) / number, np.nan))


def spread(cells: Cells, metric: str, weights: NDArray[np.int32], *, median: bool = False) -> Spread:
    """Mean (or median) over images of a metric's seed means, for every aug of `cells`."""
    of = weighted_medians if median else weighted_means
    values = cells.values[metric]
    averaged = np.stack([seed_means(values[cells.members(aug)]) for aug in cells.augs])
    once = np.ones((1, averaged.shape[1]), dtype=np.int32)
    variance = np.full(len(cells.augs), np.nan)
    replicates = np.array([len(cells.members(aug)) for aug in cells.augs])
    for place, aug in enumerate(cells.augs):
        rows = cells.members(aug)
        if len(rows) > 1:
            without = [seed_means(values[np.delete(rows, n)]) for n in range(len(rows))]
            left_out = of(np.stack(without), np.concatenate([once, weights[:CORRECTING]])).T
            variance[place] = seed_part(left_out[:, 0], left_out[:, 1:]) * len(rows)
    moderated, freedom = moderate_augs(variance, replicates, cells.augs)
    images = int(np.isfinite(averaged).sum(1).max(initial=0))
    return Spread(of(averaged, once)[0], of(averaged, weights), moderated, freedom, replicates, images)


def means_table(
    cells: Cells, metrics: Sequence[str], weights: NDArray[np.int32], confidence: float
) -> pd.DataFrame:
    """One row per (aug, metric, statistic): the mean and the median over images of seed means, with intervals."""
    rows = []
    for metric in metrics:
        images = [int(np.isfinite(seed_means(cells.values[metric][cells.members(a)])).sum()) for a in cells.augs]
        for statistic in ("mean", "median"):
            found = spread(cells, metric, weights, median=statistic == "median")
            low, high = found.interval(confidence)
            for n, aug in enumerate(cells.augs):
                covers = IMAGES_AND_SEEDS if np.isfinite(found.variance[n]) else IMAGES_ONLY
                seeds = int(found.replicates[n])
                rows.append((aug, metric, statistic, found.estimate[n], low[n], high[n], seeds, images[n], covers))
    return pd.DataFrame(rows, columns=MEANS)


def difference(
    found: Spread, a: int, b: int, confidence: float, sign: float = 1.0
) -> tuple[float, float, float, float]:
    """(a − b, low, high, p) of two augs of one `Spread`; p of t, two-sided; NaN where no seed spread is known."""
    from scipy import stats  # slow to import, and `compare` draws no interval

    value = sign * (found.estimate[a] - found.estimate[b])
    seeds = found.variance[a] + found.variance[b]
    with np.errstate(invalid="ignore", divide="ignore"):
        df = seeds**2 / (found.variance[a] ** 2 / found.freedom[a] + found.variance[b] ** 2 / found.freedom[b])
    known = np.isfinite(seeds)
    image_variance = draw_variance((found.draws[:, a] - found.draws[:, b])[:, None])
    error, freedom = standard_error(
        image_variance, np.array([seeds]), np.array([df if known else 0.0]), found.images
    )
    half = float((stats.t.ppf((1 + confidence) / 2, freedom) * error)[0])
    p = float("nan")
    if known and error[0] > 0:
        p = float(2 * stats.t.sf(abs(value) / error[0], freedom[0]))
    return float(value), float(value - half), float(value + half), p


def floor_table(
    cells: Cells, metrics: Sequence[str], weights: NDArray[np.int32], confidence: float, closer: Mapping[str, bool]
) -> pd.DataFrame:
    """One row per (aug, metric, control): the difference of their means, > 0 where the aug moved further.

    closer: metric → whether higher values mean more alike maps. p_holm: over augs and metrics, control by control.
    verdict: above or below where p_holm ≤ 1 − confidence, else within; `cannot be known` without a seed spread.
    """
    rows = []
    for metric in metrics:
        found = spread(cells, metric, weights)
        sign = -1.0 if closer[metric] else 1.0
        for control in (c for c in CONTROLS if c in cells.augs):
            b = cells.augs.index(control)
            for a, aug in enumerate(cells.augs):
                if a != b:
                    means = (float(found.estimate[a]), float(found.estimate[b]))
                    rows.append((aug, metric, control, *means, *difference(found, a, b, confidence, sign)))
    table = pd.DataFrame(rows, columns=FLOOR[:-2])
    table["p_holm"] = np.nan
    for control in table["control"].unique():
        for controls in (False, True):  # the controls among one another are a family of their own
            family = (table["control"] == control) & (table["aug"].isin(CONTROLS) == controls)
            table.loc[family, "p_holm"] = holm(table.loc[family, "p"].to_numpy())
    table["verdict"] = [
        verdict(value, p, confidence) for value, p in zip(table["difference"], table["p_holm"], strict=True)
    ]
    order = {aug: place for place, aug in enumerate(cells.augs)}
    place = table["aug"].map(order)
    return table.assign(place=place).sort_values("place", kind="stable", ignore_index=True)[FLOOR]


def verdict(value: float, p: float, confidence: float) -> str:
    if not np.isfinite(p):
        return UNKNOWN
    if p > 1 - confidence:
        return WITHIN
    return ABOVE if value > 0 else BELOW


def floor_summary(floor: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, metric): above (below) where it lies above (below) every control, else within."""
    rows = []
    for (aug, metric), group in floor.groupby(["aug", "metric"], sort=False):
        found = set(group["verdict"])
        together = found.pop() if len(found) == 1 else UNKNOWN if UNKNOWN in found else WITHIN
        rows.append((aug, metric, together))
    return pd.DataFrame(rows, columns=["aug", "metric", "verdict"])
