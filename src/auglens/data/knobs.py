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


@dataclass(frozen=True)
class Epochs:
    """When something is due: epochs done before it, ascending, as a list or as the first and the distance."""

    expected = "{first: N, every: N} or a list of ascending epochs, each 1 or more"

    def accepts(self, value: Any) -> bool:
        if isinstance(value, Mapping):
            return value.keys() == {"first", "every"} and all(map(_counts, value.values()))
        if not isinstance(value, list | tuple) or not value or not all(map(_counts, value)):
            return False
        return all(a < b for a, b in pairwise(value))


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
