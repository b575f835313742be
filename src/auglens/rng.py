"""(seed, stream name, counters) → randomness. Nothing here reads or changes a global generator.

Every use of randomness has a stream of its own, so that drawing more from one never shifts another. A stream
is named by a string (`split`, `init`, `order`, `augmentation/affine`, `dropout`, `bootstrap`) and whole
numbers that count within it. Imports torch only where a torch generator is asked for.
"""

from __future__ import annotations

import hashlib
import json
from operator import index
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


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
    second word of the counter, the first counts within the row, so rows never overlap. One bit generator
    serves all rows, its counter set anew for each (1.5 µs), which is why neither their number nor their order
    matters.
    """
    if len(rows) and rows.min() < 0:
        raise ValueError(f"rows: expected indices of 0 or more, got {rows.min()}; pass rows of the training set")
    bits = np.random.Philox(key=derive(seed, stream, epoch))
    state = bits.state
    counter = state["state"]["counter"]
    drawn = np.empty((len(rows), width), dtype=np.uint64)
    for line, row in zip(drawn, rows.tolist(), strict=True):
        counter[1] = row
        bits.state = state
        line[:] = bits.random_raw(width)
    return drawn


def fractions(drawn: np.ndarray) -> np.ndarray:
    """uint64 → float64 in [0, 1): the upper 53 bits, as numpy's Generator.random makes them."""
    return (drawn >> np.uint64(11)) * 2.0**-53


def uniforms(*, seed: int, stream: str, epoch: int, rows: np.ndarray, width: int) -> np.ndarray:
    """rows: int64 [B] → float64 [B,width] in [0, 1); row r's depend on (seed, stream, epoch, r) alone."""
    return fractions(words(seed=seed, stream=stream, epoch=epoch, rows=rows, width=width))
