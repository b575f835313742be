"""Predicted mask against mask, per image: Dice, Hausdorff distance, sensitivity, specificity, precision.

Definitions, ranges and the policy for degenerate input stand in docs/metrics.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.threads import slices, spread

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SEGMENTATION = ("dice", "hausdorff", "sensitivity", "specificity", "precision")
_PART = 1 << 18  # pixels in a thread's turn
_LEAF = 32  # points in a leaf: a tree that answers one query is worth little building


def segmentation(predicted: NDArray[Any], masks: NDArray[Any], *, threads: int | None = None) -> dict[str, Floats]:
    """How well predicted masks agree with the true ones, image by image: float64 [N] under each of `SEGMENTATION`.

    predicted, masks: bool [N,H,W], true where the object is; P and M of one image. threads: how many share the
    images (None: one per core); no value depends on it, to the last bit.
    dice: 2 |P ∩ M| / (|P| + |M|); sensitivity: |P ∩ M| / |M|; precision: |P ∩ M| / |P|; specificity: the share of
    the pixels outside of M that are outside of P; all in [0, 1], higher is better.
    hausdorff: in pixels, lower is better: the largest distance from a pixel of one border to the nearest of the
    other border. A border is the pixels of a mask of whose four neighbours one is outside of it or of the image.

    What is 0/0 is NaN, never 0 or 1: dice where both are empty, sensitivity where M is, precision where P is,
    specificity where M is the whole image. hausdorff is NaN where P or M is empty.
    Sources: Taha & Hanbury, BMC Medical Imaging 15:29 (2015). Raises ValueError on shapes, dtypes or a number of
    threads that do not fit.
    """
    check_predicted(predicted, masks)
    values = np.full((len(SEGMENTATION), len(masks)), np.nan)

    def part(cut: slice) -> None:
        for n in range(cut.start, min(cut.stop, len(masks))):
            values[:, n] = _one(predicted[n], masks[n])

    step = max(1, _PART // masks[:1].size) if len(masks) else 1
    for _ in spread(part, slices(len(masks), step), threads):
        pass
    return dict(zip(SEGMENTATION, values, strict=True))


def check_predicted(predicted: NDArray[Any], masks: NDArray[Any]) -> None:
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise ValueError(
            f"masks: expected [N,H,W] with H and W at least 1, got shape {list(masks.shape)}; "
            "pass one mask per image, masks[None] if there is one image"
        )
    if predicted.shape != masks.shape:
        raise ValueError(
            f"predicted: expected one per mask, {list(masks.shape)}, got {list(predicted.shape)}; "
            "predict at the masks' size"
        )
    for name, given, threshold in (("predicted", predicted, "0.5"), ("masks", masks, "0")):
        if given.dtype != bool:
            raise ValueError(
                f"{name}: expected bool, got {given.dtype}; compare with a threshold, as {name} > {threshold}"
            )


def _one(predicted: Mask, mask: Mask) -> tuple[float, float, float, float, float]:
    """The values of one image, in the order of `SEGMENTATION`."""
    positive, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(mask))
    both = int(np.count_nonzero(predicted & mask))
    neither, negative = mask.size - positive - true + both, mask.size - true
    return (
        _share(2 * both, positive + true),
        _hausdorff(border(predicted), border(mask)) if positive and true else np.nan,
        _share(both, true),
        _share(neither, negative),
        _share(both, positive),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan


def border(mask: Mask) -> Mask:
    """Pixels of a mask [H,W] of whose four neighbours one is outside of the mask or of the image.

    The same as mask ^ scipy.ndimage.binary_erosion(mask), which takes six times as long and more.
    """
    edge = mask.copy()
    edge[1:-1, 1:-1] &= ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
    return edge


def _hausdorff(first: Mask, second: Mask) -> float:
    """The larger of the directed distances between two borders, neither of them empty."""
    return max(_directed(first, second), _directed(second, first))


def _directed(start: Mask, end: Mask) -> float:
    """The largest distance from a pixel of `start` to the nearest of `end`, exact: the root of a whole number.

    A tree over the border: a distance transform takes longer on most masks, scipy's directed_hausdorff up to
    20 times as long where all distances are alike, and it keeps the interpreter from other threads.
    """
    from scipy.spatial import KDTree  # 0.4 s that the metrics of maps can do without

    outside = start & ~end  # the others are at a distance of 0
    if not outside.any():
        return 0.0
    tree = KDTree(_points(end), leafsize=_LEAF, balanced_tree=False, compact_nodes=False)
    return float(tree.query(_points(outside))[0].max())


def _points(mask: Mask) -> Floats:
    """Rows and columns of a mask's pixels: float64 [P,2]."""
    return np.column_stack(np.divmod(np.flatnonzero(mask), mask.shape[1])).astype(np.float64)
