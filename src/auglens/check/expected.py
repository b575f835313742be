"""reports/expected.json: a metric report, its fingerprint and its tolerances as one committed text. No disk.

Rows of numbers stand on one line each and have ten digits, so that a renewal reads well as a diff.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from auglens.check.values import BETTER, DEFAULTS, Number, Report, Tolerance, Tolerances, tolerance

FORMAT = 1
# Parts of params.yaml that make a study what it is; another aug or seed leaves the others comparable.
STUDY = ("data", "model", "train", "classic", "streams", "maps", "measure")
RECORDED = (*STUDY, "aug", "seeds")
FINGERPRINT = ("study_key", "reference_train_key", "variant")


def check_tolerances(tolerances: Any, report: Report) -> Tolerances:
    """`tolerances` as given; ValueError for a name that `report` has not, an unknown key or a bad number."""
    known = {**{kind: kind for kind in DEFAULTS}, **report.groups()}
    if not isinstance(tolerances, Mapping):
        raise ValueError("tolerances: expected an object; remove it and run `auglens check --update`")
    for name, values in tolerances.items():
        if name not in known:
            raise ValueError(f"tolerances.{name}: expected {', '.join(DEFAULTS)} or a metric; remove it")
        keys = [field.name for field in fields(Tolerance)]
        if not isinstance(values, Mapping) or not set(values) <= set(keys):
            raise ValueError(f"tolerances.{name}: expected the keys {', '.join(keys)}, got {values!r}; correct it")
        try:
            tolerance({name: values}, known[name], name)
        except ValueError as error:
            raise ValueError(f"tolerances.{name}.{error}") from None
    return tolerances


def to_text(report: Report, tolerances: Tolerances) -> str:
    """The file's text: equal values give equal text."""
    defaults = {kind: asdict(value) for kind, value in DEFAULTS.items()}
    written = {
        name: defaults.get(name, {}) | dict(tolerances.get(name, {})) for name in {**defaults, **tolerances}
    }
    values = {field.name: getattr(report, field.name) for field in fields(Report) if field.name != "tables"}
    values |= {name: _rounded(values[name]) for name in ("spread", *BETTER)}
    return _dump({"format": FORMAT, "tolerances": written, **values}) + "\n"


def _dump(value: Any, indent: int = 0) -> str:
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    items = [
        f"{json.dumps(str(name), ensure_ascii=False)}: {_dump(item, indent + 2)}" for name, item in value.items()
    ]
    if not any(isinstance(item, Mapping) for item in value.values()):
        return "{" + ", ".join(items) + "}"
    space = "\n" + " " * (indent + 2)
    return "{" + space + f",{space}".join(items) + "\n" + " " * indent + "}"


def _rounded(value: Any) -> Any:
    """Ten digits, as the tables have; parameters are never rounded, since they must be equal."""
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.10g}") if isinstance(value, float) else value


def from_values(values: Any) -> tuple[Report, Tolerances]:
    """(report, tolerances) of the file's JSON; ValueError naming the part that is not as `to_text` writes it."""
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        raise ValueError(f"format: expected {FORMAT}; delete the file and run `auglens check --update`")
    report = Report(
        fingerprint={key: _text(_part(values, "fingerprint"), key) for key in FINGERPRINT},
        parameters=_part(values, "parameters"),
        seeds={aug: _whole(f"seeds.{aug}", found) for aug, found in _part(values, "seeds").items()},
        replicates={
            aug: _whole(f"replicates.{aug}", [found])[0] for aug, found in _part(values, "replicates").items()
        },
        spread=numbers("spread", _part(values, "spread")),
        scores=_nested("scores", _part(values, "scores")),
        maps=_nested("maps", _part(values, "maps")),
        degenerate=_nested("degenerate", _part(values, "degenerate")),
        correlations={
            metric: _nested(f"correlations.{metric}", matrix)
            for metric, matrix in _part(values, "correlations").items()
        },
        tables={},
    )
    if not any(report.scores.values()):
        raise ValueError("scores: expected at least one number; run `auglens check --update`")
    return report, check_tolerances(values.get("tolerances", {}), report)


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    if not isinstance(found, Mapping):
        raise ValueError(f"{name}: expected an object; restore the file or run `auglens check --update`")
    return found


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    if not isinstance(found, str):
        raise ValueError(f"{name}: expected a text, got {found!r}; restore the file or run its command again")
    return found


def _whole(name: str, values: Any) -> list[int]:
    if not isinstance(values, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise ValueError(f"{name}: expected whole numbers, got {values!r}; restore the file")
    return values


def number(name: str, value: Any) -> Number:
    """A finite float, None for null, NaN and infinities; ValueError for anything else."""
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, int) and abs(value) > 2**63)
    ):
        raise ValueError(f"{name}: expected a number or null, got {str(value)[:40]!r}; restore the file")
    return float(value) if math.isfinite(value) else None


def numbers(name: str, values: Any) -> dict[str, Number]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected an object of numbers, got {values!r}; restore the file")
    return {str(key): number(f"{name}.{key}", value) for key, value in values.items()}


def _nested(name: str, values: Any) -> dict[str, dict[str, Number]]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected an object of objects, got {values!r}; restore the file")
    return {str(key): numbers(f"{name}.{key}", inner) for key, inner in values.items()}


def same_study(report: Report, expected: Report) -> tuple[bool, list[str]]:
    """(whether they may be compared, what is to be said of their fingerprints).

    Another study key is another study, unless all parameters that make a study are recorded and equal: then the
    bytes of the data differ, or the keys are made in another way than they were.
    """
    now, then = flat(report.parameters), flat(expected.parameters)
    names = [name for name in {**then, **now} if now.get(name) != then.get(name)]
    notes = [f"{name} is {now.get(name)!r}, expected {then.get(name)!r}" for name in names]
    key, wanted = report.fingerprint["study_key"][:12], expected.fingerprint["study_key"][:12]
    if dict(report.fingerprint) == dict(expected.fingerprint):
        return True, [f"study {key}, as expected", *notes]
    other = not now or not then or any(name.split(".")[0] in STUDY for name in names)
    why = ", though its parameters are equal: other data or other code" if not other else ""
    return not other, [f"study {key}, expected {wanted}{why}", *notes]


def flat(values: Any, head: str = "") -> dict[str, Any]:
    """{"train.epochs": 6, …}: a nested mapping by dotted names."""
    if not isinstance(values, Mapping):
        return {head: values}
    inner = (flat(value, f"{head}.{name}" if head else str(name)) for name, value in values.items())
    return {name: value for found in inner for name, value in found.items()}
