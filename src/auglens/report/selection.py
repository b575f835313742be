"""Which test images the browser holds when there are more than the page can bear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
RANKS = 3  # so many of the highest and of the lowest values of every metric and aug
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Selection:
    """images: int64, ascending; ranks: how many of the highest and of the lowest values of *every* metric and
    aug are certainly among them; rule: in words."""

    images: Ints
    ranks: int
    rule: str


def select_images(labels: NDArray[Any], values: NDArray[Any], lost: NDArray[np.bool_], *, limit: int) -> Selection:
    """At most `limit` of N test images; no randomness.

    labels: int [N]; values: float [A,M,N], metrics of the augs; lost: bool [A,N], right under the reference and
    wrong under the aug. All images where they are no more than `limit`. Otherwise, each step skipping what is
    there already:
    1. up to half: the highest and the lowest value of every aug and metric, then the second ones, the third;
    2. up to three quarters: `lost` images, one aug after the other in turn;
    3. the rest: one class after the other in turn.
    Within an aug or a class the images are taken from all over the data set. Equal values: the lowest image.

    ValueError: limit below 1, shapes that do not fit.
    """
    count = len(labels)
    if limit < 1:
        raise ValueError(f"limit: expected 1 image or more, got {limit}; pass for example 1000")
    if values.ndim != 3 or values.shape[2] != count or lost.shape != (len(values), count):
        shapes = f"values {list(values.shape)}, lost {list(lost.shape)}, labels {list(labels.shape)}"
        raise ValueError(f"values, lost: expected [A,M,N], [A,N] for labels [N], got {shapes}")
    if count <= limit:
        return Selection(np.arange(count), count, f"All {count:,} test images.")
    taken: dict[int, None] = {}
    ranks = 0
    for images in _extremes(values):
        new = dict.fromkeys(image for image in images if image not in taken)
        if len(taken) + len(new) > limit // 2:
            _fill(taken, new, limit // 2)
            break
        taken |= new
        ranks += 1
    _fill(taken, _in_turn([_spread(np.flatnonzero(row)) for row in lost]), limit * 3 // 4)
    _fill(taken, _in_turn([_spread(np.flatnonzero(labels == label)) for label in np.unique(labels)]), limit)
    extremes = f"the {ranks} highest and {ranks} lowest values" if ranks else "the most extreme values"
    rule = (
        f"{len(taken):,} of {count:,} test images: {extremes} of every metric and aug, then images that the"
        " reference has right and an aug wrong, the augs in turn, then images of every class in turn."
    )
    return Selection(np.array(sorted(taken), dtype=np.int64), ranks, rule)


def _extremes(values: NDArray[Any]) -> Iterator[list[int]]:
    """Rank by rank, the images with the highest and the lowest finite values of every aug and metric."""
    orders = []
    for row in values.reshape(-1, values.shape[2]):
        finite = np.flatnonzero(np.isfinite(row))
        orders += [finite[np.argsort(sign * row[finite], kind="stable")[:RANKS]] for sign in (-1, 1)]
    for rank in range(RANKS):
        yield [int(order[rank]) for order in orders if len(order) > rank]


def _spread(images: Ints) -> list[int]:
    """The same images in an order whose every beginning covers them evenly (multiples of the golden ratio)."""
    return [int(image) for image in images[np.argsort(np.arange(len(images)) * GOLDEN % 1, kind="stable")]]


def _in_turn(queues: list[list[int]]) -> Iterator[int]:
    """The first of each, then the second of each, … each image once; a queue passes over what is taken."""
    seen: set[int] = set()
    waiting = [iter(queue) for queue in queues]
    while waiting:
        left = []
        for queue in waiting:
            image = next((image for image in queue if image not in seen), None)
            if image is not None:
                seen.add(image)
                left.append(queue)
                yield image
        waiting = left


def _fill(taken: dict[int, None], images: Iterable[int], limit: int) -> None:
    for image in images:
        if len(taken) >= limit:
            return
        taken[image] = None
