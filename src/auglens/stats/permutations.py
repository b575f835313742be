"""Could it be chance? Models permuted among the augs: what every claim about pairs and clusters is held against.

The null: it does not matter with which aug a model was trained. Augs keep their number of models, so that what
comes of averaging over fewer seeds is in the null as well. The unit is the model, not the image. Models are
permuted among those of one seed: these may share what the seed feeds and the aug does not, as the initial weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats
from auglens.stats.resampling import holm
from auglens.stats.seeds import CONTROLS
from auglens.stats.similarity import Covariances, block_means, correlations, fisher, of_seed_means

PAIRS = [
    "aug_a", "aug_b", "strong", "weak", "strong_share", "weak_share", "strong_low", "strong_high", "weak_low",
    "weak_high", "similarity", "p_strong", "p_strong_holm", "p_weak", "p_weak_holm", "p_similar", "p_similar_holm",
]  # fmt: skip
AT_ONCE = 1 << 28  # bytes of permuted averagings
RESEMBLANCE = ["metric", "same_aug", "other_aug", "difference", "p", "models", "augs"]


def without_controls(cells: Cells, found: Covariances) -> tuple[Cells, Covariances]:
    """The augs alone: controls are what claims are held against, no part of them."""
    keep = [aug for aug in cells.augs if aug not in CONTROLS]
    rows = np.flatnonzero([cells.augs[place] in keep for place in cells.aug])
    return cells.restricted(keep), found.restricted(rows)


def orders(seeds: NDArray[np.int64], permutations: int, *, seed: int) -> NDArray[np.int64]:
    """int64 [P, C]: C models permuted among those of one seed; those whose seed no other has among themselves."""
    generator = np.random.Generator(np.random.Philox(seed))
    _, place, count = np.unique(seeds, return_inverse=True, return_counts=True)
    blocks = np.where(count[place] > 1, place, -1)
    found = np.tile(np.arange(len(seeds)), (permutations, 1))
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        found[:, rows] = generator.permuted(found[:, rows], axis=1)
    return found


def permuted(cells: Cells, permutations: int, *, seed: int) -> Floats:
    """float64 [P, A, C]: the averaging over each aug's models, with the models permuted among the augs."""
    return cells.averaging()[:, orders(cells.seeds, permutations, seed=seed)].transpose(1, 0, 2)


def resampled_seeds(cells: Cells, draws: int, *, seed: int) -> Floats:
    """float64 [B, A, C]: averages over each aug's models drawn with replacement."""
    generator = np.random.Generator(np.random.Philox(seed))
    found = np.zeros((draws, len(cells.augs), len(cells.aug)))
    for place, aug in enumerate(cells.augs):
        rows = cells.members(aug)
        counts = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=draws)
        found[:, place, rows] = counts / len(rows)
    return found


def parts_of(averaging: Floats) -> Iterator[Floats]:
    """Averagings [P, A, C] some at a time: what is made of them takes several times their memory."""
    step = max(1, AT_ONCE // (8 * max(averaging[0].size if len(averaging) else 1, averaging.shape[1] ** 2)))
    for at in range(0, max(len(averaging), 1), step):
        yield averaging[at : at + step]


def p_value(observed: Floats, null: Floats) -> Floats:
    """(1 + how many of the null (axis 0) are as large) / (1 + P): never 0. A hair's slack for rounding."""
    as_large = (null >= observed - 1e-12).sum(0)
    return np.where(np.isfinite(observed), (1 + as_large) / (1 + len(null)), np.nan)


def top_pairs(values: Floats, k: int) -> NDArray[np.bool_]:
    """[..., pairs] → whether a pair is among the k highest of its row; NaN never, ties by place."""
    order = np.argsort(np.where(np.isfinite(values), -values, np.inf), axis=-1, kind="stable")
    chosen = np.zeros(values.shape, dtype=bool)
    np.put_along_axis(chosen, order[..., :k], True, axis=-1)
    return chosen & np.isfinite(values)


def pair_table(
    cells: Cells, found: Covariances, metrics: Sequence[str], *, permutations: int, confidence: float, seed: int,
    k: int = 4,
) -> pd.DataFrame:  # fmt: skip
    """One row per pair of augs (controls left out): how often it is among the k most and least correlated of all.

    strong, weak: metrics, of `metrics`, in which it is; *_share: mean share of metrics under resampling of images
    and seeds; *_low, *_high: interval of the counts under resampling. p_strong, p_weak: of the count, p_similar of
    `similarity` (mean correlation of single models over the metrics), all one-sided, under permutation of the
    models. All p are NaN where no aug has two models. Empty with fewer than 2k pairs (docs/metrics.md).
    """
    cells, found = without_controls(cells, found)
    names = sorted(cells.augs)
    pairs = list(combinations(names, 2))
    usable = [metric for metric in metrics if np.isfinite(correlations(found.whole[metric])).all()]
    if len(pairs) < 2 * k or not usable:
        return pd.DataFrame(columns=PAIRS)
    at = tuple(np.array([[cells.augs.index(name) for name in pair] for pair in pairs]).T)
    averaging = cells.averaging()
    several = bool((averaging > 0).sum(1).max() > 1)

    def counts(average: Floats, covariance: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        values = np.stack([of_seed_means(covariance[metric], average)[..., at[0], at[1]] for metric in usable])
        return top_pairs(values, k).sum(0).astype(float), top_pairs(-values, k).sum(0).astype(float)

    def similarity(average: Floats) -> Floats:
        z = [
            block_means(fisher(correlations(found.whole[metric])), average)[..., at[0], at[1]] for metric in usable
        ]
        return np.asarray(np.mean(z, axis=0))

    strong, weak = counts(averaging, found.whole)
    alike = similarity(averaging)
    resampled = resampled_seeds(cells, found.draws, seed=seed)

    def under(average: Floats, covariance: Mapping[str, Floats]) -> dict[str, Floats]:
        return dict(zip(("strong", "weak"), counts(average, covariance), strict=True))

    drawn = found.of_draws(lambda block, which: under(resampled[which], block))
    tail = 100 * (1 - confidence) / 2
    table = pd.DataFrame(pairs, columns=["aug_a", "aug_b"])
    table["strong"], table["weak"] = strong.astype(int), weak.astype(int)
    table["similarity"] = np.tanh(alike)
    for name, values in drawn.items():
        table[f"{name}_share"] = values.mean(0) / len(usable)
        table[f"{name}_low"], table[f"{name}_high"] = np.percentile(values, [tail, 100 - tail], axis=0)
    null = permuted(cells, permutations, seed=seed + 1)
    parts = [(*counts(some, found.whole), similarity(some)) for some in parts_of(null)]
    nulls = [np.concatenate(values) for values in zip(*parts, strict=True)]
    for name, observed, values in zip(("strong", "weak", "similar"), (strong, weak, alike), nulls, strict=True):
        table[f"p_{name}"] = p_value(observed, values) if several else np.nan
        table[f"p_{name}_holm"] = holm(table[f"p_{name}"].to_numpy())
    table = table.sort_values(["strong", "similarity"], ascending=False, kind="stable", ignore_index=True)
    table.attrs["metrics"] = usable
    return table[PAIRS]


def self_resemblance(
    cells: Cells, matrices: Mapping[str, Floats], *, permutations: int, seed: int
) -> pd.DataFrame:
    """Do models of one aug resemble each other more than models of different augs? One row per matrix.

    matrices: name → how alike any two models are [C, C]; higher is more alike. Controls are left out. same_aug,
    other_aug: means over pairs of models of different seeds, for those of one seed may share initial weights; p:
    one-sided, models permuted among the augs. NaN where no aug has two models or a pair is undefined.
    """
    rows = []
    keep = np.flatnonzero([cells.augs[place] not in CONTROLS for place in cells.aug])
    labels, seeds = cells.aug[keep], cells.seeds[keep]
    apart = seeds[:, None] != seeds[None]  # and so are two models of one aug
    same = (labels[:, None] == labels[None]) & apart
    number, others = int(same.sum()), int((apart & ~same).sum())
    shuffled = labels[orders(seeds, permutations, seed=seed)]
    for name, matrix in matrices.items():
        values = np.where(apart, matrix[np.ix_(keep, keep)], 0.0)
        total = values.sum()
        within, between, p = np.nan, np.nan, np.nan
        if number and others and np.isfinite(total):
            inside = values[same].sum()
            within, between = inside / number, (total - inside) / others
            null = [values[one[:, None] == one[None]].sum() for one in shuffled]
            p = float(p_value(np.array(inside), np.array(null)))
        rows.append((name, within, between, within - between, p, len(keep), len(set(labels.tolist()))))
    return pd.DataFrame(rows, columns=RESEMBLANCE)
