"""What saliency-driven augs do between epochs: do their steps choose the same pixels, and how many images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Changed = tuple[NDArray[np.int64], NDArray[np.bool_]]
WINDOW_IOU = ["step", "epoch", "aug_a", "aug_b", "iou", "images", "undefined", "seeds"]
COUNTS = ["epoch", "made", "flat", "wrong", "considered"]


@dataclass(frozen=True, eq=False)
class _Chosen:
    """rows: int64 [M]; words: uint64 [M, W], a bit per pixel; pixels: int64 [M], set bits; size: height, width."""

    rows: NDArray[np.int64]
    words: NDArray[np.uint64]
    pixels: NDArray[np.int64]
    size: tuple[int, ...]


def window_iou(steps: Mapping[tuple[str, int], Mapping[int, Changed]]) -> pd.DataFrame:
    """steps: (aug, seed) → epoch → rows int64 [M], changed bool [M,H,W]. A row per step and pair of augs.

    Distinct replicates; epoch: epochs done before the step; rows: the training images that it changed, each once,
    in any order; changed: which of their pixels. Each pair of models of equal seed, and for an aug with itself
    each pair of its seeds (the floor of its row), gives the mean of |A∩B| / |A∪B| over the images both changed.

    iou: mean of these over the pairs of models; images: those that counted, undefined: those left out because
    neither model chose a pixel, of all pairs of models together; seeds: those whose models entered the mean.
    Steps are matched by epoch; step is the number, from 1, of that epoch among all of the study. iou is NaN where
    no pair of models has an image that counts, as for an aug of one seed with itself; augs without a step at that
    epoch have no row there. A model's step is read once and let go after its epoch, so a lazy mapping serves.
    Raises ValueError on other shapes or dtypes, an image twice, or images of different sizes.
    Source: figure 4 of the active image augmentation study, which has the first step.
    """
    augs = list(dict.fromkeys(aug for aug, _ in steps))
    epochs = sorted({epoch for made in steps.values() for epoch in made})
    found = []
    for step, epoch in enumerate(epochs, start=1):
        chosen: dict[str, dict[int, _Chosen]] = {aug: {} for aug in augs}
        for (aug, seed), made in steps.items():
            if epoch in made:
                chosen[aug][seed] = _pack(*made[epoch], f"{aug}-{seed} at epoch {epoch}")
        _check_sizes(chosen, epoch)
        here = [aug for aug in augs if chosen[aug]]
        for place, a in enumerate(here):
            for b in here[place:]:
                found.append((step, epoch, a, b, *_compare(chosen[a], chosen[b], same=a == b)))
    whole = dict.fromkeys(["step", "epoch", "images", "undefined", "seeds"], "int64")
    return pd.DataFrame(found, columns=WINDOW_IOU).astype(
        whole | {"aug_a": "str", "aug_b": "str", "iou": "float64"}
    )


def step_counts(reports: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per aug, seed and step, in the order of reports and epochs; Int64, <NA> where a count is None.

    reports: aug, seed and steps, each with epoch (epochs done before it), made (images), flat (maps too flat to
    choose by), wrong (images classified wrongly) and considered (images looked at); none without `steps`.
    step: the number, from 1, among the cell's own.
    Raises ValueError on a step that lacks one of these.
    """
    found = []
    for report in reports:
        steps = list(report.get("steps") or ())
        for step in steps:
            if missing := [name for name in COUNTS if name not in step]:
                raise ValueError(
                    f"reports: expected {', '.join(COUNTS)} in every step, got {', '.join(step) or 'nothing'} in "
                    f"one of {report['aug']}-{report['seed']}; add {', '.join(missing)} (None where it has "
                    "no meaning)"
                )
        for number, step in enumerate(sorted(steps, key=lambda one: one["epoch"]), start=1):
            found.append((report["aug"], report["seed"], number, *(step[name] for name in COUNTS)))
    table = pd.DataFrame(found, columns=["aug", "seed", "step", *COUNTS])
    whole = dict.fromkeys(["seed", "step", "epoch"], "int64")
    return table.astype({"aug": "str"} | whole | dict.fromkeys(COUNTS[1:], "Int64"))


def _pack(rows: NDArray[np.int64], changed: NDArray[np.bool_], where: str) -> _Chosen:
    """Bits in words of 64: an eighth of the memory, and an intersection is an `and` and a count."""
    shaped = rows.ndim == 1 and changed.ndim == 3 and len(rows) == len(changed)
    if not shaped or rows.dtype != np.int64 or changed.dtype != np.bool_:
        raise ValueError(
            f"steps: expected rows int64 [M] and changed bool [M,H,W], got rows {rows.dtype} {list(rows.shape)} "
            f"and changed {changed.dtype} {list(changed.shape)} of {where}; give one mask per image"
        )
    values, times = np.unique(rows, return_counts=True)
    if (times > 1).any():
        raise ValueError(
            f"steps: expected each image once in rows, got image {values[times > 1][0]} more than once of {where}"
            "; merge its masks"
        )
    count, size = len(rows), changed.shape[1:]
    bits = np.packbits(changed.reshape(count, size[0] * size[1]), axis=1)
    filled = np.zeros((count, -(-bits.shape[1] // 8) * 8), dtype=np.uint8)
    filled[:, : bits.shape[1]] = bits
    words = filled.view(np.uint64)
    return _Chosen(rows, words, _pixels(words), size)


def _check_sizes(chosen: Mapping[str, Mapping[int, _Chosen]], epoch: int) -> None:
    sizes = {one.size: f"{aug}-{seed}" for aug, seeds in chosen.items() for seed, one in seeds.items()}
    if len(sizes) > 1:
        told = ", ".join(f"{height} x {width} of {cell}" for (height, width), cell in sizes.items())
        raise ValueError(
            f"steps: expected images of one size at epoch {epoch}, got {told}; compare cells trained on "
            "the same data"
        )


def _pixels(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """[M, W] → [M]: the number of set bits."""
    return np.bitwise_count(words).sum(axis=1, dtype=np.int64)


def _compare(a: Mapping[int, _Chosen], b: Mapping[int, _Chosen], *, same: bool) -> tuple[float, int, int, int]:
    """iou, images, undefined and seeds of two augs, each as seed → chosen; `same`: an aug with itself."""
    pairs = list(combinations(sorted(a), 2)) if same else [(seed, seed) for seed in sorted(a) if seed in b]
    means, seeds = [], set[int]()
    images = undefined = 0
    for one, two in pairs:
        iou, empty = _ious(a[one], b[two])
        images, undefined = images + len(iou), undefined + empty
        if len(iou):
            means.append(float(iou.mean()))
            seeds |= {one, two}
    return float(np.mean(means)) if means else float("nan"), images, undefined, len(seeds)


def _ious(a: _Chosen, b: _Chosen) -> tuple[NDArray[np.float64], int]:
    """float64 [K] of the images that both changed, ascending, and the number of those left out: an empty union."""
    _, of_a, of_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
    inside = _pixels(a.words[of_a] & b.words[of_b])
    union = a.pixels[of_a] + b.pixels[of_b] - inside
    known = union > 0
    return inside[known] / union[known], int((~known).sum())
