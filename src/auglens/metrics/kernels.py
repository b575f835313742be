"""Loops over the pixels of one map or of two, compiled on first use by numba and kept beside this file.

One loop reads every pixel once, where numpy writes an array per operation; and loops run side by side in threads.
Sums are taken pixel by pixel, without fused operations: no processor gives other bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Integers = NDArray[np.int64]

# A float64 that was a float32 has zeros in the 29 lowest bits of its fraction: room for its place.
BITS = np.uint64(29)
POSITION = np.uint64((1 << 29) - 1)


def compiled(function: Callable[..., Any]) -> Any:
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written: compiled in every process
        return njit(nogil=True)(function)


@compiled
def prepare(values: Floats, keys: Keys) -> None:
    """Each value with its position in the low bits, into keys [n]; −0 becomes 0, so that equal values tie."""
    floats = keys.view(np.float64)
    for n in range(len(values)):
        values[n] += 0.0
        floats[n] = values[n]
        keys[n] |= np.uint64(n)


@compiled
def rank(keys: Keys, copies: Integers, pixels: int, ranks: Floats, places: Integers, found: Keys) -> None:
    """Ranks from n sorted keys: equal values have equal high bits, and the low bits say where the value stands.

    The first values stand for copies [c] others each, `pixels` together. Writes 2 × (average rank − mean rank), a
    whole number, into ranks [n]; into `found` where the values stand that come at `places` (ascending) among all
    sorted pixels.
    """
    count, repeated = len(keys), np.uint64(len(copies))
    first, before, wanted = 0, 0, 0
    while first < count:
        value, end, after = keys[first] & ~POSITION, first, before
        while end < count and keys[end] & ~POSITION == value:
            after += 1
            if keys[end] & POSITION < repeated:
                after += copies[keys[end] & POSITION]
            end += 1
        both = np.float64(before + after - pixels)
        for place in range(first, end):
            ranks[keys[place] & POSITION] = both
        while wanted < len(places) and places[wanted] < after:
            found[wanted] = keys[first] & POSITION
            wanted += 1
        first, before = end, after


@compiled
def sums(
    copies: Integers, p: Floats, q: Floats, pattern_p: Floats, pattern_q: Floats, mean_p: float, mean_q: float,
    ranks_p: Floats, ranks_q: Floats,
) -> tuple[float, ...]:  # fmt: skip
    """Σ |p − q| and Σ (p − q)²; Σ ab, Σ a², Σ b² of the patterns' distances from their means; and of the ranks."""
    absolute, squares = 0.0, 0.0
    patterns, of_p, of_q = 0.0, 0.0, 0.0
    ranks, of_ranks_p, of_ranks_q = 0.0, 0.0, 0.0
    for start, stop, counted in ((0, len(p), False), (0, len(copies), True)):
        for n in range(start, stop):
            weight = copies[n] if counted else 1.0
            difference = p[n] - q[n]
            absolute += weight * abs(difference)
            squares += weight * (difference * difference)
            a, b = pattern_p[n] - mean_p, pattern_q[n] - mean_q
            patterns += weight * (a * b)
            of_p += weight * (a * a)
            of_q += weight * (b * b)
            a, b = ranks_p[n], ranks_q[n]
            ranks += weight * (a * b)
            of_ranks_p += weight * (a * a)
            of_ranks_q += weight * (b * b)
    return absolute, squares, patterns, of_p, of_q, ranks, of_ranks_p, of_ranks_q


@compiled
def shared(copies: Integers, p: Floats, q: Floats, from_p: float, from_q: float) -> float:
    """|∩| / |∪| of the pixels where p is at least from_p and those where q is at least from_q."""
    both, either = 0, 0
    for n in range(len(p)):
        in_p, in_q = p[n] >= from_p, q[n] >= from_q
        both += in_p & in_q
        either += in_p | in_q
    for n in range(len(copies)):
        in_p, in_q = p[n] >= from_p, q[n] >= from_q
        both += copies[n] * (in_p & in_q)
        either += copies[n] * (in_p | in_q)
    return both / either
