"""Do two augs move the same images? Correlations over test images, of seed means and of single models.

Everything comes from one matrix per metric, the covariance of the models over the test images: the covariance of
two augs' seed means is the mean of its block. Images with a value undefined in any model are left out, counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats
from auglens.stats.resampling import CORRECTING, interval, moderate, seed_part
from auglens.stats.seeds import CONTROLS

ALL = "all"  # the mean over the metrics, through Fisher's z
LEAST_IMAGES = 3
AT_ONCE = 1 << 29  # bytes of covariances under resampled images
KEPT = 5 << 29  # bytes of their triangles; of more, every claim makes its own again
CORRELATION = ["metric", "aug_a", "aug_b", "correlation", "low", "high", "images"]
MODELS = ["metric", "aug_a", "aug_b", "correlation", "low", "high", "model_pairs"]


@contextmanager
def unseen(_title: str, _total: int) -> Iterator[Callable[[int], object]]:
    """A progress that nobody sees."""
    yield lambda _count: None


Block = Mapping[str, Floats]  # metric → [b, C, C], some draws


@dataclass(frozen=True, eq=False)
class Covariances:
    """Covariances of C models over the complete images of each metric. whole: metric → [C, C]; images: metric →
    how many are complete; draws: how many resamples of the images there are.

    Those of the resamples come block by block: 1,000 of 200 models and 11 metrics are 3.5 GB, half as triangles.
    """

    whole: Mapping[str, Floats]
    images: Mapping[str, int]
    draws: int
    blocks: Callable[[], Iterable[tuple[slice, Block]]]  # again and again, the same

    def of_draws(self, function: Callable[[Block, slice], Mapping[str, Floats]]) -> dict[str, Floats]:
        """What `function` makes of some draws, [b, ...], together [B, ...]. slice: which draws they are."""
        found: dict[str, list[Floats]] = {}
        for which, block in self.blocks():
            for name, values in function(block, which).items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def first(self, count: int) -> dict[str, Floats]:
        """metric → [count, C, C]: the first draws, or all where there are fewer."""
        parts: dict[str, list[Floats]] = {}
        for which, block in self.blocks():
            for metric, values in block.items():
                parts.setdefault(metric, []).append(values[: count - which.start])
            if which.stop >= count:
                break
        return {metric: np.concatenate(found) for metric, found in parts.items()}

    def restricted(self, rows: NDArray[np.int64]) -> Covariances:
        """Those of the models `rows` alone."""
        whole = {metric: value[np.ix_(rows, rows)] for metric, value in self.whole.items()}

        def blocks() -> Iterator[tuple[slice, Block]]:
            for which, block in self.blocks():
                yield which, {metric: value[:, rows][:, :, rows] for metric, value in block.items()}

        return Covariances(whole, self.images, self.draws, blocks)


def covariances(
    cells: Cells,
    metrics: Sequence[str],
    weights: NDArray[np.int32],
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], object]]] = unseen,
) -> Covariances:
    """weights: int [B, N], one row per bootstrap sample; shape [0, N] for none. progress: for each pass over them,
    (title, total) → how to advance."""
    whole, images = {}, {}
    complete = {metric: np.isfinite(cells.values[metric]).all(0) for metric in metrics}
    size = len(cells.aug)
    for metric in metrics:
        images[metric] = int(complete[metric].sum())
        enough = images[metric] >= LEAST_IMAGES
        centred = _centred(cells.values[metric][:, complete[metric]])
        whole[metric] = _covariance(centred, np.ones(images[metric])) if enough else np.full((size, size), np.nan)
    draws = len(weights)
    step = max(1, AT_ONCE // (8 * size * size * max(len(metrics), 1)))
    cuts = [slice(at, min(at + step, draws)) for at in range(0, max(draws, 1), step)]

    def block(cut: slice, advance: Callable[[int], object]) -> Block:
        found = {}
        for metric in metrics:
            use = complete[metric]
            centred = _centred(cells.values[metric][:, use])
            filled = np.full((cut.stop - cut.start, size, size), np.nan)
            for n, counts in enumerate(weights[cut] if images[metric] >= LEAST_IMAGES else ()):
                filled[n] = _covariance(centred, counts[use].astype(np.float64))
            found[metric] = filled
            advance(cut.stop - cut.start)
        return found

    upper = np.triu_indices(size)
    kept: dict[int, Block] = {}  # as they are, if they are one block, else as triangles
    keeping = draws * len(metrics) * upper[0].size * 8 <= KEPT

    def blocks() -> Iterator[tuple[slice, Block]]:
        missing = sum(cut.stop - cut.start for n, cut in enumerate(cuts) if n not in kept)
        with progress("resampled images", missing * len(metrics)) if missing else unseen("", 0) as advance:
            for n, cut in enumerate(cuts):
                if n in kept:
                    yield cut, kept[n] if len(cuts) == 1 else {m: squares(v) for m, v in kept[n].items()}
                    continue
                made = block(cut, advance)
                if len(cuts) == 1:
                    kept[n] = made
                elif keeping:
                    kept[n] = {metric: value[:, upper[0], upper[1]] for metric, value in made.items()}
                yield cut, made

    return Covariances(whole, images, draws, blocks)


def squares(triangles: Floats) -> Floats:
    """[..., C (C + 1) / 2], upper triangles with their diagonals → [..., C, C], symmetric."""
    models = int(np.sqrt(2 * triangles.shape[-1]))
    rows, columns = np.triu_indices(models)
    found = np.empty((*triangles.shape[:-1], models, models))
    found[..., rows, columns] = found[..., columns, rows] = triangles
    return found


def _centred(values: Floats) -> Floats:
    return values - values.mean(1, keepdims=True) if values.shape[1] else values


def _covariance(centred: Floats, counts: Floats) -> Floats:
    """centred: [C, N], of mean 0 with every image once, so that the mean under `counts` is small beside them."""
    total = counts.sum()
    shift = centred @ counts / total
    weighted = centred * np.sqrt(counts)  # a product with its own transpose: symmetric bit by bit, half the work
    return np.asarray(weighted @ weighted.T / total - np.outer(shift, shift))


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
    for place, each in groupby(leave_one_out(cells), key=lambda one: one[0]):
        pairs = [(statistic(whole, without), statistic(draws, without)) for _, without in each]
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
    draws = found.of_draws(
        lambda block, _: {metric: fisher(of_seed_means(value, averaging)) for metric, value in block.items()}
    )
    few = found.first(CORRECTING)
    for metric, whole in found.whole.items():
        z = fisher(of_seed_means(whole, averaging))
        variance, df = seed_variances(cells, whole, few[metric], lambda c, a: fisher(of_seed_means(c, a)))
        low, high = interval(z, draws[metric], variance, df, confidence, found.images[metric])
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

    def singles(block: Block) -> dict[str, Floats]:
        z = {metric: fisher(correlations(value)) for metric, value in block.items()}
        # Means over metrics and over pairs of models may be taken in either order.
        return z | {ALL: np.mean([z[metric] for metric in metrics], axis=0)}

    whole, few = singles(found.whole), singles(found.first(CORRECTING))
    draws = found.of_draws(
        lambda block, _: {metric: block_means(z, averaging) for metric, z in singles(block).items()}
    )
    counts = (averaging > 0).sum(1)
    pairs = np.outer(counts, counts)
    np.fill_diagonal(pairs, counts * (counts - 1) // 2)
    rows: list[tuple] = []
    for metric, z in whole.items():
        variance, df = seed_variances(cells, z, few[metric], block_means)
        images = min(found.images[m] for m in metrics) if metric == ALL else found.images[metric]
        estimate = block_means(z, averaging)
        low, high = interval(estimate, draws[metric], variance, df, confidence, images)
        rows += _rows(metric, cells, estimate, low, high, pairs)
    return pd.DataFrame(rows, columns=MODELS)
