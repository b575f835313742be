"""Correlation maps: do two augs move the same images? Pearson over test images of seed means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auglens.stats.seeds import average_seeds, images_by_aug

# Two points always correlate perfectly; three are the least that can say anything.
LEAST_IMAGES = 3


def correlation_map(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Augs × augs float64: Pearson over test images of the metric's seed means, controls included.

    table: rows per (aug, seed, image), or what `average_seeds` made of them. Pairwise complete: an image
    counts for a pair where both augs have a finite value (`correlation_counts`: how many). NaN where fewer
    than three images are left or one side is constant, on the diagonal too. Augs in table order.
    """
    values = _images_by_aug(table, metric)
    columns = values.to_numpy(dtype=np.float64).T
    matrix = np.full((len(columns), len(columns)), np.nan)
    for i, a in enumerate(columns):
        for j, b in enumerate(columns[: i + 1]):
            matrix[i, j] = matrix[j, i] = _pearson(a, b)
    return pd.DataFrame(matrix, index=values.columns, columns=values.columns)


def correlation_counts(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Augs × augs int64: the number of images behind each cell of `correlation_map`."""
    values = _images_by_aug(table, metric)
    present = np.isfinite(values.to_numpy(dtype=np.float64)).astype(np.int64)
    return pd.DataFrame(present.T @ present, index=values.columns, columns=values.columns)


def pairs_of_map(matrix: pd.DataFrame) -> pd.DataFrame:
    """A `correlation_map` with one row per cell: aug_a, aug_b, correlation."""
    rows = [(a, b, matrix.loc[a, b]) for a in matrix.index for b in matrix.columns]
    return pd.DataFrame(rows, columns=["aug_a", "aug_b", "correlation"])


def _images_by_aug(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return images_by_aug(average_seeds(table, [metric]) if "seed" in table.columns else table, metric)


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < LEAST_IMAGES or a.min() == a.max() or b.min() == b.max():
        return float("nan")
    # From the lowest value up and in units of the range: no cancellation, no overflow.
    a, b = (a - a.min()) / (a.max() - a.min()), (b - b.min()) / (b.max() - b.min())
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1, 1))
