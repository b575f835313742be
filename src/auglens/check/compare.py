"""A study's metric report against the expected one: values → verdicts. No disk, no printing.

A value may differ by its tolerance or by the spread over seeds, whichever is larger (`Tolerance.allowed`). Scores
that fall and degenerate maps that become more are regressions; map metrics and correlations have no better or
worse, so that a move either way is one. Definitions and the reasons of the defaults: docs/check.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from auglens.check.structure import exchanged, matrix, structure
from auglens.check.values import (
    BETTER,
    DEFINED,
    IMPROVED,
    MISSING,
    NEW,
    REGRESSED,
    SAME,
    UNDEFINED,
    Line,
    Number,
    Report,
    Tolerance,
    Tolerances,
    Values,
    tolerance,
)


def judge(value: Number, expected: Number, allowed: float, better: int) -> str:
    if expected is None:
        return SAME if value is None else DEFINED
    if value is None:
        return UNDEFINED
    difference = value - expected
    if abs(difference) <= allowed * (1 + 1e-9):  # 0.58 − 0.60 is not 0.02 to the last bit
        return SAME
    return IMPROVED if difference * better > 0 else REGRESSED


def compare(report: Report, expected: Report, tolerances: Tolerances) -> list[Line]:
    """Every value of either report with its verdict. An aug or a group that one of them lacks is one line."""
    lines = [Line("augs", aug, MISSING if aug not in report.augs else SAME) for aug in expected.augs]
    lines += [Line("augs", aug, NEW) for aug in report.augs if aug not in expected.augs]
    common = [aug for aug in expected.augs if aug in report.augs]
    lines += [line for aug in common for line in _models(report, expected, aug)]
    now, then = report.groups(), expected.groups()
    for group, kind in {**then, **now}.items():
        if group not in now or group not in then:
            lines.append(Line(group, "all", NEW if group in now else MISSING))
            continue
        limits = tolerance(tolerances, kind, group)
        if kind == "correlations":
            metric = group.removeprefix("correlation/")
            pair = report.correlations[metric], expected.correlations[metric]
            lines += _correlations(group, *pair, common, limits)
        else:
            pick = group.removeprefix("degenerate/")
            values, wanted = getattr(report, kind)[pick], getattr(expected, kind)[pick]
            for aug in common:
                lines += _value(group, aug, values, wanted, limits, _error(expected, group, aug), BETTER[kind])
    return lines + structure(report)


def _error(expected: Report, group: str, aug: str) -> float:
    """Standard error of an aug's mean: the pooled sd over the root of its number of distinct models."""
    sd = expected.spread.get(group)
    return math.nan if sd is None else sd / math.sqrt(max(1, expected.replicates.get(aug, 1)))


def _models(report: Report, expected: Report, aug: str) -> Iterator[Line]:
    now, then = report.seeds.get(aug, ()), expected.seeds.get(aug, ())
    lost = ", ".join(str(seed) for seed in then if seed not in now)
    verdict = MISSING if lost else NEW if len(now) > len(then) else SAME
    yield Line("seeds", aug, verdict, len(now), len(then), 0, f"without seed {lost}" if lost else "")
    a, b = report.replicates.get(aug, 0), expected.replicates.get(aug, 0)
    text = "" if a >= b else "fewer distinct models over the seeds"
    yield Line("replicates", aug, REGRESSED if a < b else NEW if a > b else SAME, a, b, 0, text)


def _value(group: str, name: str, values: Mapping[str, Number], wanted: Mapping[str, Number],
           limits: Tolerance, error: float, better: int) -> Iterator[Line]:  # fmt: skip
    if name not in values and name not in wanted:  # the reference is not compared with itself
        return
    if name not in values or name not in wanted:
        yield Line(group, name, NEW if name in values else MISSING, values.get(name), wanted.get(name))
        return
    value, expected = values[name], wanted[name]
    allowed = 0.0 if expected is None else limits.allowed(expected, error)
    yield Line(group, name, judge(value, expected, allowed, better), value, expected, allowed)


def _correlations(group: str, now: Values, then: Values, common: Sequence[str],
                  limits: Tolerance) -> Iterator[Line]:  # fmt: skip
    for aug in common:
        if (aug in now) != (aug in then):
            yield Line(group, aug, NEW if aug in now else MISSING)
    augs = [aug for aug in common if aug in now and aug in then]
    for i, a in enumerate(augs):
        for b in augs[: i + 1]:
            yield from (
                replace(line, name=f"{a} × {b}")
                for line in _value(group, b, now[a], then[a], limits, math.nan, BETTER["correlations"])
            )
    found = exchanged(matrix(now, augs), matrix(then, augs))
    if found is not None:
        text = f"fits the expected map once {augs[found[0]]} and {augs[found[1]]} are exchanged"
        yield Line(group, f"{augs[found[0]]} ↔ {augs[found[1]]}", REGRESSED, text=text)
