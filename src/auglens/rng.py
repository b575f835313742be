"""(seed, stream name, counters) → randomness. Nothing here reads or changes a global generator.

Every use of randomness has a stream of its own, so that drawing more from one never shifts another. A stream
is named by a string (`split`, `init`, `order`, `augmentation/affine`, `dropout`, `bootstrap`) and whole
numbers that count within it. Imports torch only where a torch generator is asked for.
"""

from __future__ import annotations

import hashlib
import json
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

NARROW = 16  # words per row up to which all rows at once are faster
# Philox4x64-10: the multipliers of words 0 and 2, and what is added to either half of the key in each round.
_MULTIPLIER = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], dtype=np.uint64).reshape(2, 1, 1)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_LOWER, _HALF = np.uint64(2**32 - 1), np.uint64(32)
_MULTIPLIER_LOWER, _MULTIPLIER_UPPER = _MULTIPLIER & _LOWER, _MULTIPLIER >> _HALF


def derive(seed: int, stream: str, *counters: int) -> int:
    """A key in [0, 2**128): 16 bytes, big-endian, of the SHA-256 of the JSON list [stream, seed, *counters].

    JSON (no spaces, ASCII) quotes the name and separates the numbers, so unequal arguments never encode
    alike; any integer type encodes by its value.
    """
    encoded = json.dumps([stream, *map(index, (seed, *counters))], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(encoded.encode("ascii")).digest()[:16], "big")


def numpy_generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """numpy's Philox keyed by `derive`."""
    return np.random.Generator(np.random.Philox(key=derive(seed, stream, *counters)))


def torch_generator(seed: int, stream: str, *counters: int) -> torch.Generator:
    """A CPU generator seeded by `derive` modulo 2**63 (torch's Mersenne twister uses the lowest 32 bits)."""
    import torch

    return torch.Generator().manual_seed(derive(seed, stream, *counters) % 2**63)


def words(*, seed: int, stream: str, epoch: int, rows: np.ndarray, width: int) -> np.ndarray:
    """rows: int64 [B], 0 or more → uint64 [B,width]; row r's words depend on (seed, stream, epoch, r) alone.

    They are what numpy's Philox(key=derive(seed, stream, epoch), counter=r << 64) gives: the row is the
    second word of the counter, the first counts within the row, so rows never overlap, and neither their number
    nor their order matters. Few words per row are worked out for all rows at once; many come from one bit
    generator of numpy, its counter set anew for each row (2 µs).
    """
    if len(rows) and rows.min() < 0:
        raise ValueError(f"rows: expected indices of 0 or more, got {rows.min()}; pass rows of the training set")
    key = derive(seed, stream, epoch)
    if width <= NARROW:
        return _philox(key, rows, width)
    bits = np.random.Philox(key=key)
    state: Any = bits.state
    # Lists of plain numbers, which are read sooner than the arrays that stand there.
    counter, state["buffer"] = [0, 0, 0, 0], [0, 0, 0, 0]
    state["state"] = {"counter": counter, "key": [key % 2**64, key >> 64]}
    drawn = np.empty((len(rows), width), dtype=np.uint64)
    for line, row in zip(drawn, rows.tolist(), strict=True):
        counter[1] = row
        bits.state = state
        line[:] = bits.random_raw(width)
    return drawn


def _philox(key: int, rows: np.ndarray, width: int) -> np.ndarray:
    """Philox4x64-10 (Salmon et al. 2011) of the counters (1, row, 0, 0), (2, row, 0, 0), …: uint64 [B,width]."""
    blocks = -(-width // 4)
    # Words 0 and 2 of every counter, and words 1 and 3.
    even, odd = np.zeros((2, 2, len(rows), blocks), dtype=np.uint64)
    even[0], odd[0] = np.arange(1, blocks + 1), rows[:, None]
    for rnd in range(10):
        # The upper 64 bits of word × multiplier, from products of their halves.
        upper, lower = even >> _HALF, even & _LOWER
        middle = lower * _MULTIPLIER_LOWER
        middle >>= _HALF
        middle += upper * _MULTIPLIER_LOWER
        cross = lower * _MULTIPLIER_UPPER
        lower = even * _MULTIPLIER
        middle += cross & _LOWER
        middle >>= _HALF
        cross >>= _HALF
        upper *= _MULTIPLIER_UPPER
        upper += cross
        upper += middle
        keys = [((key >> 64 * i) + rnd * weyl) % 2**64 for i, weyl in enumerate(_WEYL)]
        even = upper[::-1] ^ odd
        even ^= np.array(keys, dtype=np.uint64).reshape(2, 1, 1)
        odd = lower[::-1]
    drawn = np.stack([even[0], odd[0], even[1], odd[1]], axis=-1).reshape(len(rows), 4 * blocks)
    return np.ascontiguousarray(drawn[:, :width])


def fractions(drawn: np.ndarray) -> np.ndarray:
    """uint64 → float64 in [0, 1): the upper 53 bits, as numpy's Generator.random makes them."""
    return (drawn >> np.uint64(11)) * 2.0**-53


def uniforms(*, seed: int, stream: str, epoch: int, rows: np.ndarray, width: int) -> np.ndarray:
    """rows: int64 [B] → float64 [B,width] in [0, 1); row r's depend on (seed, stream, epoch, r) alone."""
    return fractions(words(seed=seed, stream=stream, epoch=epoch, rows=rows, width=width))
