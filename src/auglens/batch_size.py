"""The batch sizes that fit: doubled from 2 on until one fails, and which is the fastest. No torch, no disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SMALLEST = 2  # images: batch norm knows no smaller one
LARGEST = 1024  # images, unless another limit is given
# What CPU and GPU allocators, and the libraries that torch calls, say where there is no more memory.
_PHRASES = ("out of memory", "allocate memory", "bad_alloc", "out_of_memory", "alloc_failed")


@dataclass(frozen=True)
class Attempt:
    """seconds: of one training step; peak_bytes: the most memory held during it; start_bytes: held before it."""

    seconds: float
    peak_bytes: int
    start_bytes: int = 0


@dataclass(frozen=True)
class Found:
    """attempts: what fitted, by batch size, ascending; ended: what ended the doubling, at which size: `limit`
    (nothing larger is asked for), `memory` (there was none left) or `bound`; expected_bytes: what that size would
    have held, or held, where it was the bound.
    """

    attempts: dict[int, Attempt]
    ended: str
    ended_at: int
    expected_bytes: int | None = None

    @property
    def largest(self) -> int:
        return max(self.attempts)

    @property
    def fastest(self) -> int:
        """Most images a second; of equal ones the smallest."""
        return max(self.attempts, key=lambda size: (size / self.attempts[size].seconds, -size))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out: torch's own error is a RuntimeError on every device."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in _PHRASES)
    )


def predict(attempts: dict[int, Attempt]) -> int | None:
    """Bytes that twice the largest size tried will hold at its peak; None before the first.

    By the growth from the last size to this one; after the first, as if all that its step held grew with it.
    """
    if not attempts:
        return None
    *_, size = attempts
    now = attempts[size]
    if size // 2 in attempts:
        return now.peak_bytes + 2 * max(0, now.peak_bytes - attempts[size // 2].peak_bytes)
    return now.peak_bytes + max(0, now.peak_bytes - now.start_bytes)


def find(
    attempt: Callable[[int], Attempt],
    *,
    limit: int = LARGEST,
    bound: float | None = None,
    on_attempt: Callable[[int, Attempt], None] = lambda size, done: None,
) -> Found:
    """Try 2, 4, 8, … images a batch up to `limit`, until there is no memory left.

    attempt: trains a step with so many images and gives its memory back; what it raises where memory ran out ends
    the search, anything else passes through. bound: bytes that no size may be expected to hold, so that a machine
    without memory to spare is not driven into swapping; a size that held more all the same does not count as one
    that fits. on_attempt: called after each size that fits. ValueError for a limit below 2.
    """
    if limit < SMALLEST:
        raise ValueError(f"limit: expected {SMALLEST} images or more, got {limit}; raise it")
    attempts: dict[int, Attempt] = {}
    size = SMALLEST
    while size <= limit:
        expected = predict(attempts)
        if bound is not None and expected is not None and expected > bound:
            return Found(attempts, "bound", size, expected)
        try:
            done = attempt(size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return Found(attempts, "memory", size)
        if bound is not None and done.peak_bytes > bound:
            return Found(attempts, "bound", size, done.peak_bytes)
        attempts[size] = done
        on_attempt(size, done)
        size *= 2
    return Found(attempts, "limit", size)
