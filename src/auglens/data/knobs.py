"""What the parameters of an augmentation can be: kinds of knobs, each with the words that a message needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Number:
    """One number in [low, high]."""

    unit: str
    low: float
    high: float

    @property
    def expected(self) -> str:
        return f"a number from {self.low:g} to {self.high:g} ({self.unit})"

    def accepts(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and isfinite(value) and self.low <= value <= self.high


@dataclass(frozen=True)
class Range(Number):
    """[smallest, largest] of a uniform draw, both in [low, high]."""

    @property
    def expected(self) -> str:
        return f"[smallest, largest] from {self.low:g} to {self.high:g} ({self.unit})"

    def accepts(self, value: Any) -> bool:
        pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(super().accepts, value))
        return pair and value[0] <= value[1]


@dataclass(frozen=True)
class Odd(Number):
    """An odd whole number in [low, high]."""

    @property
    def expected(self) -> str:
        return f"an odd whole number from {self.low:g} to {self.high:g} ({self.unit})"

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and isinstance(value, int) and value % 2 == 1


@dataclass(frozen=True)
class Whole(Number):
    """A whole number in [low, high]."""

    @property
    def expected(self) -> str:
        return f"a whole number from {self.low:g} to {self.high:g} ({self.unit})"

    def accepts(self, value: Any) -> bool:
        return super().accepts(value) and isinstance(value, int)


AND_SO_ON = "..."  # at the end of a list of epochs: further ones at the last distance


@dataclass(frozen=True)
class Epochs:
    """When something is due: epochs done before it, ascending; `[3, 6, ...]` goes on with 9, 12 and so on."""

    expected = "ascending epochs, each 1 or more, as [3, 6, 9] or [3, 6, ...]"

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, list | tuple):
            return False
        given = value[:-1] if value and value[-1] == AND_SO_ON else value
        least = 1 if len(given) == len(value) else 2
        return len(given) >= least and all(map(_counts, given)) and all(x < y for x, y in pairwise(given))


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclass(frozen=True)
class Switch:
    """true or false."""

    expected = "true or false"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.words)}"

    def accepts(self, value: Any) -> bool:
        return value in self.words


Knob = Number | Choice | Epochs | Switch


@dataclass(frozen=True)
class Spec:
    """The parameters of one augmentation, and whether it draws anything with given ones."""

    knobs: Mapping[str, Knob]
    draws: Callable[[Parameters], bool]
    apply: Callable[..., Any] | None = None  # of one's own, where its file has been loaded; see chain.Kernel
    words: int = 0  # 64-bit words of randomness per image, of one's own
    active: bool = False  # made from what the model attends to; see auglens.active
    mixes: bool = False  # of those: with a partner from the training set
