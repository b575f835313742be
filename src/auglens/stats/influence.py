"""What a factor does to every score: means and spread over seeds, the best level, differences with intervals.

The replicate is the model of a seed. Definitions: docs/influence.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.factors import Factor, Models
from auglens.stats.resampling import holm
from auglens.stats.scores import ALL, EXPLANATION, FLOORS, SCORES, method_label, ordered_methods

NAN = float("nan")
NO_SPREAD = 1e-12  # of the values' size: what is left of equal values by rounding
INFLUENCE = [
    "factor", "level", "score", "method", "mean", "sd", "n", "best", "baseline",
    "difference", "low", "high", "p", "test",
]  # fmt: skip


@dataclass(frozen=True)
class Contrast:
    """A difference of means with its interval. test: paired, welch, or "" where there is no interval."""

    difference: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    test: str = ""


def one_sample(differences: NDArray[np.float64], confidence: float) -> Contrast:
    """The mean of differences, float64 [n], and Student's interval; none with n < 2 or where nothing spreads."""
    values = differences[np.isfinite(differences)]
    if len(values) == 0:
        return Contrast()
    mean = float(values.mean())
    if len(values) < 2:
        return Contrast(mean)
    error, size = float(values.std(ddof=1)) / np.sqrt(len(values)), float(np.abs(values).max())
    return _with_interval(mean, error, len(values) - 1, confidence, "paired", size)


def contrast(level: pd.Series, base: pd.Series, confidence: float) -> Contrast:
    """level − base: float64, indexed by what pairs two models (their seeds), NaN left out.

    Paired (Student) where two or more seeds are shared, and all of the smaller side's; else Welch's interval with
    two or more models on either side; else the difference alone. A paired difference is that of the shared seeds.
    """
    level, base = level.dropna(), base.dropna()
    if level.empty or base.empty:
        return Contrast()
    unique = level.index.is_unique and base.index.is_unique
    shared = level.index.intersection(base.index)
    least = min(len(level), len(base))
    if unique and len(shared) == least >= 2:
        return one_sample((level[shared] - base[shared]).to_numpy(dtype=np.float64), confidence)
    difference = float(level.mean() - base.mean())
    if least < 2:
        return Contrast(difference)
    parts = [float(side.var(ddof=1)) / len(side) for side in (level, base)]
    total = sum(parts)
    if not total:
        return Contrast(difference)
    freedom = total**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (level, base), strict=True))
    size = float(max(level.abs().max(), base.abs().max()))
    return _with_interval(difference, np.sqrt(total), freedom, confidence, "welch", size)


def _with_interval(
    mean: float, error: float, freedom: float, confidence: float, test: str, size: float
) -> Contrast:
    from scipy import stats  # slow to import, and most stages draw no interval

    if not error > NO_SPREAD * size:
        return Contrast(mean)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Contrast(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, freedom)), test)


def methods_of(values: pd.DataFrame, score: str) -> list[str]:
    """The methods of a score among the columns (score, method)."""
    pairs: Any = values.columns.tolist()
    return [method for name, method in pairs if name == score]


def with_means(values: pd.DataFrame) -> pd.DataFrame:
    """`Models.values` and, per explanation score, method `all`: the mean over the map methods that half of the
    models with the score have, floors left out; NaN for a model that lacks one of those."""
    added = {}
    for score in EXPLANATION:
        own = [(score, m) for m in methods_of(values, score) if m not in FLOORS]
        known = values[own].notna()
        methods = [m for one, m in own if 2 * known[one, m].sum() >= max(known.any(axis=1).sum(), 1)]
        if methods:
            added[score, ALL] = values[[(score, m) for m in methods]].mean(axis=1, skipna=False)
    return pd.concat([values, pd.DataFrame(added, index=values.index)], axis=1) if added else values


def level_values(models: Models, factor: Factor) -> pd.DataFrame:
    """One row per (level, model, score, method): columns level, pair, score, method, value; NaN left out.

    `all` is the mean over the methods that every model of the factor has a value of.
    """
    rows = {label: models.rows(number) for label, number in factor.levels.items()}
    places = np.concatenate(list(rows.values()))
    own = models.values.iloc[places].reset_index(drop=True)
    partial = [one for one in own.columns.tolist() if one[1] and own[one].isna().any()]
    means = with_means(own.drop(columns=partial))
    own = pd.concat([own, means[[one for one in means.columns if one[1] == ALL]]], axis=1)
    labels = np.repeat(list(rows), [len(found) for found in rows.values()])
    pairs = models.table["pair"].to_numpy()[places]
    head = {"level": labels, "pair": pairs}
    parts = [
        pd.DataFrame(head | {"score": score, "method": method, "value": own[score, method]})
        for score in SCORES
        for method in ordered_methods(methods_of(own, score))
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value").reset_index(drop=True)


def grouped(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """((score, method), its rows) in the table's order."""
    for key, group in table.groupby(["score", "method"], sort=False):
        score, method = key
        yield (str(score), str(method)), group


def influence_table(models: Models, factor: Factor, confidence: float) -> pd.DataFrame:
    """One row per (score, method, level) of a factor, scores and levels in order.

    mean, sd (over models, n − 1; NaN of one), n; best: the best mean of its row in the score's direction, nowhere
    where all are equal or fewer than two are known; difference, low, high, p, test: to the baseline level.
    """
    long = level_values(models, factor)
    rows = []
    for (score, method), group in grouped(long):
        values = {label: part.set_index("pair")["value"] for label, part in group.groupby("level")}
        means = {label: float(values[label].mean()) for label in factor.levels if label in values}
        best = best_of(means, SCORES[score].lower)
        base = values.get(factor.baseline, pd.Series(dtype=np.float64))
        for label in factor.levels:
            own = values.get(label, pd.Series(dtype=np.float64))
            is_base = label == factor.baseline
            found = Contrast() if is_base else contrast(own, base, confidence)
            sd = float(own.std(ddof=1)) if len(own) > 1 else NAN
            told = (means.get(label, NAN), sd, len(own), label in best, is_base)
            rows.append((factor.name, label, score, method, *told, *astuple(found)))
    return pd.DataFrame(rows, columns=INFLUENCE)


def best_of(means: dict[str, float], lower: bool | None) -> set[str]:
    """The labels with the best mean; none where neither way is better, or nothing differs."""
    known = {label: value for label, value in means.items() if np.isfinite(value)}
    if (
        lower is None
        or len(known) < 2
        or np.ptp(list(known.values())) <= NO_SPREAD * max(map(abs, known.values()))
    ):
        return set()
    top = min(known.values()) if lower else max(known.values())
    return {label for label, value in known.items() if value == top}


def influence_tables(models: Models, factors: Sequence[Factor], confidence: float) -> pd.DataFrame:
    """`influence_table` of every factor, with p_holm: p after Holm over all levels and factors of a
    score, of its methods together, of their mean (`all`) for itself; floors have none.
    """
    parts = [influence_table(models, factor, confidence) for factor in factors]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=INFLUENCE)
    found["p_holm"] = NAN
    for mean in (True, False):
        tested = ~found["method"].isin(FLOORS) & ((found["method"] == ALL) == mean)
        for _, group in found[tested].groupby("score", sort=False):
            found.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(dtype=np.float64))
    return found


def wide_table(table: pd.DataFrame) -> pd.DataFrame:
    """`influence_table`'s rows of one factor as the thesis prints them: score, method, then a column per level
    with "mean ± sd" in the score's unit, `*` at the best; the head says n, over all scores."""
    heads: dict[Any, str] = {}
    for label, group in table.groupby("level", sort=False):
        counts = sorted(set(group["n"]))
        told = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
        heads[label] = f"{label} ({'baseline, ' if group['baseline'].any() else ''}{told})"
    single = len(set(table["method"]) - {*FLOORS, ALL, ""}) == 1
    rows = []
    for (score, method), group in grouped(table):
        if method == ALL and single:
            continue
        lines: list[Any] = list(group.itertuples())
        cells = {heads[row.level]: shown(row.mean, row.sd, score, best=row.best) for row in lines}
        rows.append({"score": SCORES[score].title, "method": method_label(method)} | cells)
    return pd.DataFrame(rows, columns=["score", "method", *heads.values()])


def shown(mean: float, sd: float, score: str, *, best: bool = False) -> str:
    """`82.20 ± 1.24 *`, in the score's unit."""
    if not np.isfinite(mean):
        return "–"
    scale = SCORES[score].scale
    spread = f" ± {sd * scale:.2f}" if np.isfinite(sd) else ""
    return f"{mean * scale:.2f}{spread}{' *' if best else ''}".replace("-", "−")
