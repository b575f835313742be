"""Loops over the pixels of one map or of two, compiled by numba when first imported and kept beside this file.

One loop reads every pixel once, where numpy writes an array per operation; and loops run side by side in threads.
Sums are taken pixel by pixel, without fused operations: no processor gives other bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reals = NDArray[np.float32]
Keys = NDArray[np.uint64]
Integers = NDArray[np.int64]

# A float64 that was a float32 has zeros in the 29 lowest bits of its fraction: room for its place.
BITS = np.uint64(29)
POSITION = np.uint64((1 << 29) - 1)


def compiled(result: types.Type, *arguments: types.Type) -> Callable[[Callable[..., Any]], Any]:
    """A loop for these types alone, compiled or loaded at once: left to a first call, threads do it together."""

    def compile_now(function: Callable[..., Any]) -> Any:
        try:
            return njit(result(*arguments), cache=True, nogil=True)(function)
        except RuntimeError:  # neither this folder nor the user's cache can be written: compiled in every process
            return njit(result(*arguments), nogil=True)(function)

    return compile_now


_REALS = types.Array(types.float32, 1, "C", readonly=True)
_FLOATS, _KEYS, _INTEGERS = types.float64[::1], types.uint64[::1], types.int64[::1]


@compiled(types.float64, _REALS, _INTEGERS, _INTEGERS, _FLOATS, _KEYS)
def prepare(pixels: Reals, kept: Integers, copies: Integers, values: Floats, keys: Keys) -> float:
    """Of pixels [P] those kept, into values [n]; each with its place in the low bits into keys [n].

    −0 becomes 0, so that equal values tie. Returns Σ value over all pixels: the first kept stand for copies [c]
    others each.
    """
    floats, total = keys.view(np.float64), 0.0
    for n in range(len(kept)):
        value = np.float64(pixels[kept[n]]) + 0.0
        total += value
        values[n] = value
        floats[n] = value
        keys[n] |= np.uint64(n)
    for n in range(len(copies)):
        total += copies[n] * values[n]
    return total


@compiled(types.void, _KEYS, _INTEGERS, types.int64, _FLOATS, _INTEGERS, _KEYS)
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


@compiled(
    types.UniTuple(types.float64, 8), _INTEGERS, *[_FLOATS] * 4, types.float64, types.float64, *[_FLOATS] * 5
)
def compare(
    copies: Integers, p: Floats, q: Floats, pattern_p: Floats, pattern_q: Floats, mean_p: float, mean_q: float,
    ranks_p: Floats, ranks_q: Floats, from_p: Floats, from_q: Floats, overlaps: Floats,
) -> tuple[float, ...]:  # fmt: skip
    """Σ |p − q| and Σ (p − q)²; Σ ab, Σ a², Σ b² of the patterns' distances from their means; and of the ranks.

    Writes |∩| / |∪| of the pixels where p is at least from_p [Y] and those where q is at least from_q [Y] into
    overlaps [Y]. The first values stand for copies [c] others each.
    """
    absolute, squares = 0.0, 0.0
    patterns, of_p, of_q = 0.0, 0.0, 0.0
    ranks, of_ranks_p, of_ranks_q = 0.0, 0.0, 0.0
    for stop, counted in ((len(p), False), (len(copies), True)):
        for n in range(stop):
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
    for y in range(len(overlaps)):
        both, either = 0, 0
        for n in range(len(p)):
            in_p, in_q = p[n] >= from_p[y], q[n] >= from_q[y]
            both += in_p & in_q
            either += in_p | in_q
        for n in range(len(copies)):
            in_p, in_q = p[n] >= from_p[y], q[n] >= from_q[y]
            both += copies[n] * (in_p & in_q)
            either += copies[n] * (in_p | in_q)
        overlaps[y] = both / either
    return absolute, squares, patterns, of_p, of_q, ranks, of_ranks_p, of_ranks_q
