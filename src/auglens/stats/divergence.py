"""Does divergence of the maps go with a change of correctness? Image by image, and aug by aug."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations as orders_of
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats, cells_of
from auglens.stats.floor import IMAGES_AND_SEEDS, IMAGES_ONLY, Spread, seed_means
from auglens.stats.resampling import holm, moderate_augs
from auglens.stats.seeds import CONTROLS

QUESTIONS = ("changed", "lost", "gained")
# With fewer images on either side a bootstrap of the images knows too little of that side's spread: with 10 to 19
# a nominal 95 % covers 84 to 94 %, below 10 less (docs/statistics.md). No interval then.
LEAST_EVENTS = 20
AT_ONCE = 250  # draws: what they touch stays in the cache
LEAST_AUGS = 3
EXACT_AUGS = 8  # 8! = 40,320 orders are all gone through
DIVERGENCE = [
    "aug", "metric", "question", "auc", "low", "high", "images", "events", "undefined", "seeds", "covers",
]  # fmt: skip
POINTS = ["aug", "metric", "moved", "accuracy_change"]
DIVERGENCE_AUGS = ["metric", "spearman", "p", "augs", "p_holm"]


def unseen(_count: int) -> None:
    """A progress that nobody sees."""


def wins(
    positive: Floats, negative: Floats, positive_weights: NDArray[Any], negative_weights: NDArray[Any]
) -> Floats:
    """Σ over pairs of [positive > negative] + ½ [equal], for B weightings at once: float64 [B].

    positive: [P], negative: [Q], all finite; weights: [P, B] and [Q, B], images in rows. Mann and Whitney's U.
    """
    order = np.argsort(negative, kind="stable")
    reached = np.zeros((len(negative) + 1, negative_weights.shape[1]), dtype=negative_weights.dtype)
    np.cumsum(negative_weights[order], axis=0, out=reached[1:])
    ordered = negative[order]
    below = reached[np.searchsorted(ordered, positive, "left")]
    below += reached[np.searchsorted(ordered, positive, "right")]
    return np.asarray(np.einsum("pb,pb->b", positive_weights.astype(np.float64), below.astype(np.float64)) / 2)


def weight_blocks(weights: NDArray[np.int32], images: int) -> list[NDArray[Any]]:
    """weights: int [B, N] → blocks float [N, ≤ AT_ONCE], together 1 + B columns: all ones, then the draws.

    Sums over images are whole numbers, and exact: float32 for less than 2²² of them, which halves the time.

    ValueError where N is not `images`.
    """
    if weights.ndim != 2 or weights.shape[1] != images:
        shape = list(weights.shape)
        raise ValueError(
            f"weights: expected [draws, {images} images], got {shape}; pass image_weights({images}, …)"
        )
    columns = np.vstack([np.ones((1, images), dtype=weights.dtype), weights])
    starts = range(0, len(columns), AT_ONCE)
    kind = np.float32 if images < 1 << 22 else np.float64
    return [np.ascontiguousarray(columns[at : at + AT_ONCE].T, dtype=kind) for at in starts]


def auc(values: Floats, yes: NDArray[np.int64], no: NDArray[np.int64], blocks: Sequence[NDArray[Any]]) -> Floats:
    """How well `values` separate two sets of images: float64 [1 + B]; 1 = all of `yes` lie higher, 0.5 = chance.

    values: float64 [N], finite where used; yes, no: images; blocks: `weight_blocks`. Ties count half. NaN where
    one of the sets is empty, or is drawn empty.
    """
    parts = []
    for block in blocks:
        of_yes, of_no = block[yes], block[no]
        pairs = of_yes.sum(0, dtype=np.float64) * of_no.sum(0, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            parts.append(wins(values[yes], values[no], of_yes, of_no) / np.where(pairs > 0, pairs, np.nan))
    return np.concatenate(parts)


def spread_of_models(
    augs: Sequence[str], aug: NDArray[np.int64], whole: Floats, draws: Floats, images: int
) -> Spread:
    """A statistic of each model → of each aug: the mean over its models, with what images and seeds spread.

    aug: int [C], place in `augs`; whole: float64 [C]; draws: [B, C]. Models where it is undefined are left out.
    """
    size = len(augs)
    estimate, variance = np.full(size, np.nan), np.full(size, np.nan)
    drawn, replicates = np.full((len(draws), size), np.nan), np.zeros(size, dtype=np.int64)
    for place in range(size):
        rows = np.flatnonzero((aug == place) & np.isfinite(whole))
        replicates[place] = len(rows)
        if len(rows):
            estimate[place], drawn[:, place] = whole[rows].mean(), draws[:, rows].mean(1)
        if len(rows) > 1:
            variance[place] = whole[rows].var(ddof=1)
    moderated, freedom = moderate_augs(variance, np.maximum(replicates, 1), augs)
    return Spread(estimate, drawn, moderated, freedom, replicates, images)


def questions(cells: Cells) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """(question, asked bool [C, N], event bool [C, N]). changed: correctness differs from the reference's, of all
    images; lost: of those that the reference got right; gained: of those that it got wrong."""
    now, before = cells.values["correct"], cells.values["reference_correct"]
    known = np.isfinite(now) & np.isfinite(before)
    event = known & (now != before)
    yield "changed", known, event
    yield "lost", known & (before == 1), event
    yield "gained", known & (before == 0), event


def with_correctness(table: pd.DataFrame, metrics: Sequence[str]) -> Cells:
    """`cells_of` with `correct` and `reference_correct` as 0, 1 or NaN among the values."""
    names = ("correct", "reference_correct")
    told = {
        name: table[name].astype("boolean").astype("Float64").to_numpy(np.float64, na_value=np.nan)
        for name in names
    }
    return cells_of(table.assign(**told), [*metrics, *names])


def divergence_table(
    table: pd.DataFrame,
    metrics: Sequence[str],
    weights: NDArray[np.int32],
    confidence: float,
    closer: Mapping[str, bool],
    advance: Callable[[int], object] = unseen,
) -> pd.DataFrame:
    """One row per (aug, metric, question): with which AUC the metric tells images whose correctness changed (mean
    over the aug's models), and its interval.

    table: distinct replicates with columns correct, reference_correct; weights: int [B, N], images ascending;
    closer: metric → whether higher values mean more alike maps, so that an AUC above 0.5 always says that the
    images that changed moved further. images, events, undefined (images left out because the metric is): means
    over the aug's models. No interval with fewer than LEAST_EVENTS events, or other images, per model. advance:
    called with the number of models done for every metric and question.
    """
    cells = with_correctness(table, metrics)
    blocks = weight_blocks(weights, len(cells.images))
    place = {aug: n for n, aug in enumerate(cells.augs)}
    rows = []
    for metric in metrics:
        values = -cells.values[metric] if closer[metric] else cells.values[metric]
        for question, asked, event in questions(cells):
            used = asked & np.isfinite(values)
            sides = zip(used & event, used & ~event, values, strict=True)
            found = np.stack([auc(v, np.flatnonzero(a), np.flatnonzero(b), blocks) for a, b, v in sides], axis=1)
            spread = spread_of_models(cells.augs, cells.aug, found[0], found[1:], int(used.sum(1).max(initial=0)))
            low, high = (np.clip(bound, 0, 1) for bound in spread.interval(confidence))
            advance(len(values))
            for aug, n in place.items():
                mine = cells.members(aug)
                images, events = used[mine].sum(1), (used & event)[mine].sum(1)
                enough = min(events.min(), (images - events).min()) >= LEAST_EVENTS
                bounds = (low[n], high[n]) if enough else (np.nan, np.nan)
                undefined = (asked & ~used)[mine].sum(1).mean()
                covers = IMAGES_AND_SEEDS if np.isfinite(spread.variance[n]) else IMAGES_ONLY
                counts = (images.mean(), events.mean(), undefined, int(spread.replicates[n]), covers)
                rows.append((aug, metric, question, spread.estimate[n], *bounds, *counts))
    found_table = pd.DataFrame(rows, columns=DIVERGENCE)
    return found_table.sort_values("aug", key=lambda augs: augs.map(place), kind="stable", ignore_index=True)


def divergence_points(table: pd.DataFrame, metrics: Sequence[str], closer: Mapping[str, bool]) -> pd.DataFrame:
    """One row per (aug, metric), controls included: how far the maps moved (mean over images of seed means, sign
    turned for similarities) and the aug's mean accuracy minus the reference's."""
    cells = with_correctness(table, metrics)
    rows = []
    for aug in cells.augs:
        mine = cells.members(aug)
        change = np.nanmean(cells.values["correct"][mine] - cells.values["reference_correct"][mine], axis=1).mean()
        for metric in metrics:
            means = seed_means(cells.values[metric][mine])
            moved = means[np.isfinite(means)].mean() if np.isfinite(means).any() else np.nan
            rows.append((aug, metric, -moved if closer[metric] else moved, change))
    return pd.DataFrame(rows, columns=POINTS)


def rank_correlation(a: Floats, b: Floats, *, permutations: int, seed: int) -> tuple[float, float]:
    """(Spearman's ρ, two-sided p): under all orders of up to EXACT_AUGS values, else under `permutations` drawn.

    a, b: float64 [n], finite. NaN with fewer than LEAST_AUGS values or where one side is constant.
    """
    if len(a) < LEAST_AUGS or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan"), float("nan")
    from scipy import stats  # slow to import, and `compare` ranks nothing

    x, y = (stats.rankdata(side) - (len(side) + 1) / 2 for side in (a, b))
    scale = np.sqrt((x @ x) * (y @ y))
    observed = float(x @ y / scale)
    if len(x) <= EXACT_AUGS:
        null = y[np.array(list(orders_of(range(len(y)))))] @ x / scale
        return observed, float((np.abs(null) >= abs(observed) - 1e-12).sum() / factorial(len(y)))
    generator = np.random.Generator(np.random.Philox(seed))
    null = generator.permuted(np.tile(y, (permutations, 1)), axis=1) @ x / scale
    return observed, float((1 + (np.abs(null) >= abs(observed) - 1e-12).sum()) / (1 + permutations))


def divergence_augs(
    points: pd.DataFrame, *, permutations: int, seed: int, without: Sequence[str] = CONTROLS
) -> pd.DataFrame:
    """One row per metric: over augs (controls left out), Spearman's ρ of how far the maps moved and how accuracy
    changed, its permutation p, the number of augs, and p after Holm over metrics. points: `divergence_points`."""
    rows = []
    for metric, group in points[~points["aug"].isin(without)].groupby("metric", sort=False):
        moved, change = (group[name].to_numpy(dtype=np.float64) for name in ("moved", "accuracy_change"))
        both = np.isfinite(moved) & np.isfinite(change)
        rho, p = rank_correlation(moved[both], change[both], permutations=permutations, seed=seed)
        rows.append((metric, rho, p, int(both.sum())))
    found = pd.DataFrame(rows, columns=DIVERGENCE_AUGS[:-1])
    return found.assign(p_holm=holm(found["p"].to_numpy(dtype=np.float64)))
