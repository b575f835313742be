"""Do two augs move the same images? Correlations over test images, of seed means and of single models.

Everything comes from one matrix per metric, the covariance of the models over the test images: the covariance of
two augs' seed means is the mean of its block. Images with a value undefined in any model are left out, counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats
from auglens.stats.resampling import CORRECTING, interval, moderate, seed_part
from auglens.stats.seeds import CONTROLS

ALL = "all"  # the mean over the metrics, through Fisher's z
LEAST_IMAGES = 3
CORRELATION = ["metric", "aug_a", "aug_b", "correlation", "low", "high", "images"]
MODELS = ["metric", "aug_a", "aug_b", "correlation", "low", "high", "model_pairs"]


@dataclass(frozen=True, eq=False)
class Covariances:
    """Covariances of C models over the complete images of each metric. whole: metric → [C, C]; draws: metric →
    [B, C, C] under resampled images; images: metric → how many are complete."""

    whole: Mapping[str, Floats]
    draws: Mapping[str, Floats]
    images: Mapping[str, int]


def covariances(cells: Cells, metrics: Sequence[str], weights: NDArray[np.int32]) -> Covariances:
    """weights: int [B, N], one row per bootstrap sample; shape [0, N] for none."""
    whole, draws, images = {}, {}, {}
    for metric in metrics:
        values = cells.values[metric]
        complete = np.isfinite(values).all(0)
        values = values[:, complete]
        images[metric] = int(complete.sum())
        enough = images[metric] >= LEAST_IMAGES
        counts = [np.ones(values.shape[1]), *weights[:, complete].astype(np.float64)]
        found = [_covariance(values, w) if enough else np.full((len(values),) * 2, np.nan) for w in counts]
        whole[metric], draws[metric] = found[0], np.array(found[1:]).reshape(-1, len(values), len(values))
    return Covariances(whole, draws, images)


def _covariance(values: Floats, counts: Floats) -> Floats:
    total = counts.sum()
    centred = values - (values @ counts / total)[:, None]
    return np.asarray((centred * counts) @ centred.T / total)


def correlations(covariance: Floats) -> Floats:
    """[..., C, C] covariances → correlations; NaN where a variance is 0 (to rounding)."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    largest = np.nanmax(variance, axis=-1, keepdims=True, initial=0)
    scale = np.sqrt(np.where(variance > 1e-24 * largest, variance, np.nan))
    return np.clip(covariance / scale[..., :, None] / scale[..., None, :], -1, 1)


def fisher(r: Floats) -> Floats:
    """Fisher's z; correlations of ±1 are drawn in by 1e-12, so that they stay finite."""
    return np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))


def of_seed_means(covariance: Floats, averaging: Floats) -> Floats:
    """Correlations [..., A, A] of seed means. averaging: [A, C] or a stack of them, rows sum to 1."""
    return correlations(averaging @ covariance @ np.swapaxes(averaging, -1, -2))


def block_means(values: Floats, averaging: Floats) -> Floats:
    """Means [..., A, A] of a quantity of pairs of models over pairs of one model of each aug; on the diagonal over
    pairs of different models of the aug, NaN where it has one. values: [..., C, C], its diagonal is not looked at;
    averaging: [A, C] or a stack of them, rows sum to 1."""
    values = np.where(np.eye(values.shape[-1], dtype=bool), 0.0, values)
    blocks = averaging @ values @ np.swapaxes(averaging, -1, -2)
    alike = (averaging**2).sum(-1)  # Σ w²: the weight that a model's pairs with itself take on the diagonal
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(alike < 1 - 1e-12, 1 / (1 - alike), np.nan)
    return np.asarray(blocks * np.where(np.eye(averaging.shape[-2], dtype=bool), own[..., :, None], 1.0))


def leave_one_out(cells: Cells) -> Iterator[tuple[int, Floats]]:
    """(aug's place, averaging without one of its models), for every model of an aug that has two or more."""
    averaging = cells.averaging()
    for place, aug in enumerate(cells.augs):
        rows = cells.members(aug)
        for row in rows if len(rows) > 1 else ():
            without = averaging.copy()
            without[place, row] = 0
            without[place] /= without[place].sum()
            yield place, without


Statistic = Callable[[Floats, Floats], Floats]  # (covariances [..., C, C], averaging [A, C]) → [..., A, A]


def seed_variances(cells: Cells, whole: Floats, draws: Floats, statistic: Statistic) -> tuple[Floats, Floats]:
    """Moderated seed variance [A, A] of a statistic of pairs of augs, and its degrees of freedom.

    A pair's variance is the sum of both augs' parts; pairs with `reseed` are moderated among themselves.
    whole: what `statistic` takes, [..., C, C]; draws: the same under resampled images, [K, ..., C, C].
    """
    size = len(cells.augs)
    parts = np.zeros((size, size))
    freedom = np.zeros((size, size))
    values: dict[int, list[tuple[Floats, Floats]]] = {}
    for place, without in leave_one_out(cells):
        values.setdefault(place, []).append((statistic(whole, without), statistic(draws, without)))
    for place, pairs in values.items():
        found = seed_part(np.stack([one for one, _ in pairs]), np.stack([many for _, many in pairs]))
        # Both augs of a pair add their part; on the diagonal there is one aug.
        parts[place] += found[place]
        freedom[place] += len(pairs) - 1
        others = np.arange(size) != place
        parts[others, place] += found[others, place]
        freedom[others, place] += len(pairs) - 1
    lone = np.array([len(cells.members(aug)) < 2 for aug in cells.augs])
    partial = lone[:, None] | lone[None, :]
    known = (freedom > 0) & np.isfinite(parts) & ~partial
    found, df = np.full((size, size), np.nan), np.zeros((size, size))
    apart = np.array([aug == CONTROLS[2] for aug in cells.augs])
    group = apart[:, None] | apart[None, :]
    for chosen in (group, ~group):
        at = np.nonzero(chosen & np.triu(np.ones((size, size), dtype=bool)))
        variance, d = moderate(np.where(known[at], parts[at], np.nan), np.where(known[at], freedom[at], 0.0))
        # Pairs share augs: together they have the degrees of freedom of the augs, not of the pairs.
        limit = sum(len(cells.members(a)) - 1 for a in cells.augs if chosen[cells.augs.index(a)].any())
        found[at], df[at] = np.maximum(variance, 0), np.minimum(d, limit)
        found.T[at], df.T[at] = found[at], df[at]
    return found, df


def _rows(metric: str, cells: Cells, z: Floats, low: Floats, high: Floats, last: NDArray[np.int64]) -> list[tuple]:
    return [
        (metric, a, b, np.tanh(z[i, j]), np.tanh(low[i, j]), np.tanh(high[i, j]), int(last[i, j]))
        for i, a in enumerate(cells.augs)
        for j, b in enumerate(cells.augs)
        if j >= i
    ]


def correlation_table(cells: Cells, found: Covariances, confidence: float) -> pd.DataFrame:
    """The correlation map of seed means with intervals: one row per metric and unordered pair of augs."""
    rows: list[tuple] = []
    averaging = cells.averaging()
    for metric, whole in found.whole.items():
        z = fisher(of_seed_means(whole, averaging))
        draws = fisher(of_seed_means(found.draws[metric], averaging))
        few = found.draws[metric][:CORRECTING]
        variance, df = seed_variances(cells, whole, few, lambda c, a: fisher(of_seed_means(c, a)))
        low, high = interval(z, draws, variance, df, confidence, found.images[metric])
        diagonal = np.eye(len(cells.augs), dtype=bool)  # 1 by definition: nothing to estimate
        z, low, high = (np.where(diagonal & np.isfinite(z), np.inf, value) for value in (z, low, high))
        images = np.full(z.shape, found.images[metric])
        rows += _rows(metric, cells, z, low, high, images)
    return pd.DataFrame(rows, columns=CORRELATION)


def models_table(cells: Cells, found: Covariances, metrics: Sequence[str], confidence: float) -> pd.DataFrame:
    """Mean correlation of single models, one of each aug, with intervals; aug_a = aug_b: two seeds of one aug.

    metrics: those whose mean stands as `all`. Unlike correlations of seed means it does not rise with the
    number of seeds averaged, so that augs with one model and with three can be compared.
    """
    averaging = cells.averaging()
    whole = {metric: fisher(correlations(value)) for metric, value in found.whole.items()}
    draws = {metric: fisher(correlations(value)) for metric, value in found.draws.items()}
    # Means over metrics and over pairs of models may be taken in either order.
    whole[ALL] = np.mean([whole[metric] for metric in metrics], axis=0)
    draws[ALL] = np.mean([draws[metric] for metric in metrics], axis=0)
    counts = (averaging > 0).sum(1)
    pairs = np.outer(counts, counts)
    np.fill_diagonal(pairs, counts * (counts - 1) // 2)
    rows: list[tuple] = []
    for metric, z in whole.items():
        variance, df = seed_variances(cells, z, draws[metric][:CORRECTING], block_means)
        images = min(found.images[m] for m in metrics) if metric == ALL else found.images[metric]
        estimate = block_means(z, averaging)
        low, high = interval(estimate, block_means(draws[metric], averaging), variance, df, confidence, images)
        rows += _rows(metric, cells, estimate, low, high, pairs)
    return pd.DataFrame(rows, columns=MODELS)
