"""What is compared, with how much tolerance, and what can be said of a value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

Number = float | None  # None: undefined (NaN, infinite or null where it was read)
Values = Mapping[str, Mapping[str, Number]]  # group → aug → number; a correlation map: row → column → number

SAME, IMPROVED, NEW, DEFINED = "same", "improved", "new", "defined"
REGRESSED, MISSING, UNDEFINED, BROKEN = "regressed", "missing", "undefined", "broken"
FAILED = (REGRESSED, MISSING, UNDEFINED, BROKEN)
VERDICTS = (*FAILED, IMPROVED, NEW, DEFINED, SAME)
# +1: more is better; −1: less is better; 0: neither, and a move either way is a regression.
BETTER = {"scores": 1, "maps": 0, "degenerate": -1, "correlations": 0}
SCORES = ("accuracy", "precision", "recall", "f1")
SEGMENTED = ("dice", "sensitivity", "specificity", "precision", "found")  # of a segmentation


@dataclass(frozen=True)
class Tolerance:
    """How far a value may move: the largest of absolute, relative × |expected value| and spread × its standard
    error over seeds, but never more than `most`."""

    absolute: float = 0.0
    relative: float = 0.0
    spread: float = 0.0
    most: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
            if not number and not (name == "most" and value is None):
                raise ValueError(f"{name}: expected a number from 0, got {value!r}; correct it")

    def allowed(self, expected: float, error: float) -> float:
        """error: standard error of the expected mean over seeds; NaN where it cannot be known."""
        spread = self.spread * error if math.isfinite(error) else 0.0
        found = max(self.absolute, self.relative * abs(expected), spread)
        return found if self.most is None else min(found, self.most)


Tolerances = Mapping[str, Mapping[str, Any]]  # kind or group → some of Tolerance's fields
DEFAULTS = {
    "scores": Tolerance(absolute=0.02, spread=3.0, most=0.04),
    "maps": Tolerance(absolute=0.001, relative=0.05, spread=3.0),
    "degenerate": Tolerance(absolute=0.01),
    "correlations": Tolerance(absolute=0.05),
}


@dataclass(frozen=True)
class Report:
    """One study's metric report.

    fingerprint: study_key, reference_train_key, variant. parameters: of params.yaml, {} where not recorded. seeds,
    replicates (distinct models): per aug. spread: score or metric → sd over seeds, pooled over augs. degenerate:
    kind → aug → share of the images. tables: scores and maps once more, as the tables have their means.
    """

    fingerprint: Mapping[str, str]
    parameters: Mapping[str, Any]
    seeds: Mapping[str, Sequence[int]]
    replicates: Mapping[str, int]
    spread: Mapping[str, Number]
    scores: Values
    maps: Values
    degenerate: Values
    correlations: Mapping[str, Values]
    tables: Values

    @property
    def augs(self) -> list[str]:
        found = (aug for values in (self.scores, self.maps) for group in values.values() for aug in group)
        return list(dict.fromkeys(found))

    def groups(self) -> dict[str, str]:
        """Group → kind, of everything that has values to compare."""
        named = {name: "scores" for name in self.scores} | {name: "maps" for name in self.maps}
        named |= {f"degenerate/{name}": "degenerate" for name in self.degenerate}
        return named | {f"correlation/{name}": "correlations" for name in self.correlations}


@dataclass(frozen=True)
class Line:
    """One value, and what is to be said of it."""

    group: str
    name: str
    verdict: str
    value: Number = None
    expected: Number = None
    allowed: Number = None
    text: str = ""


def pooled(sds: Sequence[Number]) -> Number:
    """Root mean square of the defined sds, one per aug: an sd of two or three seeds alone is hardly known."""
    found = [sd for sd in sds if sd is not None]
    return math.sqrt(sum(sd * sd for sd in found) / len(found)) if found else None


def tolerance(tolerances: Tolerances, kind: str, group: str) -> Tolerance:
    """The kind's default, overridden by what `tolerances` says of the kind, then of the group."""
    return replace(DEFAULTS[kind], **{**tolerances.get(kind, {}), **tolerances.get(group, {})})
