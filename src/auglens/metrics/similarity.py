"""Further measures of map against map, per image: ssim, js, emd, centre_shift; and which way every metric points.

Definitions, ranges and the policy for degenerate maps stand in docs/metrics.md.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.maps import check_maps, check_pair, keep_freed_memory
from auglens.metrics.transport import EMD_CELLS, earth_movers

Floats = NDArray[np.float64]

FURTHER = ("ssim", "js", "emd", "centre_shift")
# Whether a higher value means that two maps or predictions are more alike; overlap_Y, for any Y, is.
HIGHER_IS_CLOSER: Mapping[str, bool] = {
    "mad": False,
    "msd": False,
    "pearson": True,
    "spearman": True,
    "class_kld": False,
    "ssim": True,
    "js": False,
    "emd": False,
    "centre_shift": False,
}
TARGETS = ("true_", "predicted_")  # a metric of the maps of that target carries its name before its own
WINDOW = 7  # pixels, the side of SSIM's window
_C1, _C2 = 0.01**2, 0.03**2  # SSIM's constants for values in [0, 1]
_BLOCK = 1 << 16  # pixels handled at once: they stay in the processor's cache


def higher_is_closer(metric: str, own: Mapping[str, bool] | None = None) -> bool:
    """Whether maps are more alike where `metric` is higher.

    metric: a name of `compare_maps`, `class_kld` or `FURTHER`, with or without `true_` or `predicted_` before
    it. own: the same of metrics registered elsewhere. ValueError where neither knows the name.
    """
    known = {**HIGHER_IS_CLOSER, **(own or {})}
    for name in (metric, *(metric.removeprefix(target) for target in TARGETS if metric.startswith(target))):
        if name in known:
            return known[name]
        if name.startswith("overlap_") and _is_percentage(name.removeprefix("overlap_")):
            return True
    hint = _hint(metric, [*known, "overlap_20"])
    raise ValueError(
        f"metric: expected a known metric, got {metric!r}; {hint} A metric of one's own stands in `own`"
    )


def compare_further(
    reference: NDArray[Any],
    other: NDArray[Any],
    reference_raw: NDArray[Any],
    other_raw: NDArray[Any],
    names: Sequence[str] = FURTHER,
) -> dict[str, Floats]:
    """The further measures, image by image; every accumulation is in float64.

    reference, other: float [N,H,W], finished maps in [0, 1], which ssim compares; reference_raw, other_raw:
    float [N,h,w], raw maps ≥ 0, which the others compare as distributions over the grid.

    Returns float64 [N] under each of `names`, in their order. A finished map with a NaN or an infinity makes
    ssim NaN. A raw map that is no distribution (all zero, a negative, NaN or infinite cell) or of a single
    cell makes js, emd and centre_shift NaN.

    Raises ValueError on shapes, dtypes or names that do not fit, for ssim on maps of fewer than 7 pixels a
    side, for emd on grids of more than 1,024 cells.
    Sources: Wang et al. 2004 (ssim), Lin 1991 (js), Rubner et al. 2000 (emd); docs/metrics.md.
    """
    _check(reference, other, reference_raw, other_raw, names)
    values = {name: np.full(len(reference), np.nan) for name in names}
    keep_freed_memory()
    if "ssim" in names:
        for cut in _blocks(reference):
            values["ssim"][cut] = _ssim(reference[cut].astype(np.float64), other[cut].astype(np.float64))
    height, width = reference_raw.shape[1:]
    for cut in _blocks(reference_raw) if set(names) - {"ssim"} else ():
        p, q = _distributions(reference_raw[cut]), _distributions(other_raw[cut])
        if "js" in names:
            values["js"][cut] = _jensen_shannon(p, q)
        if "emd" in names:
            values["emd"][cut] = earth_movers(p, q, height, width)
        if "centre_shift" in names:
            values["centre_shift"][cut] = _centre_shift(p, q, height, width)
    return values


def _blocks(maps: NDArray[Any]) -> Iterator[slice]:
    step = max(1, _BLOCK // (maps.shape[1] * maps.shape[2]))
    return (slice(start, start + step) for start in range(0, len(maps), step))


def _ssim(p: Floats, q: Floats) -> Floats:
    """Mean SSIM of float64 [B,H,W] over the windows that lie inside the map: [B]. Overwrites both."""
    broken = ~(np.isfinite(p).all(axis=(1, 2)) & np.isfinite(q).all(axis=(1, 2)))
    p[broken] = q[broken] = 0.0
    mean_p, mean_q = _window_means(p), _window_means(q)
    products = mean_p * mean_q
    squares = np.add(np.square(mean_p, out=mean_p), np.square(mean_q, out=mean_q), out=mean_p)
    covariance = _unbiased(_window_means(p * q), products)
    variances = _unbiased(_window_means(np.add(np.square(p, out=p), np.square(q, out=q), out=p)), squares)
    # (2 products + C1) (2 covariance + C2) / ((squares + C1) (variances + C2)), each array in its own place
    for values, factor, constant in (
        (products, 2, _C1), (covariance, 2, _C2), (squares, 1, _C1), (variances, 1, _C2),
    ):  # fmt: skip
        values *= factor
        values += constant
    products *= covariance
    squares *= variances
    products /= squares
    return np.where(broken, np.nan, products.mean(axis=(1, 2)))


def _unbiased(means: Floats, products: Floats) -> Floats:
    """Of the windows' means of a product and the products of their means, the sample covariance, in place."""
    means -= products
    means *= WINDOW**2 / (WINDOW**2 - 1)
    return means


def _window_means(values: Floats) -> Floats:
    """Means of the 7×7 windows of float64 [B,H,W]: [B,H−6,W−6].

    Each axis is summed by doubling (1, 2, 4, then 4 + 2 + 1), so that no running sum gathers rounding.
    """
    count = values.shape[1] - WINDOW + 1
    two = values[:, :-1] + values[:, 1:]
    four = two[:, :-2] + two[:, 2:]
    rows = four[:, :count]
    rows += two[:, 4 : 4 + count]
    rows += values[:, 6:]
    count = values.shape[2] - WINDOW + 1
    two = rows[:, :, :-1] + rows[:, :, 1:]
    four = two[:, :, :-2] + two[:, :, 2:]
    sums = four[:, :, :count]
    sums += two[:, :, 4 : 4 + count]
    sums += rows[:, :, 6:]
    sums /= WINDOW**2
    return sums


def _distributions(raw: NDArray[Any]) -> Floats:
    """Raw maps [B,h,w], each over its sum: float64 [B, h·w]; all NaN where that is no distribution."""
    flat = raw.reshape(len(raw), -1).astype(np.float64)
    high = flat.max(axis=1, initial=0.0)
    valid = np.isfinite(flat).all(axis=1) & (flat >= 0).all(axis=1) & (high > 0) & (flat.shape[1] > 1)
    flat[~valid] = np.nan
    with np.errstate(invalid="ignore"):
        flat /= high[:, None]  # first, so that the sum of a map of tiny or huge values is a plain number
    flat /= flat.sum(axis=1, keepdims=True)
    return flat


def _jensen_shannon(p: Floats, q: Floats) -> Floats:
    total = p + q
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 · log 0 counts as 0
        parts = [np.where(side == 0, 0.0, side * np.log2(2 * side / total)) for side in (p, q)]
    return np.clip((parts[0] + parts[1]).sum(axis=1) / 2, 0.0, 1.0)  # rounding alone passes the bounds


def _centre_shift(p: Floats, q: Floats, height: int, width: int) -> Floats:
    rows, columns = np.divmod(np.arange(height * width), width)
    surplus = p - q
    return np.hypot((surplus * (rows / height)).sum(axis=1), (surplus * (columns / width)).sum(axis=1))


def _check(
    reference: NDArray[Any],
    other: NDArray[Any],
    reference_raw: NDArray[Any],
    other_raw: NDArray[Any],
    names: Sequence[str],
) -> None:
    for name in names:
        if name not in FURTHER:
            raise ValueError(f"names: expected some of {', '.join(FURTHER)}, got {name!r}; {_hint(name, FURTHER)}")
    check_pair(reference, other, ())
    check_maps("reference_raw", reference_raw)
    check_maps("other_raw", other_raw)
    if other_raw.shape != reference_raw.shape:
        shapes = f"{list(other_raw.shape)} against reference_raw's {list(reference_raw.shape)}"
        raise ValueError(f"other_raw: expected reference_raw's shape, got {shapes}; explain both at one layer")
    if len(reference_raw) != len(reference):
        counts = f"({len(reference)}), got {len(reference_raw)}"
        raise ValueError(
            f"reference_raw: expected one per finished map {counts}; pass the maps of the same images"
        )
    size = "×".join(map(str, reference.shape[1:]))
    if "ssim" in names and min(reference.shape[1:]) < WINDOW:
        raise ValueError(f"ssim: expected maps of at least {WINDOW}×{WINDOW} pixels, got {size}; leave ssim out")
    size = "×".join(map(str, reference_raw.shape[1:]))
    if "emd" in names and math.prod(reference_raw.shape[1:]) > EMD_CELLS:
        raise ValueError(f"emd: expected raw maps of at most {EMD_CELLS:,} cells, got {size}; leave emd out")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.0)
    return f"did you mean {near[0]!r}?"


def _is_percentage(text: str) -> bool:
    try:
        return 0 < float(text) < 100
    except ValueError:
        return False
