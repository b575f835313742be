"""check: this study's metric report against reports/expected.json, for CI. 0 fine, 1 regressed, 2 unusable."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from auglens import artifacts
from auglens.check import expected, output
from auglens.check.compare import compare
from auglens.check.structure import structure
from auglens.check.values import SAME, SCORES, SEGMENTED, Line, Number, Report, Tolerances, Values, pooled

EXPECTED = Path("reports/expected.json")
REPRO = "run `dvc repro` to make it"
RESTORE = "restore it from git, or delete it and run `auglens check --update`"


def _json(path: Path, fix: str) -> Any:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; {fix}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not JSON; {fix}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected an object, got {type(values).__name__}; {fix}")
    return values


def _csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV table; ValueError where it is missing, ragged, names a column twice or lacks one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file, strict=True)) or [[]]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; {REPRO}") from None
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path}: not a CSV table; delete it and {REPRO}") from None
    missing = [name for name in columns if name not in head]
    if missing:
        raise ValueError(f"{path}: lacks the columns {', '.join(missing)}; delete it and {REPRO}")
    if len(set(head)) != len(head) or any(len(row) != len(head) for row in rows):
        raise ValueError(f"{path}: expected {len(head)} different columns in every row; delete it and {REPRO}")
    return [dict(zip(head, row, strict=True)) for row in rows]


def _number(path: Path, name: str, text: str) -> Number:
    try:
        return expected.number(name, float(text) if text else None)
    except ValueError:
        raise ValueError(f"{path}: {name}: expected a number, got {text[:40]!r}; delete it and {REPRO}") from None


def _means(path: Path, key: str, column: str) -> dict[str, dict[str, Number]]:
    """{value of `key`: {aug: value of `column`}} of a table with one row per aug and `key`."""
    found: dict[str, dict[str, Number]] = {}
    for row in _csv(path, ("aug", key, column)):
        group = found.setdefault(row[key], {})
        if row["aug"] in group:
            raise ValueError(f"{path}: {row['aug']} has {row[key]} twice; delete it and {REPRO}")
        group[row["aug"]] = _number(path, f"{row['aug']}, {row[key]}, {column}", row[column])
    return found


def _correlations(path: Path) -> Values:
    rows = _csv(path, ("aug",))
    if len({row["aug"] for row in rows}) != len(rows):
        raise ValueError(f"{path}: an aug has two rows; delete it and {REPRO}")
    return {
        row["aug"]: {
            name: _number(path, f"{row['aug']}, {name}", text) for name, text in row.items() if name != "aug"
        }
        for row in rows
    }


def _degenerate(path: Path) -> Values:
    """Kind → aug → share of the images of all its models; None where nothing was compared."""
    counts: dict[str, dict[str, list[Number]]] = {}
    images: dict[str, float] = {}
    for row in _csv(path, ("aug", "seed", "images")):
        images[row["aug"]] = images.get(row["aug"], 0.0) + (_number(path, "images", row["images"]) or 0.0)
        for kind in (name for name in row if name not in ("aug", "seed", "images")):
            value = _number(path, f"{row['aug']}, {kind}", row[kind])
            counts.setdefault(kind, {}).setdefault(row["aug"], []).append(value)
    return {
        kind: {
            aug: None if None in found or not images[aug] else sum(v or 0.0 for v in found) / images[aug]
            for aug, found in augs.items()
        }
        for kind, augs in counts.items()
    }


def _study(path: Path) -> tuple[dict[str, str], list[str], dict[str, list[int]]]:
    """(fingerprint, metrics, seeds per aug) of runs.json."""
    runs = _json(path, REPRO)
    try:
        fingerprint = {key: str(runs[key]) for key in expected.FINGERPRINT}
        metrics = [str(name) for name in (*runs["metrics"], *runs.get("further", ()))]
        seeds: dict[str, list[int]] = {}
        for cell in runs["cells"]:
            seeds.setdefault(str(cell["aug"]), []).append(int(cell["seed"]))
    except (KeyError, TypeError, ValueError):
        parts = ", ".join([*expected.FINGERPRINT, "metrics", "cells"])
        raise ValueError(f"{path}: expected {parts}; delete it and {REPRO}") from None
    strange = [name for name in metrics if not re.fullmatch(r"\w[\w.-]*", name)]
    if strange:  # their names become names of files
        raise ValueError(
            f"{path}: metrics: expected letters, digits, _ . and -, got {strange[0]!r}; delete it and {REPRO}"
        )
    return fingerprint, metrics, seeds


def read_report(folder: Path) -> Report:
    """The metric report in `folder`: reports/, or what `auglens publish` made of one; ValueError if incomplete."""
    tables = folder / "comparison" if (folder / "comparison").is_dir() else folder
    fingerprint, metrics, seeds = _study(folder / "runs.json")
    path = folder / "metrics.json"
    values = _json(path, REPRO)
    scores = SEGMENTED if "dice" in values else SCORES
    missing = [name for name in (*scores, *metrics) if not isinstance(values.get(name), dict)]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; delete it and {REPRO}")
    try:
        groups = {name: expected.numbers(name, found) for name, found in values.items() if isinstance(found, dict)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    performance, summary = tables / "performance_summary.csv", tables / "metric_summary.csv"
    spread = {score: pooled(list(sds.values())) for score, sds in _means(performance, "score", "sd").items()}
    if (tables / "seed_spread.csv").exists():
        sds_by_metric = _means(tables / "seed_spread.csv", "metric", "sd")
        spread |= {metric: pooled(list(sds.values())) for metric, sds in sds_by_metric.items()}
    replicates = _means(performance, "score", "replicates").get(scores[0], {})
    return Report(
        fingerprint=fingerprint,
        parameters=_parameters(folder),
        seeds=seeds,
        replicates={aug: int(count or 0) for aug, count in replicates.items()},
        spread=spread,
        scores={name: groups[name] for name in scores},
        maps={name: found for name, found in groups.items() if name not in scores},
        degenerate=_degenerate(tables / "degenerate.csv"),
        correlations={name: _correlations(tables / f"correlation/{name}.csv") for name in metrics},
        tables=_means(performance, "score", "mean") | _means(summary, "metric", "mean"),
    )


def _parameters(folder: Path) -> Mapping[str, Any]:
    """What params.yaml, beside the report or above it, says of the study; {} without one."""
    found = [path for path in (folder / "params.yaml", folder.absolute().parent / "params.yaml") if path.exists()]
    if not found:
        return {}
    try:
        values = yaml.safe_load(found[0].read_text(encoding="utf-8"))
        plain = json.loads(json.dumps({name: values[name] for name in expected.RECORDED if name in values}))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError):
        raise ValueError(f"{found[0]}: not the parameters of a study; run `auglens compose`") from None
    return plain


def read_expected(path: Path) -> tuple[Report, Tolerances]:
    if not path.exists():
        raise ValueError(f"{path}: no such file; `auglens check --update` writes it from this study's report")
    values = _json(path, RESTORE)
    try:
        return expected.from_values(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def judge(report: Path, path: Path, any_study: bool) -> output.Outcome:
    found, (wanted, tolerances) = read_report(report), read_expected(path)
    same, notes = expected.same_study(found, wanted)
    if not (same or any_study):
        ways = "`auglens check --update` expects this study from now on, `--any-study` compares all the same"
        raise ValueError(f"{path}: of another study ({'; '.join(notes)}); {ways}")
    return output.Outcome(compare(found, wanted, tolerances), notes)


def renew(report: Path, path: Path, everything: bool) -> None:
    """Write the report as the expected one, tolerances kept, and say what changed."""
    found = read_report(report)
    faults = structure(found)
    if faults:
        fault = faults[0]
        raise ValueError(f"{report}: {fault.group}, {fault.name}: {fault.text}; repair it: nobody can expect that")
    tolerances: Tolerances = {}
    if path.exists():
        wanted, tolerances = read_expected(path)
        expected.check_tolerances(tolerances, found)
        lines = compare(found, wanted, tolerances)
        moved = [line for line in lines if line.verdict != SAME or _changed(line)]
        for text in (*expected.same_study(found, wanted)[1], f"{len(moved)} of {len(lines)} values changed"):
            print(f"check: {output.printable(text)}")
        print("\n".join(output.table(lines if everything else moved)), end="\n" if moved else "")
    text = expected.to_text(found, tolerances)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if text != before:
        artifacts.save_text(path, text)
    print(f"check: {path} {'is as it was' if text == before else 'renewed' if before else 'written'}; commit it")


def _changed(line: Line) -> bool:
    """Whether its number in the file, which has ten digits, becomes another one."""
    a, b = line.value, line.expected
    return a != b if a is None or b is None else not math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def run(*, update: bool = False, any_study: bool = False, verbose: bool = False, markdown: str | None = None,
        junit: str | None = None, report: str = "reports", expected: str = str(EXPECTED)) -> int:  # fmt: skip
    """Exit code 0 or 1; ValueError, which is exit code 2, for a report or an expected file of no use.

    `markdown` and `junit` are written in all three cases, so that no table of an earlier run is left standing.
    """
    if update:
        if markdown or junit:
            raise ValueError("--update: writes the expected file alone; leave out --markdown and --junit")
        renew(Path(report), Path(expected), verbose)
        return 0
    try:
        outcome = judge(Path(report), Path(expected), any_study)
    except (ValueError, OSError) as error:
        _write(output.Outcome([], [], " ".join(str(error).split())), markdown, junit)
        raise
    _write(outcome, markdown, junit)
    print(output.terminal(outcome, verbose), end="")
    return outcome.code


def _write(outcome: output.Outcome, markdown: str | None, junit: str | None) -> None:
    if markdown:
        artifacts.save_text(markdown, output.markdown(outcome))
    if junit:
        artifacts.save_text(junit, output.junit(outcome))
