"""Does the network need what its map shows? Scores per image from what it says of changed images.

Definitions, ranges and the policy for degenerate input stand in docs/metrics.md. No torch: a function
stands for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics.imputation import impute
from auglens.metrics.maps import check_maps, is_constant
from auglens.metrics.threads import spread

Floats = NDArray[np.float64]
Images = NDArray[np.floating[Any]]
Predict = Callable[[Images], Floats]  # pixels float32 [B,3,H,W] in [0, 1] → probabilities float64 [B,C]

FAITHFULNESS = ("average_drop", "increase_in_confidence", "insertion", "deletion", "road")
STEPS = 16  # of insertion and deletion
BLUR = 5 / 224  # standard deviation, as a share of the side: what an insertion starts from
ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
ROAD_NOISE = 0.01  # standard deviation, in pixel values


def faithfulness(
    predict: Predict,
    images: Images,
    maps: NDArray[Any],
    *,
    fill: Sequence[float],
    seed: int,
    scores: Sequence[str] = FAITHFULNESS,
    steps: int = STEPS,
) -> dict[str, Floats]:
    """How far the network's confidence in the class that it predicts depends on what finished maps show.

    images: float [N,3,H,W], pixels in [0, 1]; maps: float [N,H,W], finished; predict: what the network makes of
    pixels. Y = probability of the class predicted on the image, O = of the same class on image ∘ map.
    fill: the colour [3] that deletion leaves, the data's mean. seed: of the order of pixels that tie and of ROAD's
    noise. scores: those wanted. steps: of insertion and deletion.

    average_drop: 100 · max(0, Y − O) / Y; increase_in_confidence: 100 · [Y < O]; their means over images are the
    published numbers (Chattopadhay et al., WACV 2018). deletion: area under the class's probability while pixels
    go, the largest of the map first; insertion: the same while they come to a blurred image (Petsiuk et al., BMVC
    2018), both in [0, 1]. road: the mean over 20, 40, 60 and 80 % of the pixels of half the difference between the
    class's probability without the least and without the most important ones, imputed; −0.5 to 0.5, above 0 where
    the map knows more than chance (Rong et al., ICML 2022; pytorch-grad-cam's ROADCombined).

    A constant map orders nothing and one with a NaN says nothing: NaN in every score. ValueError on shapes,
    dtypes, values or names that do not fit.
    """
    check_maps("maps", maps)
    _check(images, maps, scores, steps)
    found = {name: np.full(len(maps), np.nan) for name in scores}
    some = np.flatnonzero(~is_constant(maps))
    if not len(some):
        return found
    images, maps = images[some].astype(np.float32), maps[some].astype(np.float32)
    full = predict(images)
    classes = full.argmax(1)

    def confidence(changed: Images) -> Floats:
        return np.take_along_axis(predict(changed.astype(np.float32)), classes[:, None], 1)[:, 0]

    values: dict[str, Floats] = {}
    sure: Floats = np.take_along_axis(full, classes[:, None], 1)[:, 0]
    if {"average_drop", "increase_in_confidence"} & {*scores}:
        seen = confidence(images * maps[:, None])
        values["average_drop"] = 100 * np.maximum(sure - seen, 0) / sure
        values["increase_in_confidence"] = np.where(sure < seen, 100.0, 0.0)
    order = _ranks(maps, seed)
    if "deletion" in scores:
        colour = np.broadcast_to(np.asarray(fill, np.float32)[:, None, None], images.shape)
        values["deletion"] = _area(confidence, images, colour, order, steps)
    if "insertion" in scores:
        from scipy.ndimage import gaussian_filter  # half a second that the metrics of maps can do without

        sigma = BLUR * max(images.shape[2:])
        blurred = gaussian_filter(images, (0, 0, sigma, sigma), mode="nearest")
        values["insertion"] = _area(confidence, blurred, images, order, steps)
    if "road" in scores:
        values["road"] = _road(confidence, images, order, seed)
    for name in scores:
        found[name][some] = values[name]
    return found


def _ranks(maps: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Place of every pixel [N, P] when the largest comes first. Ties fall in one random order, the same for all
    images: from above to below they would favour the sky."""
    flat = maps.reshape(len(maps), -1)
    shuffled = np.random.Generator(np.random.Philox(seed)).permutation(flat.shape[1])
    first = shuffled[np.argsort(-flat[:, shuffled], axis=1, kind="stable")]
    ranks = np.empty_like(first)
    np.put_along_axis(ranks, first, np.broadcast_to(np.arange(flat.shape[1]), first.shape), axis=1)
    return ranks


def _area(
    confidence: Callable[[Images], Floats], start: Images, end: Images, ranks: NDArray[np.int64], steps: int
) -> Floats:
    """Under the confidence, by trapezoids, on the way from `start` to `end` in equal steps of pixels."""
    pixels = ranks.shape[1]
    total = np.zeros(len(start))
    for step in range(steps + 1):
        taken = (ranks < round(step * pixels / steps)).reshape(len(start), 1, *start.shape[2:])
        total += confidence(np.where(taken, end, start)) / (2 if step in (0, steps) else 1)
    return total / steps


def _road(confidence: Callable[[Images], Floats], images: Images, ranks: NDArray[np.int64], seed: int) -> Floats:
    noise = ROAD_NOISE * np.random.Generator(np.random.Philox(seed)).standard_normal(images.shape[1:])
    total, pixels, size = np.zeros(len(images)), ranks.shape[1], images.shape[2:]
    for share in ROAD_SHARES:
        count = round(share * pixels)
        for sign, removed in ((-1, ranks < count), (1, ranks >= pixels - count)):
            masks = removed.reshape(len(images), *size)
            filled = np.stack(list(spread(lambda pair: impute(*pair), zip(images, masks, strict=True))))
            total += sign * confidence(filled + noise * masks[:, None])
    return total / (2 * len(ROAD_SHARES))


def _check(images: Images, maps: NDArray[Any], scores: Sequence[str], steps: int) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype.kind != "f":
        raise ValueError(
            f"images: expected floats [N,3,H,W], got {images.dtype} {list(images.shape)}; pass pixels"
        )
    if (len(images), *images.shape[2:]) != maps.shape:
        sides = f"{[len(images), *images.shape[2:]]}, got {list(maps.shape)}"
        raise ValueError(f"maps: expected one per image, {sides}; finish them at the images' size")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError("images: expected pixels in [0, 1], got others; pass them before normalising")
    unknown = [name for name in scores if name not in FAITHFULNESS]
    if unknown:
        raise ValueError(f"scores: no score {unknown[0]!r}; use some of {', '.join(FAITHFULNESS)}")
    if steps < 1:
        raise ValueError(f"steps: expected 1 or more, got {steps}; {STEPS} is the default")
