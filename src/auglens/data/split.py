"""The split into train, validation and test: the data set's own where it has one, stratified otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Rows of the source: int64, ascending, disjoint."""

    train: Array
    validation: Array
    test: Array


def split(
    labels: Array,
    given: Mapping[str, Array],
    *,
    validation_fraction: float,
    seed: int,
    classes: Sequence[str] = (),
) -> Split:
    """labels: int64 [N]; given: parts that the data set fixes (int64 rows); classes: names for messages.

    What is not given is drawn from the training images (all images, if nothing is given), class by class:
    first a test part, then a validation part, each `validation_fraction` of what is there at that point.
    Raises ValueError where there is only one class or a class has no image in one of the parts.
    """
    names = classes or [str(label) for label in range(int(labels.max(initial=-1)) + 1)]
    present = np.unique(labels)
    if len(present) < 2:
        held = f"only {names[present[0]]!r}" if len(present) else "no image"
        raise ValueError(f"data: expected images of at least two classes, got {held}; add images of another class")
    parts = {name: np.asarray(rows, np.int64) for name, rows in given.items()}
    _check_given(parts, len(labels))
    pool = parts.pop("train", np.arange(len(labels)) if not parts else np.empty(0, np.int64))
    for stream, name in enumerate(("test", "validation")):
        if name not in parts:
            parts[name] = _draw(labels, pool, validation_fraction, seed, stream)
            pool = np.setdiff1d(pool, parts[name])
    result = Split(np.sort(pool), np.sort(parts["validation"]), np.sort(parts["test"]))
    for name in PARTS:
        counts = np.bincount(labels[getattr(result, name)], minlength=len(names))
        for label, count in enumerate(counts):
            if count == 0:
                raise ValueError(
                    f"data: class {names[label]!r} has {int((labels == label).sum())} images, none of them "
                    f"in {name}; every class needs one in each of train, validation and test: add images of "
                    "it or leave the class out"
                )
    return result


def _check_given(parts: Mapping[str, Array], count: int) -> None:
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        raise ValueError(f"given split: expected train, validation or test, got {unknown[0]!r}; rename it")
    rows = np.concatenate([np.empty(0, np.int64), *parts.values()])
    if len(rows) and (rows.min() < 0 or rows.max() >= count):
        raise ValueError(
            f"given split: expected rows 0 to {count - 1}, got {rows.min()} to {rows.max()}; correct them"
        )
    if len(np.unique(rows)) != len(rows):
        raise ValueError("given split: an image is in it twice; put each into one of train, validation and test")


def _draw(labels: Array, pool: Array, fraction: float, seed: int, stream: int) -> Array:
    """Rows of `pool`, stratified. Every image has a random number of its own and the smallest of a class are
    taken, so that a larger fraction gives a superset and no class depends on another."""
    if seed < 0:
        raise ValueError(f"parameter data.split_seed: expected 0 or more, got {seed}; correct it")
    keys = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(len(labels))
    of_class = [pool[labels[pool] == label] for label in range(int(labels.max()) + 1)]
    wanted = quotas([len(rows) for rows in of_class], fraction)
    taken = [rows[np.argsort(keys[rows])[:k]] for rows, k in zip(of_class, wanted, strict=True)]
    return np.concatenate(taken)


def quotas(counts: Sequence[int], fraction: float) -> list[int]:
    """How many of each class to take so that the sum is round(fraction · all): largest remainders.

    A class of two or more images gives at least one and keeps at least one, so small classes bend the sum.
    """
    exact = [fraction * count for count in counts]
    taken = [
        min(max(int(share), 1), count - 1) if count > 1 else 0 for share, count in zip(exact, counts, strict=True)
    ]
    room = [i for i, count in enumerate(counts) if taken[i] < count - 1]
    room.sort(key=lambda i: (taken[i] - exact[i], i))
    for i in room[: max(round(sum(exact)) - sum(taken), 0)]:
        taken[i] += 1
    return taken
