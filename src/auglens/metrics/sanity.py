"""How far maps move while a network's weights are made random, level by level. Definitions: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.maps import compare_maps
from auglens.metrics.similarity import WINDOW, compare_further

Levels = Iterable[tuple[str | None, float, Mapping[str, NDArray[Any]]]]


class SanityRow(TypedDict):
    """Against the original's maps, over the images where a value is defined; NaN where it is for none.

    step: from 1; layer: the group made random last; fraction_randomised: of all parameters, 0 to 1; images: all;
    undefined: those without a Spearman correlation. ssim_mean: NaN below 7×7 pixels.
    """

    method: str
    step: int
    layer: str | None
    fraction_randomised: float
    spearman_mean: float
    spearman_median: float
    ssim_mean: float
    images: int
    undefined: int


def sanity_check(levels: Levels) -> list[SanityRow]:
    """One row per method and level of `auglens.saliency.sanity_maps`, the original left out.

    levels: (layer, fraction randomised, maps float [N,H,W] by method), the original first; one is held at a time
    beside it. The Spearman correlation with a map that is constant or not finite is NaN and counted, never 0.
    ValueError without a level, or where shapes or methods differ.
    """
    steps = iter(levels)
    first = next(steps, None)
    if first is None:
        raise ValueError("levels: expected the original's maps first, got no level; pass those of sanity_maps")
    original = first[2]
    rows: list[SanityRow] = []
    for step, (layer, fraction, maps) in enumerate(steps, start=1):
        if {*maps} != {*original}:
            raise ValueError(
                f"levels: expected maps by {', '.join(original)}, got {', '.join(maps)} at step {step};"
                " explain all levels by the same methods"
            )
        for method, before in original.items():
            rows.append(_row(method, step, layer, fraction, before, maps[method]))
    return sorted(rows, key=lambda row: [*original].index(row["method"]))


def _row(
    method: str, step: int, layer: str | None, fraction: float, before: NDArray[Any], after: NDArray[Any]
) -> SanityRow:
    spearman = compare_maps(before, after, overlap=())["spearman"]
    ssim = np.full(len(before), np.nan)
    if min(before.shape[1:]) >= WINDOW:
        ssim = compare_further(before, after, before, after, ("ssim",))["ssim"]
    defined = spearman[np.isfinite(spearman)]
    return {
        "method": method,
        "step": step,
        "layer": layer,
        "fraction_randomised": fraction,
        "spearman_mean": _or_nan(np.mean, defined),
        "spearman_median": _or_nan(np.median, defined),
        "ssim_mean": _or_nan(np.mean, ssim[np.isfinite(ssim)]),
        "images": len(before),
        "undefined": len(before) - len(defined),
    }


def _or_nan(summary: Any, values: NDArray[np.float64]) -> float:
    return float(summary(values)) if len(values) else float("nan")
