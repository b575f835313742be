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
    columns = np.ascontiguousarray(values.to_numpy(dtype=np.float64).T)
    defined = np.isfinite(columns)
    whole = [_standard(column) if known.all() else None for column, known in zip(columns, defined, strict=True)]
    matrix = np.full((len(columns), len(columns)), np.nan)
    for i, a in enumerate(columns):
        for j, b in enumerate(columns[: i + 1]):
            one, other = whole[i], whole[j]
            if one is None or other is None:
                both = defined[i] & defined[j]
                one, other = _standard(a[both]), _standard(b[both])
            matrix[i, j] = matrix[j, i] = _pearson(one, other)
    return pd.DataFrame(matrix, index=values.columns, columns=values.columns)


def correlation_counts(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Augs × augs int64: the number of images behind each cell of `correlation_map`."""
    values = _images_by_aug(table, metric)
    present = np.isfinite(values.to_numpy(dtype=np.float64)).astype(np.float64)  # BLAS knows no integers
    return pd.DataFrame((present.T @ present).astype(np.int64), index=values.columns, columns=values.columns)


def pairs_of_map(matrix: pd.DataFrame) -> pd.DataFrame:
    """A `correlation_map` with one row per cell: aug_a, aug_b, correlation."""
    pairs = [(a, b) for a in matrix.index for b in matrix.columns]
    return pd.DataFrame(pairs, columns=["aug_a", "aug_b"]).assign(correlation=matrix.to_numpy().ravel())


def _images_by_aug(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return images_by_aug(average_seeds(table, [metric]) if "seed" in table.columns else table, metric)


def _standard(values: np.ndarray) -> tuple[np.ndarray, float] | None:
    """(values − their mean, the sum of their squares) in units of their range; None: too few, or constant."""
    if len(values) < LEAST_IMAGES or values.min() == values.max():
        return None
    # From the lowest value up and in units of the range: no cancellation, no overflow.
    scaled = (values - values.min()) / (values.max() - values.min())
    centred = scaled - scaled.mean()
    return centred, float(centred @ centred)


def _pearson(a: tuple[np.ndarray, float] | None, b: tuple[np.ndarray, float] | None) -> float:
    if a is None or b is None:
        return float("nan")
    return float(np.clip((a[0] @ b[0]) / np.sqrt(a[1] * b[1]), -1, 1))
