"""The split into train, validation and test: the data set's own where it has one, else stratified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

PARTS = ("train", "validation", "test")
TEST, VALIDATION, FOLDS = range(3)  # streams of random numbers


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
    folds: int | None = None,
    fold: int = 0,
    single_class: bool = False,
) -> Split:
    """labels: int64 [N]; given: parts that the data set fixes (int64 rows); classes: names for messages.

    What is not given is drawn from the training images (all images, if nothing is given), class by class:
    first a test part, then a validation part, each `validation_fraction` of what is there at that point.
    folds: validation is the `fold`-th of so many stratified folds instead, and train the others. A validation
    part that is given joins the images that are dealt out; the test part is the one without folds.
    single_class: images of one class will do.
    Raises ValueError where there is only one class, a class has no image in one of the parts, or fewer than
    there are folds.
    """
    names = classes or [str(label) for label in range(int(labels.max(initial=-1)) + 1)]
    present = np.unique(labels)
    if len(present) < (1 if single_class else 2):
        held = f"only {names[present[0]]!r}" if len(present) else "no image"
        wanted, more = ("one class", "some") if single_class else ("two classes", "images of another class")
        raise ValueError(f"data: expected images of at least {wanted}, got {held}; add {more}")
    parts = {name: np.asarray(rows, np.int64) for name, rows in given.items()}
    _check_given(parts, len(labels))
    pool = parts.pop("train", np.arange(len(labels)) if not parts else np.empty(0, np.int64))
    if "test" not in parts:
        parts["test"] = _draw(labels, pool, validation_fraction, seed, TEST)
        pool = np.setdiff1d(pool, parts["test"])
    if folds is not None:
        pool = np.union1d(pool, parts.pop("validation", np.empty(0, np.int64)))
        parts["validation"] = _deal(labels, pool, names, seed, folds, fold)
    elif "validation" not in parts:
        parts["validation"] = _draw(labels, pool, validation_fraction, seed, VALIDATION)
    result = Split(np.setdiff1d(pool, parts["validation"]), np.sort(parts["validation"]), np.sort(parts["test"]))
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
    of_class = _shuffled(labels, pool, int(labels.max()) + 1, seed, stream)
    wanted = quotas([len(rows) for rows in of_class], fraction)
    return np.concatenate([rows[:k] for rows, k in zip(of_class, wanted, strict=True)])


def _deal(labels: Array, pool: Array, names: Sequence[str], seed: int, folds: int, fold: int) -> Array:
    """Rows of the `fold`-th fold of `pool`. The images are dealt out like cards, one class after the other without
    starting anew, so that neither a class's counts nor the sizes of the folds differ by more than one."""
    if not 0 <= fold < folds:
        raise ValueError(f"parameter data.fold: expected 0 to {folds - 1}, got {fold}; correct it")
    of_class = _shuffled(labels, pool, len(names), seed, FOLDS)
    for name, rows in zip(names, of_class, strict=True):
        if len(rows) < folds:
            fewer = f"set data.folds to {len(rows)} or less, " if len(rows) > 1 else ""
            raise ValueError(
                f"data: class {name!r} expected {folds} images or more outside the test part, one for each of"
                f" data.folds, got {len(rows)}; {fewer}add images of it or leave the class out"
            )
    return np.concatenate(of_class)[fold::folds]


def _shuffled(labels: Array, pool: Array, classes: int, seed: int, stream: int) -> list[Array]:
    """The rows of `pool`, class by class, in the order of random numbers that every image has for itself."""
    if seed < 0:
        raise ValueError(f"parameter data.split_seed: expected 0 or more, got {seed}; correct it")
    keys = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(len(labels))
    of_class = [pool[labels[pool] == label] for label in range(classes)]
    return [rows[np.argsort(keys[rows])] for rows in of_class]


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
