"""The data set's own bias: the mean map, a fixed map in the centre, and how much of a metric they explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells, Floats
from auglens.stats.correlation import LEAST_IMAGES
from auglens.stats.divergence import spread_of_models
from auglens.stats.floor import IMAGES_AND_SEEDS, IMAGES_ONLY, seed_means

BIAS = [
    "aug", "metric", "mean", "mean_map", "centre", "explained", "explained_low", "explained_high", "images",
    "seeds", "covers",
]  # fmt: skip


def usable(maps: NDArray[Any]) -> NDArray[np.bool_]:
    """maps: float [N, h, w] → bool [N]: finite throughout and not constant."""
    finite = np.isfinite(maps).all(axis=(1, 2))
    return np.asarray(finite & (maps.max(axis=(1, 2)) > maps.min(axis=(1, 2))))


def mean_map(maps: NDArray[Any]) -> tuple[Floats, int]:
    """maps: float [N, h, w] in [0, 1], finished or scaled → (their mean float64 [h, w], how many it is made of).

    Constant maps and those with a NaN or infinity are left out; all NaN where none is left. Not scaled again: of
    all fixed maps the mean has the lowest mean squared difference from the maps. It contains each image's own
    map, whose share of 1/N matters with tens of images and not with hundreds.
    """
    use = usable(maps)
    if not use.any():
        return np.full(maps.shape[1:], np.nan), 0
    return np.mean(maps, axis=0, dtype=np.float64, where=use[:, None, None]), int(use.sum())


def class_maps(maps: NDArray[Any], labels: NDArray[Any], classes: int) -> tuple[Floats, NDArray[np.int64]]:
    """`mean_map` of each class: (float64 [classes, h, w], int64 [classes]). labels: int [N], 0 … classes − 1."""
    found = [mean_map(maps[labels == c]) for c in range(classes)]
    return np.stack([mean for mean, _ in found]), np.array([number for _, number in found], dtype=np.int64)


def centre_map(height: int, width: int) -> Floats:
    """float64 [height, width]: a Gaussian in the centre, σ = a quarter of each side, scaled to [0, 1].

    ValueError where no side has three pixels: such a map would be constant.
    """
    if min(height, width) < 1 or max(height, width) < 3:
        got = f"{height}×{width}"
        raise ValueError(
            f"centre_map: expected a side of 3 pixels or more, got {got}; take a layer with larger maps"
        )
    along = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2) for n in (height, width)]
    gaussian = np.outer(*along)
    return np.asarray((gaussian - gaussian.min()) / np.ptp(gaussian))


def r_squared(x: Floats, y: Floats, weights: Floats) -> Floats:
    """R² of y regressed on x and a constant, for each weighting: float64 [B].

    x, y: float64 [N], pairs with a NaN left out; weights: [B, N]. NaN with fewer than three images, or where one
    side is constant.
    """
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < LEAST_IMAGES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.full(len(weights), np.nan)
    # Centred and in units of their spread first: the sums below then lose no digits.
    x, y = (x - x.mean()) / np.ptp(x), (y - y.mean()) / np.ptp(y)
    sums = weights[:, both].astype(np.float64) @ np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)
    total, sx, sy, sxx, syy, sxy = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        vx, vy, both_ways = sxx - sx * sx / total, syy - sy * sy / total, sxy - sx * sy / total
        known = (vx > 1e-12 * sxx) & (vy > 1e-12 * syy)
        return np.where(known, np.minimum(both_ways**2 / (vx * vy), 1.0), np.nan)


def bias_table(
    cells: Cells,
    typical: Mapping[str, Floats],
    centre: Mapping[str, Floats],
    weights: NDArray[np.int32],
    confidence: float,
) -> pd.DataFrame:
    """One row per (aug, metric of `typical`): what the metric is, and what it would be with a fixed map instead.

    typical: metric → float64 [N], the reference's map of each of `cells.images` against the mean map of all the
    reference's maps; centre: the same against `centre_map`; weights: int [B, N]. mean: over images of seed means;
    mean_map, centre: means over images, the same for every aug. explained: R² over images of a model's metric
    on `typical`, mean over the aug's models: what of the metric says just how untypical the reference's map is.
    ValueError where `typical` or `centre` has another length than the images.
    """
    size = len(cells.images)
    for name, given in (("typical", typical), ("centre", centre)):
        for metric, values in given.items():
            if values.shape != (size,):
                wrong = f"expected one value for each of {size} images, got {list(values.shape)}"
                raise ValueError(f"{name}[{metric!r}]: {wrong}; compute it on the images of the table")
    whole = np.vstack([np.ones((1, size)), weights])
    rows: list[tuple[Any, ...]] = []
    for metric, fixed in typical.items():
        values = cells.values[metric]
        found = np.stack([r_squared(fixed, row, whole) for row in values], axis=1)
        images = (np.isfinite(values) & np.isfinite(fixed)).sum(1)
        spread = spread_of_models(cells.augs, cells.aug, found[0], found[1:], int(images.max(initial=0)))
        low, high = (np.clip(bound, 0, 1) for bound in spread.interval(confidence))
        beside = (_mean(fixed), _mean(centre[metric]))
        for n, aug in enumerate(cells.augs):
            mine = cells.members(aug)
            covers = IMAGES_AND_SEEDS if np.isfinite(spread.variance[n]) else IMAGES_ONLY
            explained = (
                spread.estimate[n],
                low[n],
                high[n],
                images[mine].mean(),
                int(spread.replicates[n]),
                covers,
            )
            rows.append((aug, metric, _mean(seed_means(values[mine])), *beside, *explained))
    table = pd.DataFrame(rows, columns=BIAS)
    return table.sort_values("aug", key=lambda augs: augs.map(cells.augs.index), kind="stable", ignore_index=True)


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
