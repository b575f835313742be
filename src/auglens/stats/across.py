"""Over all models: which map method does best, and whether accuracy goes with explanation. docs/influence.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from auglens.stats.factors import Models
from auglens.stats.influence import NAN, best_of, methods_of, one_sample, with_means
from auglens.stats.resampling import Floats, holm, image_weights
from auglens.stats.scores import EXPLANATION, FLOORS, SCORES, ordered_methods

LEAST_CONFIGURATIONS = 4  # for a correlation; fewer resample to little else than themselves
AGAINST = ("accuracy", "f1", "roc_auc")
LEAST_MODELS = 0.5  # share of the models that have a method, else it is not compared
LEAST_DRAWS = 0.5  # share of the draws that have to give a correlation, else it has no interval
NEAR_ONE = 1 - 1e-6  # a correlation of 1 has no Fisher transform
METHODS_TABLE = [
    "score", "method", "floor", "mean", "sd", "models", "units", "best", "difference", "low", "high", "p",
    "p_holm", "best_floor", "over_floor", "over_floor_low", "over_floor_high",
]  # fmt: skip
CORRELATION = [
    "performance", "score", "method", "pearson", "pearson_low", "pearson_high",
    "spearman", "spearman_low", "spearman_high", "models", "configurations",
]  # fmt: skip


def method_table(models: Models, confidence: float) -> pd.DataFrame:
    """One row per (explanation score, method), floors included, that half of the models have, over the models
    that have them all.

    mean, sd: over models; best: of the map methods; difference: the method's minus the best one's, of the same
    models, so that 0 in the interval is "no worse shown"; over_floor: the method's minus the best floor's. An
    interval takes a configuration's mean as one value (its seeds are no independent ones), or a model's with fewer
    than three configurations: `units` counts what it took. p_holm: p after Holm over the methods of a score.
    """
    unit = models.table["configuration"].to_numpy()
    rows = []
    for score in EXPLANATION:
        if score not in models.values:
            continue
        every = models.values[score]
        table = every.loc[:, every.notna().mean() >= LEAST_MODELS].dropna()
        if table.empty:
            continue
        of = unit[table.index.to_numpy()]
        own, count = (table.groupby(of).mean(), len(set(of))) if len(set(of)) >= 3 else (table, len(table))
        methods = ordered_methods(table.columns)
        means = {name: float(table[name].mean()) for name in methods}
        lower = SCORES[score].lower
        maps = [name for name in methods if name not in FLOORS]
        sign = -1 if lower else 1
        top = max(maps, key=lambda name: sign * means[name], default=None)
        floors = [name for name in methods if name in FLOORS]
        floor = max(floors, key=lambda name: sign * means[name], default=None)
        best = best_of({name: means[name] for name in maps}, lower)
        mine = []
        for name in methods:
            to_best = one_sample((own[name] - own[top]).to_numpy(np.float64), confidence) if top else None
            to_floor = one_sample((own[name] - own[floor]).to_numpy(np.float64), confidence) if floor else None
            told = (
                (to_best.difference, to_best.low, to_best.high, to_best.p)
                if to_best and name != top
                else [NAN] * 4
            )
            over = (
                (to_floor.difference, to_floor.low, to_floor.high)
                if to_floor and name not in FLOORS
                else [NAN] * 3
            )
            sd = float(table[name].std(ddof=1)) if len(table) > 1 else NAN
            mine.append([score, name, name in FLOORS, means[name], sd, len(table), count, name in best, *told, NAN,
                         floor or "", *over])  # fmt: skip
        place = METHODS_TABLE.index("p")
        tested = [row for row in mine if not row[2]]
        for row, adjusted in zip(tested, holm([row[place] for row in tested]), strict=True):
            row[place + 1] = float(adjusted)
        rows += mine
    return pd.DataFrame(rows, columns=METHODS_TABLE)


def pearson(x: Floats, y: Floats, weights: Floats) -> Floats:
    """float64 [B]: x, y: [n] or [B, n]; weights: [B, n], how often each model counts. NaN where one is
    constant."""
    total = weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        a = x - ((weights * x).sum(1) / total)[:, None]
        b = y - ((weights * y).sum(1) / total)[:, None]
        spread = (weights * a * a).sum(1), (weights * b * b).sum(1)
        least = [1e-24 * total * np.square(side).max(-1, initial=0.0) for side in (x, y)]
        known = (spread[0] > least[0]) & (spread[1] > least[1])
        found = (weights * a * b).sum(1) / np.sqrt(spread[0] * spread[1])
        return np.asarray(np.where(known, np.clip(found, -1, 1), np.nan))


def ranks(x: Floats, weights: Floats) -> Floats:
    """float64 [B, n]: average ranks of x: [n] where each value counts weights: [B, n] times, up to a constant."""
    below = (x[None, :] < x[:, None]) + 0.5 * (x[None, :] == x[:, None])
    return np.asarray(weights @ below.T)


def correlation_of_scores(models: Models, *, draws: int, confidence: float, seed: int) -> pd.DataFrame:
    """One row per (performance, explanation score, method): Pearson's r and Spearman's ρ over all models.

    Intervals: a bootstrap that draws configurations with all their models, since the seeds of one are no
    independent models; on Fisher's scale, the estimate ± Student's t (configurations − 2) · sd of the draws, which
    covers 94 to 99 % at 95 where percentiles of the draws cover 88 to 94. NaN with fewer than LEAST_CONFIGURATIONS
    or where one side is constant.
    """
    values = with_means(models.values)
    cluster = models.table["configuration"].to_numpy()
    rows = []
    for against in AGAINST:
        if (against, "") not in values:
            continue
        for score in EXPLANATION:
            for method in ordered_methods(m for m in methods_of(values, score) if m not in FLOORS):
                x, y = (values[one].to_numpy(dtype=np.float64) for one in ((against, ""), (score, method)))
                both = np.isfinite(x) & np.isfinite(y)
                used, of = np.unique(cluster[both], return_inverse=True)
                number = len(used)
                told: Sequence[float] = [NAN] * 6
                if number >= LEAST_CONFIGURATIONS:
                    drawn = image_weights(number, draws, seed=seed)[:, of].astype(np.float64)
                    told = _correlated(x[both], y[both], drawn, number - 2, confidence)
                rows.append((against, score, method, *told, int(both.sum()), number))
    return pd.DataFrame(rows, columns=CORRELATION)


def _correlated(x: Floats, y: Floats, weights: Floats, freedom: int, confidence: float) -> Sequence[float]:
    """r, its interval, ρ, its interval."""
    every = np.vstack([np.ones((1, len(x))), weights])
    found: list[float] = []
    for values in (pearson(x, y, every), pearson(ranks(x, every), ranks(y, every), every)):
        found += [float(values[0]), *_fisher(float(values[0]), values[1:], freedom, confidence)]
    return found


def _fisher(estimate: float, draws: Floats, freedom: int, confidence: float) -> tuple[float, float]:
    from scipy import stats

    known = draws[np.isfinite(draws)]
    if not np.isfinite(estimate) or len(known) < max(2, LEAST_DRAWS * len(draws)):
        return NAN, NAN
    centre, scale = (
        np.arctanh(np.clip(estimate, -NEAR_ONE, NEAR_ONE)),
        np.arctanh(np.clip(known, -NEAR_ONE, NEAR_ONE)),
    )
    half = stats.t.ppf((1 + confidence) / 2, freedom) * scale.std(ddof=1)
    return float(np.tanh(centre - half)), float(np.tanh(centre + half))
