"""Intervals over test images and seeds: images by the bootstrap, seeds by a moderated variance.

A statistic varies with the test images and with the seeds. The images are many: they are resampled. The
seeds are two or three: a bootstrap of so few has few distinct outcomes and a variance too small by
(n − 1)/n, so their part is the jackknife's variance, moderated: an aug's own counts with its n − 1 degrees
of freedom and the one pooled over all augs with `PRIOR`. Both parts add up, and the interval takes Student's t
at the degrees of freedom after Welch and Satterthwaite. Coverage by simulation: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auglens.stats.seeds import CONTROLS

Floats = NDArray[np.float64]
CORRECTING = 100  # draws that tell how much of the seeds' variance the images' has already
PRIOR = 4.0  # degrees of freedom with which the pooled variance counts beside an aug's own
RESEED = CONTROLS[2]  # varies initial weights and order, too: its spread is a thing of its own


def image_weights(images: int, draws: int, *, seed: int) -> NDArray[np.int32]:
    """int32 [draws, images]: how often each image is in each bootstrap sample; rows sum to `images`."""
    generator = np.random.Generator(np.random.Philox(seed))
    share = np.full(images, 1 / images)
    return generator.multinomial(images, share, size=draws).astype(np.int32)


def weighted_means(values: Floats, weights: NDArray[np.int32]) -> Floats:
    """values: float64 [R, N], NaN left out; weights: [B, N] → means float64 [B, R]."""
    finite = np.isfinite(values)
    counts = weights.astype(np.float64)
    total, number = counts @ np.where(finite, values, 0.0).T, counts @ finite.T.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / number, np.nan)


def weighted_medians(values: Floats, weights: NDArray[np.int32]) -> Floats:
    """values: float64 [R, N], NaN left out; weights: [B, N] → medians float64 [B, R] of the expanded samples."""
    found = np.full((len(weights), len(values)), np.nan)
    for row, value in enumerate(values):
        finite = np.flatnonzero(np.isfinite(value))
        if len(finite) == 0:
            continue
        order = finite[np.argsort(value[finite], kind="stable")]
        ordered = value[order]
        reached = np.cumsum(weights[:, order], axis=1, dtype=np.int32)  # together no more than the images
        number = reached[:, -1]
        # Places of the two middle values, counted from 0, in the sample with its repetitions.
        low = (reached > ((number - 1) // 2)[:, None]).argmax(1)
        high = (reached > (number // 2)[:, None]).argmax(1)
        found[:, row] = np.where(number > 0, (ordered[low] + ordered[high]) / 2, np.nan)
    return found


def jackknife_variance(left_out: Floats) -> Floats:
    """Variance [...] of a statistic of n replicates from its values [n, ...] with one left out; NaN for n < 2."""
    values = np.asarray(left_out, dtype=np.float64)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray((len(values) - 1) * values.var(0))


def seed_part(left_out: Floats, left_out_draws: Floats) -> Floats:
    """Variance [...] that the seeds add to the images': below 0 by chance, where they add nothing.

    left_out: [n, ...], the statistic with each replicate left out; left_out_draws: [n, K, ...], the same under
    resampled images. What an image does to one model alone is in the bootstrap over images already; how much
    of the jackknife's variance that is, is what resampling the images adds to it.
    """
    whole = jackknife_variance(left_out)
    again = np.asarray(jackknife_variance(left_out_draws)).mean(0) if len(left_out_draws) else whole
    return np.asarray(2 * whole - again)


def moderate(variance: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """Own variances [A] with their degrees of freedom [A] (0: none) → moderated variances and theirs.

    (PRIOR · pooled + d · own) / (PRIOR + d), with PRIOR + d degrees of freedom, never more than all augs have
    together. All NaN and 0 where no aug has a variance. Pass variances of one replicate, not of the mean, and
    do not cut off those below 0: pooled, they make up for those that are too high.
    """
    known = (freedom > 0) & np.isfinite(variance)
    own, d = np.where(known, variance, 0.0), np.where(known, freedom, 0.0)
    total = d.sum()
    if total == 0:
        return np.full(len(own), np.nan), np.zeros(len(own))
    pooled = float((own * d).sum() / total)
    prior = min(PRIOR, float(total))
    moderated = np.where(prior + d > total, pooled, (prior * pooled + d * own) / (prior + d))
    return moderated, np.minimum(prior + d, total)


def moderate_augs(variance: Floats, replicates: NDArray[np.int64], augs: Sequence[str]) -> tuple[Floats, Floats]:
    """Variance of one replicate [A] and replicates [A] → variance of each aug's mean [A], degrees of freedom.

    `reseed` keeps its own variance: other initial weights and order spread more than a seed does.
    """
    alone = np.array([aug == RESEED for aug in augs])
    freedom = np.where(np.isfinite(variance), replicates - 1.0, 0.0)
    found, df = moderate(np.where(alone, np.nan, variance), np.where(alone, 0.0, freedom))
    found, df = np.where(alone, variance, found), np.where(alone, freedom, df)
    return np.maximum(found, 0) / replicates, df


def standard_error(
    image_variance: Floats, seed_variance: Floats, df: Floats, images: int
) -> tuple[Floats, Floats]:
    """(standard error, degrees of freedom) of both parts together; a seed variance of NaN counts as none."""
    known = np.isfinite(seed_variance)
    seeds = np.where(known, seed_variance, 0.0)
    total = image_variance + seeds
    with np.errstate(invalid="ignore", divide="ignore"):
        from_seeds = np.where(known & (df > 0), seeds**2 / df, 0.0)
        freedom = total**2 / (image_variance**2 / max(images - 1, 1) + from_seeds)
    return np.sqrt(total), np.where(total > 0, freedom, np.inf)


def interval(
    estimate: Floats, image_draws: Floats, seed_variance: Floats, df: Floats, confidence: float, images: int = 1000
) -> tuple[Floats, Floats]:
    """(low, high): estimate ± t · √(variance over draws + seed variance).

    estimate, seed_variance, df: [...]; image_draws: [B, ...], the statistic under each resample of the images.
    NaN where the estimate is or no draw is finite. Where the seed variance is NaN it covers the images alone.
    """
    from scipy import stats  # slow to import, and `compare` draws no interval

    error, freedom = standard_error(draw_variance(image_draws), np.asarray(seed_variance), np.asarray(df), images)
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    return estimate - half, estimate + half


def draw_variance(image_draws: Floats) -> Floats:
    """Variance over the finite draws (axis 0); NaN with fewer than two."""
    finite = np.isfinite(image_draws)
    number = finite.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, image_draws, 0.0).sum(0) / number
        squares = (np.where(finite, image_draws - mean, 0.0) ** 2).sum(0)
        return np.asarray(np.where(number > 1, squares / (number - 1), np.nan))


def holm(p: Sequence[float] | Floats) -> Floats:
    """Holm's step-down adjusted p-values; NaN stays NaN and is not counted. Source: Holm, Scand. J. Stat. 1979."""
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted
