"""Augs compared directly: the maps of any two models on the same images, with no baseline between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats
from auglens.stats.resampling import CORRECTING, interval, weighted_means
from auglens.stats.seeds import REFERENCE
from auglens.stats.similarity import block_means, seed_variances, squares

DIRECT = ["metric", "aug_a", "aug_b", "mean", "low", "high", "model_pairs"]
AT_ONCE = 1 << 28  # bytes of resampled means as squares


def packed(values: Floats) -> Floats:
    """[C, C, N] of pairs of models, symmetric → [C (C + 1) / 2, N]: the upper triangle with its diagonal."""
    return np.asarray(values[np.triu_indices(len(values))])


def image_means(values: Floats, weights: NDArray[np.int32]) -> Floats:
    """values: `packed` [C (C + 1) / 2, N]; weights: [B, N] → means over the finite images [B, C, C]."""
    return squares(weighted_means(values, weights))


def direct_table(
    cells: Cells, pairs: Mapping[str, Floats], weights: NDArray[np.int32], confidence: float
) -> pd.DataFrame:
    """One row per metric and unordered pair of augs: the mean over pairs of models and images, with its interval.

    cells: which model is of which aug, the reference among them; pairs: metric → [C (C + 1) / 2, N] of every two
    models, `packed`: of 200 models and 1,000 images they are 0.2 GB a metric; weights: [B, N]. aug_a = aug_b: two
    seeds of one aug, the floor of its row; NaN where it has one model.
    """
    averaging = cells.averaging()
    counts = (averaging > 0).sum(1)
    number = np.outer(counts, counts)
    np.fill_diagonal(number, counts * (counts - 1) // 2)
    step = max(1, AT_ONCE // (8 * len(cells.aug) ** 2))
    rows = []
    for metric, values in pairs.items():
        once = np.ones((1, values.shape[-1]), dtype=np.int32)
        whole, means = image_means(values, once)[0], weighted_means(values, weights)
        parts = [block_means(squares(means[at : at + step]), averaging) for at in range(0, len(means), step)]
        variance, df = seed_variances(cells, whole, squares(means[:CORRECTING]), block_means)
        estimate = block_means(whole, averaging)
        low, high = interval(estimate, np.concatenate(parts), variance, df, confidence, values.shape[-1])
        rows += [
            (metric, a, b, estimate[i, j], low[i, j], high[i, j], int(number[i, j]))
            for i, a in enumerate(cells.augs)
            for j, b in enumerate(cells.augs)
            if j >= i
        ]
    return pd.DataFrame(rows, columns=DIRECT)


def without_reference(cells: Cells, matrices: Mapping[str, Floats]) -> tuple[Cells, dict[str, Floats]]:
    """The same models without the reference, and the matrices [C, C] without its row and column."""
    rows = np.flatnonzero([cells.augs[place] != REFERENCE for place in cells.aug])
    cut = np.ix_(rows, rows)
    kept = cells.restricted([aug for aug in cells.augs if aug != REFERENCE])
    return kept, {name: matrix[cut] for name, matrix in matrices.items()}
