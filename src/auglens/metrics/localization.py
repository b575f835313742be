"""Map against mask, per image: IoU by area and by box, the pointing game, energy inside the mask; their floors.

Definitions, ranges and the policy for degenerate input stand in docs/metrics.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.floors import floor_maps
from auglens.metrics.maps import check_maps
from auglens.metrics.threads import slices, spread

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LOCALIZATION = ("iou_area", "iou_box", "pointing_game", "energy")
BINS = 256
_PART = 1 << 18  # pixels in a thread's turn


def localization(maps: NDArray[Any], masks: NDArray[Any], *, threads: int | None = None) -> dict[str, Floats]:
    """How well finished maps say where the masks are, image by image, each in [0, 1].

    maps: float [N,H,W], finished, none negative. masks: bool [N,H,W], true where the object is.
    iou_area: |R ∩ M| / |R ∪ M|, R = the pixels above Otsu's threshold (scikit-image's, 256 bins); iou_box: the
    same of their bounding boxes; pointing_game: the share of the map's largest pixels that lie in M, 0 or 1 where
    one pixel is the largest; energy: Σ map·M / Σ map.

    An empty mask, an all-zero map or one with a NaN or an infinity makes all four NaN. A constant positive map has
    no threshold: its region is the whole image.
    Sources: Otsu, IEEE Trans. SMC 9 (1979); Zhang et al., ECCV 2016 (without its margin); Wang et al., CVPR
    Workshops 2020, section 4.3. Raises ValueError on shapes and dtypes that do not fit, and on negative maps.
    """
    check_maps("maps", maps)
    check_masks(masks, maps.shape)
    values = np.full((len(LOCALIZATION), len(maps)), np.nan)

    def part(cut: slice) -> None:
        for n in range(cut.start, min(cut.stop, len(maps))):
            values[:, n] = _one(maps[n].astype(np.float64), masks[n])

    step = max(1, _PART // maps[:1].size) if len(maps) else 1
    for _ in spread(part, slices(len(maps), step), threads):
        pass
    return dict(zip(LOCALIZATION, values, strict=True))


def localization_floors(masks: NDArray[Any], *, seed: int, threads: int | None = None) -> dict[str, Floats]:
    """`localization` of explanations that look at nothing: `ones_iou_area`, `centre_energy`, `random_iou_box`, …

    masks: bool [N,H,W]. The maps are those of `floor_maps`. A map is worth as much as it is above these.
    """
    check_masks(masks, np.shape(masks))
    found: dict[str, Floats] = {}
    for name, maps in floor_maps(len(masks), masks.shape[1:], seed=seed).items():
        scores = localization(maps, masks, threads=threads)
        found |= {f"{name}_{score}": values for score, values in scores.items()}
    return found


def otsu(pixels: Floats) -> float:
    """Otsu's threshold of finite values [P] that are not all equal, as scikit-image's `threshold_otsu` gives it:
    the middle of the bin, of 256, after which the variance between both sides is largest."""
    counts, edges = np.histogram(pixels, BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    below, above = counts.cumsum(), counts[::-1].cumsum()[::-1]
    moments = counts * middles
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_below, mean_above = moments.cumsum() / below, (moments[::-1].cumsum() / above[::-1])[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(middles[between.argmax()])


def _one(pixels: Floats, mask: Mask) -> tuple[float, float, float, float]:
    total, high = float(pixels.sum()), float(pixels.max())
    if not np.isfinite(total) or not mask.any() or total == 0:
        return (np.nan,) * 4
    low = float(pixels.min())
    if low < 0:
        raise ValueError(f"maps: expected finished maps of 0 and more, got {low:g}; pass them through `finish`")
    region = pixels > otsu(pixels.ravel()) if high > low else np.ones_like(mask)
    boxes = [_box(region), _box(mask)]
    return (
        float((region & mask).sum() / (region | mask).sum()),
        _iou_of_boxes(*boxes),
        float(mask[pixels == high].mean()),
        float(pixels[mask].sum() / total),
    )


def _box(region: Mask) -> tuple[int, int, int, int]:
    """First row, row behind the last, first column, column behind the last, of a region that is not empty."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _iou_of_boxes(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    height = min(a[1], b[1]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[2], b[2])
    both = max(height, 0) * max(width, 0)
    areas = ((box[1] - box[0]) * (box[3] - box[2]) for box in (a, b))
    return both / (sum(areas) - both)


def check_masks(masks: NDArray[Any], shape: tuple[int, ...]) -> None:
    if masks.shape != shape or masks.ndim != 3:
        raise ValueError(
            f"masks: expected one per map, {list(shape)}, got {list(masks.shape)}; resize them to the maps' size"
        )
    if masks.dtype != bool:
        raise ValueError(f"masks: expected bool, got {masks.dtype}; compare with a threshold, as masks > 0")
