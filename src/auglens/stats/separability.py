"""Can a classifier tell the reference's raw maps from an aug's? Logistic regression, cross-validated by image."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.bias import usable
from auglens.stats.cells import Floats
from auglens.stats.divergence import spread_of_models, unseen, weight_blocks, wins
from auglens.stats.floor import IMAGES_AND_SEEDS, IMAGES_ONLY, difference, verdict
from auglens.stats.resampling import RESEED, holm
from auglens.stats.seeds import CONTROLS

FLOOR = "floor"  # in the place of a verdict, in reseed's own rows
FEATURES = ("raw", "scaled")
STRENGTH = 1.0  # scikit-learn's C, its default: the penalty ½‖w‖² beside the summed loss. Fixed, never tuned
LEAST_PER_FOLD = 2  # images
# An image is held out once and trains the other folds' classifiers: with maps of one distribution the AUC varies
# up to twice as much as scores resampled as they stand do (docs/statistics.md).
OVERLAP_OF_FOLDS = 2.0
SEPARABILITY = [
    "aug", "features", "auc", "low", "high", "seeds", "floor", "verdict", "difference", "difference_low",
    "difference_high", "p", "p_holm", "images", "left_out", "covers",
]  # fmt: skip


def features_of(maps: NDArray[Any], features: str) -> Floats:
    """maps: float [N, h, w], usable → float64 [N, h·w]. scaled: each map to [0, 1], as the study compares them."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    if features == "raw":
        return flat
    low, high = flat.min(1, keepdims=True), flat.max(1, keepdims=True)
    return np.asarray((flat - low) / (high - low))


def folds_of(images: int, folds: int, *, seed: int) -> NDArray[np.int64]:
    """int64 [images]: each image's fold, sizes equal to within one. Both maps of an image share its fold."""
    if not 2 <= folds <= images // LEAST_PER_FOLD:
        bounds = f"2 to {images // LEAST_PER_FOLD} ({images} images, {LEAST_PER_FOLD} or more in each)"
        raise ValueError(f"folds: expected {bounds}, got {folds}; set analysis.folds or take more images")
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *b"folds"])))
    return np.asarray(generator.permutation(np.arange(images) % folds))


def scores(reference: Floats, other: Floats, fold: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Out-of-fold scores (log-odds that a map is the other model's) of both models' maps: float64 [N] each.

    reference, other: float64 [N, d], row n of both from the same image; fold: int [N]. Features are standardised
    on the training folds; one that is constant there counts nothing. NaN where no other fold has an image.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # slow to import

    found = np.full((2, len(fold)), np.nan)
    for held in np.unique(fold):
        out = fold == held
        if out.all():
            continue
        train = np.concatenate([reference[~out], other[~out]])
        mean, sd = train.mean(0), train.std(0)
        sd = np.where(sd > 1e-12 * np.abs(train).max(0), sd, np.inf)
        labels = np.repeat([0, 1], len(train) // 2)
        model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", tol=1e-8, max_iter=100)
        with warnings.catch_warnings():  # maps that are told apart perfectly: the scores are still in order
            warnings.simplefilter("ignore")
            model.fit((train - mean) / sd, labels)
        for side, rows in enumerate((reference, other)):
            found[side, out] = model.decision_function((rows[out] - mean) / sd)
    return found[0], found[1]


def auc_of_scores(low: Floats, high: Floats, fold: NDArray[np.int64], blocks: list[NDArray[Any]]) -> Floats:
    """float64 [1 + B]: share of pairs (a map of each model) from one fold in which `high`'s scores higher.

    low, high: scores [N] of the reference's and the other's maps, NaN left out; blocks: `weight_blocks`. Within a
    fold, because scores of two classifiers have no common scale. An image's two maps carry one weight.
    """
    parts = []
    known = np.isfinite(low) & np.isfinite(high)
    for block in blocks:
        won, pairs = np.zeros(block.shape[1]), np.zeros(block.shape[1])
        for held in np.unique(fold[known]):
            rows = np.flatnonzero(known & (fold == held))
            weight = block[rows]
            won += wins(high[rows], low[rows], weight, weight)
            pairs += weight.sum(0, dtype=np.float64) ** 2
        with np.errstate(invalid="ignore"):
            parts.append(won / np.where(pairs > 0, pairs, np.nan))
    return np.concatenate(parts)


def separability_table(
    reference: NDArray[Any],
    cells: Mapping[tuple[str, int], NDArray[Any]],
    weights: NDArray[np.int32],
    confidence: float,
    *,
    folds: int,
    seed: int,
    advance: Callable[[int], object] = unseen,
) -> pd.DataFrame:
    """One row per (aug, features): mean over the aug's models of the AUC with which a classifier tells its maps
    from the reference's; `reseed`'s as the floor; difference = AUC − floor, and the verdict on it.

    reference: raw maps float [N, h, w]; cells: (aug, seed) → the same of distinct replicates; weights: int [B, N].
    verdict: as in `floor_table`, from p_holm (over augs; the other controls are a family of their own). Images on
    which either map is constant or not finite are left out: left_out, images: means over the aug's models.
    ValueError where shapes differ or there are too few images for `folds`. advance: called after every model,
    twice.
    """
    for (aug, number), maps in cells.items():
        if maps.shape != reference.shape or maps.ndim != 3:
            shapes = f"{list(maps.shape)} against the reference's {list(reference.shape)}"
            raise ValueError(f"cells: {aug}-{number} has maps {shapes}; pass raw maps [N,h,w] of one study")
    if not cells:
        return pd.DataFrame(columns=SEPARABILITY)
    fold = folds_of(len(reference), folds, seed=seed)
    blocks = weight_blocks(weights, len(reference))
    augs = tuple(dict.fromkeys(aug for aug, _ in cells))
    place = np.array([augs.index(aug) for aug, _ in cells], dtype=np.int64)
    kept = {cell: usable(reference) & usable(maps) for cell, maps in cells.items()}
    images = np.array([rows.sum() for rows in kept.values()])
    rows: list[tuple[Any, ...]] = []
    for features in FEATURES:
        drawn = []
        for cell, maps in cells.items():
            use = kept[cell]
            low, high = np.full(len(use), np.nan), np.full(len(use), np.nan)
            if use.any():
                sides = (features_of(reference[use], features), features_of(maps[use], features))
                low[use], high[use] = scores(*sides, fold[use])
            drawn.append(auc_of_scores(low, high, fold, blocks))
            advance(1)
        whole, draws = np.stack(drawn, axis=1)[0], np.stack(drawn, axis=1)[1:]
        draws = whole + np.sqrt(OVERLAP_OF_FOLDS) * (draws - whole)
        spread = spread_of_models(augs, place, whole, draws, int(images.max()))
        bounds = [np.clip(bound, 0, 1) for bound in spread.interval(confidence)]
        floor = augs.index(RESEED) if RESEED in augs else None
        for n, aug in enumerate(augs):
            against = (np.nan,) * 4
            if floor is not None and n != floor:
                against = difference(spread, n, floor, confidence)
            mine = (spread.estimate[n], bounds[0][n], bounds[1][n], int(spread.replicates[n]))
            beside = spread.estimate[floor] if floor is not None else np.nan
            counts = (images[place == n].mean(), len(reference) - images[place == n].mean())
            covers = IMAGES_AND_SEEDS if np.isfinite(spread.variance[n]) else IMAGES_ONLY
            rows.append((aug, features, *mine, beside, "", *against, np.nan, *counts, covers))
    return _judged(pd.DataFrame(rows, columns=SEPARABILITY), confidence)


def _judged(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    for _, family in table.groupby(["features", table["aug"].isin(CONTROLS)], sort=False):
        table.loc[family.index, "p_holm"] = holm(family["p"].to_numpy(dtype=np.float64))
    judged = [verdict(d, p, confidence) for d, p in zip(table["difference"], table["p_holm"], strict=True)]
    table["verdict"] = np.where(table["aug"] == RESEED, FLOOR, judged)
    order = {aug: n for n, aug in enumerate(dict.fromkeys(table["aug"]))}
    return table.sort_values("aug", key=lambda augs: augs.map(order), kind="stable", ignore_index=True)
