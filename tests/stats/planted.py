"""Synthetic studies whose truth is known: per-image tables with planted clusters, shifts and spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

AUGS = ("affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop")
METRICS = ("mad", "msd", "pearson", "spearman")


def planted(
    *,
    seed: int,
    augs: Sequence[str] = (*AUGS, "identity", "noise", "reseed"),
    seeds: int = 3,
    replicates: Mapping[str, int] | None = None,
    images: int = 60,
    metrics: Sequence[str] = METRICS,
    clusters: Sequence[Sequence[str]] = (),
    cluster_sd: float = 1.0,
    shift: Mapping[str, float] | None = None,
    image_sd: float = 1.0,
    model_sd: float = 1.0,
    seed_sd: float | Mapping[str, float] = 0.1,
    shared: float = 0.7,
    weights_sd: float = 0.0,
) -> pd.DataFrame:
    """Rows per (aug, seed, image), one column per metric.

    value = shift of the aug + what the image does to every model + what it does to the models of a cluster
    + what it does to this model + the model's own offset, each normal with its sd. shared: correlation of the
    metrics' deviations with one another, as those of real metrics are. weights_sd: what a seed does to every
    model of it, image by image, as shared initial weights do.
    """
    generator = np.random.default_rng(seed)
    m = len(metrics)
    covariance = shared + (1 - shared) * np.eye(m)
    root = np.linalg.cholesky(covariance)

    def normal(*shape: int) -> np.ndarray:
        return np.asarray(generator.standard_normal((*shape, m)) @ root.T)

    image = image_sd * normal(images)
    group = {aug: n for n, cluster in enumerate(clusters) for aug in cluster}
    factors = cluster_sd * normal(len(clusters), images)
    weights = weights_sd * normal(seeds, images) if weights_sd else np.zeros((seeds, images, m))
    frames = []
    for aug in augs:
        spread = seed_sd[aug] if isinstance(seed_sd, Mapping) else seed_sd
        for number in range(1, (replicates or {}).get(aug, seeds) + 1):
            values = (
                (shift or {}).get(aug, 0.0)
                + image
                + weights[number - 1]
                + model_sd * normal(images)
                + spread * normal(1)
            )
            if aug in group:
                values = values + factors[group[aug]]
            frame = pd.DataFrame(values, columns=list(metrics))
            frames.append(frame.assign(aug=aug, seed=number, image=np.arange(images)))
    return pd.concat(frames, ignore_index=True)
