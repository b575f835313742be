"""auglens check: planted regressions in a copy of the published report fail, reruns and rounding pass."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml

from auglens.check import expected as expected_file
from auglens.check import output
from auglens.check.compare import compare, judge
from auglens.check.structure import exchanged
from auglens.check.values import DEFAULTS, SCORES, Line, Report, Tolerance, pooled, tolerance
from auglens.commands.check import read_expected, read_report, run

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports/published/cifar10-exact"
METRICS = ("mad", "msd", "pearson", "spearman", "overlap_20", "overlap_10", "overlap_5", "class_kld")
TABLES = ("performance_summary.csv", "metric_summary.csv", "degenerate.csv")


def copy(source: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    (target / "correlation").mkdir()
    for name in ("metrics.json", "runs.json", "params.yaml", *TABLES, *(f"correlation/{m}.csv" for m in METRICS)):
        shutil.copyfile(source / name, target / name)
    return target


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The expected file of the published study."""
    path = tmp_path_factory.mktemp("expected") / "expected.json"
    assert run(update=True, report=str(PUBLISHED), expected=str(path)) == 0
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return copy(PUBLISHED, tmp_path / "report")


def checked(report: Path, committed: Path, **options: Any) -> int:
    return run(report=str(report), expected=str(committed), **options)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


AUGS = list(json.loads((PUBLISHED / "metrics.json").read_text())["accuracy"])


# What must fail, and what must not


@pytest.mark.parametrize(
    ("aug", "where"),
    [*((aug, "both") for aug in AUGS), ("elastic", "metrics.json"), ("elastic", "performance_summary.csv")],
)
def test_five_points_of_accuracy_less_in_one_aug_fail(report: Path, committed: Path, aug: str, where: str,
                                                      capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    if where != "performance_summary.csv":
        edit(report / "metrics.json", lambda v: v["accuracy"].update({aug: v["accuracy"][aug] - 0.05}))
    if where != "metrics.json":
        path = report / "performance_summary.csv"
        rows = rows_of(path)
        for row in rows:
            if row[:2] == [aug, "accuracy"]:
                row[2] = str(float(row[2]) - 0.05)
        write_rows(path, rows)
    assert checked(report, committed) == 1
    said = capsys.readouterr().out
    assert any(line.split()[:2] == ["accuracy", aug] for line in said.splitlines())
    if where == "both":
        assert "regressed" in said


@pytest.mark.parametrize("aug", AUGS)
def test_five_points_less_fail_in_the_default_study_however_far_its_seeds_scatter(aug: str) -> None:
    scores = json.loads((ROOT / "reports/metrics.json").read_text())
    then = made(scores={"accuracy": scores["accuracy"]}, spread={"accuracy": 0.2})
    now = made(scores={"accuracy": {**scores["accuracy"], aug: scores["accuracy"][aug] - 0.05}})
    assert verdicts(compare(now, then, {}), "accuracy") == {name: "same" for name in scores["accuracy"]} | {
        aug: "regressed"
    }


@pytest.mark.parametrize("metric", METRICS)
def test_two_exchanged_rows_of_a_correlation_map_fail(committed: Path, metric: str) -> None:
    """Every pair of rows: the numbers alone, with their columns, whole lines, whole lines and columns."""
    full, tolerances = read_expected(committed)
    found = full.correlations[metric]
    then = made(maps={metric: full.maps[metric]}, correlations={metric: found})
    augs = list(found)
    for a, b in itertools.combinations(augs, 2):
        order = [{a: b, b: a}.get(aug, aug) for aug in augs]
        planted = (
            {x: found[y] for x, y in zip(augs, order, strict=True)},
            {
                x: dict(zip(augs, (found[y][z] for z in order), strict=True))
                for x, y in zip(augs, order, strict=True)
            },
            {y: found[y] for y in order},
            {y: {z: found[y][z] for z in order} for y in order},
        )
        for correlations in planted:
            bad = made(maps=then.maps, correlations={metric: correlations})
            outcome = output.Outcome(compare(bad, then, tolerances), [])
            assert outcome.code == 1, (a, b)
            assert {line.group for line in outcome.sorted()} == {f"correlation/{metric}"}


@pytest.mark.parametrize("columns", [False, True], ids=["rows", "rows and columns"])
def test_two_exchanged_rows_in_the_file_fail(report: Path, committed: Path, columns: bool) -> None:
    path = report / "correlation/spearman.csv"
    head, *rows = rows_of(path)
    i, j = head.index("affine"), head.index("random_crop")  # the two most alike: no cell moves by its tolerance
    rows[i - 1][1:], rows[j - 1][1:] = rows[j - 1][1:], rows[i - 1][1:]
    if columns:
        for row in rows:
            row[i], row[j] = row[j], row[i]
    write_rows(path, [head, *rows])
    assert checked(report, committed) == 1


@pytest.mark.parametrize("aug", AUGS)
def test_a_missing_aug_fails(report: Path, committed: Path, aug: str, capsys: pytest.CaptureFixture[str]) -> None:
    def drop(values: dict[str, Any]) -> None:
        for group in values.values():
            if isinstance(group, dict):
                group.pop(aug, None)

    edit(report / "metrics.json", drop)
    edit(report / "runs.json", lambda v: v.update(cells=[c for c in v["cells"] if c["aug"] != aug]))
    for name in TABLES:
        write_rows(report / name, [row for row in rows_of(report / name) if row[0] != aug])
    for metric in METRICS:
        path = report / f"correlation/{metric}.csv"
        keep = [i for i, name in enumerate(rows_of(path)[0]) if name != aug]
        write_rows(path, [[row[i] for i in keep] for row in rows_of(path) if row[0] != aug])
    assert checked(report, committed) == 1
    table = capsys.readouterr().out.splitlines()[2:-2]  # without note and head, counts and outcome
    assert [line.split() for line in table] == [["augs", aug, "–", "–", "missing"]]


def test_an_aug_missing_in_one_place_alone_fails(tmp_path: Path, committed: Path) -> None:
    def places() -> list[Callable[[Path], None]]:
        def tables(name: str) -> Callable[[Path], None]:
            return lambda r: write_rows(r / name, [row for row in rows_of(r / name) if row[0] != "cutmix"])

        def one_map(r: Path) -> None:
            path = r / "correlation/mad.csv"
            keep = [i for i, name in enumerate(rows_of(path)[0]) if name != "cutmix"]
            write_rows(path, [[row[i] for i in keep] for row in rows_of(path) if row[0] != "cutmix"])

        return [
            lambda r: edit(r / "metrics.json", lambda v: v["mad"].pop("cutmix")),
            lambda r: edit(r / "metrics.json", lambda v: v["accuracy"].pop("cutmix")),
            lambda r: edit(r / "runs.json", lambda v: v["cells"].pop(4)),
            *(tables(name) for name in TABLES),
            tables("correlation/mad.csv"),
            one_map,
        ]

    for n, plant in enumerate(places()):
        report = copy(PUBLISHED, tmp_path / str(n))
        plant(report)
        assert checked(report, committed) == 1, n


@pytest.mark.parametrize("value", ["NaN", "null", "Infinity"])
@pytest.mark.parametrize("group", ["accuracy", "mad", "class_kld"])
def test_a_nan_where_a_number_was_fails(report: Path, committed: Path, group: str, value: str) -> None:
    path = report / "metrics.json"
    values = json.loads(path.read_text())
    values[group]["noise"] = "PLANTED"
    path.write_text(json.dumps(values).replace('"PLANTED"', value))
    assert checked(report, committed) == 1


@pytest.mark.parametrize("value", ["", "nan", "inf"])
@pytest.mark.parametrize("name", ["performance_summary.csv", "metric_summary.csv", "correlation/msd.csv"])
def test_a_nan_in_a_table_fails(report: Path, committed: Path, name: str, value: str) -> None:
    rows = rows_of(report / name)
    rows[2][2] = value
    write_rows(report / name, rows)
    assert checked(report, committed) == 1


def test_a_rerun_of_the_same_study_passes(
    report: Path, committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(report, committed) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "check: study cfe304dd7b02, as expected",
        "check: 729 values checked: 729 same",
        "check: as expected",
    ]


@pytest.mark.parametrize("noise", [1e-6, 1e-5, 1e-4, 1e-3])
def test_another_machines_rounding_passes(report: Path, committed: Path, noise: float) -> None:
    rng = np.random.default_rng(5)

    def rounded(value: float) -> float:
        return value * (1 + noise * rng.uniform(-1, 1))

    def shake(values: dict[str, Any]) -> None:
        for group in values.values():
            if isinstance(group, dict):
                group.update({aug: rounded(value) for aug, value in group.items()})

    edit(report / "metrics.json", shake)
    for name, column in (("performance_summary.csv", 2), ("metric_summary.csv", 2)):
        head, *rows = rows_of(report / name)
        write_rows(
            report / name, [head, *([*r[:column], str(rounded(float(r[column]))), *r[column + 1 :]] for r in rows)]
        )
    for metric in METRICS:  # each cell for itself, the diagonal too
        path = report / f"correlation/{metric}.csv"
        head, *rows = rows_of(path)
        write_rows(path, [head, *([row[0], *(str(rounded(float(cell))) for cell in row[1:])] for row in rows)])
    assert checked(report, committed) == 0


# Verdicts by hand


def made(**parts: Any) -> Report:
    empty: dict[str, Any] = {
        "fingerprint": {"study_key": "a" * 64, "reference_train_key": "b" * 64, "variant": "gradcam-predicted"},
        **{name: {} for name in ("parameters", "seeds", "replicates", "spread", "scores", "maps", "degenerate")},
        "correlations": {},
        "tables": {},
    }
    return Report(**{**empty, **parts})


def verdicts(lines: list[Line], group: str) -> dict[str, str]:
    return {line.name: line.verdict for line in lines if line.group == group}


@pytest.mark.parametrize(
    ("value", "expected", "better", "verdict"),
    [
        (0.58, 0.60, 1, "same"),  # exactly the tolerance, though 0.58 − 0.60 is not −0.02 to the last bit
        (0.5799, 0.60, 1, "regressed"),
        (0.6201, 0.60, 1, "improved"),
        (0.6201, 0.60, 0, "regressed"),
        (0.5799, 0.60, 0, "regressed"),
        (0.6201, 0.60, -1, "regressed"),
        (0.5799, 0.60, -1, "improved"),
        (None, 0.60, 1, "undefined"),
        (0.60, None, 1, "defined"),
        (None, None, 0, "same"),
    ],
)
def test_judge(value: float | None, expected: float | None, better: int, verdict: str) -> None:
    assert judge(value, expected, 0.02, better) == verdict


def test_the_allowance_is_the_larger_of_tolerance_and_spread_up_to_the_most() -> None:
    limits = Tolerance(absolute=0.02, relative=0.05, spread=3, most=0.04)
    assert limits.allowed(0.1, 0.001) == 0.02
    assert limits.allowed(-0.6, 0.001) == pytest.approx(0.03)
    assert limits.allowed(0.1, 0.01) == pytest.approx(0.03)
    assert limits.allowed(0.1, 0.1) == 0.04
    assert limits.allowed(0.1, math.nan) == 0.02
    assert pooled([0.03, None, 0.04]) == pytest.approx(math.sqrt((0.0009 + 0.0016) / 2))
    assert pooled([None]) is None


def test_the_spread_is_the_pooled_sd_over_the_root_of_the_distinct_models() -> None:
    accuracy = {"affine": 0.7, "equalize": 0.7}
    then = made(scores={"accuracy": accuracy}, replicates={"affine": 4, "equalize": 1}, spread={"accuracy": 0.015})
    now = made(scores={"accuracy": {"affine": 0.675, "equalize": 0.675}}, replicates=then.replicates)
    lines = {line.name: line for line in compare(now, then, {}) if line.group == "accuracy"}
    assert lines["affine"].allowed == pytest.approx(3 * 0.015 / 2)  # above the tolerance of 0.02, below 0.025
    assert lines["affine"].verdict == "regressed"
    assert lines["equalize"].allowed == 0.04  # 3 × 0.015 is more than the most
    assert lines["equalize"].verdict == "same"


def test_the_real_report_allows_less_than_five_points_everywhere(committed: Path) -> None:
    then, tolerances = read_expected(committed)
    rows = [row for row in rows_of(PUBLISHED / "performance_summary.csv")[1:] if row[1] == "accuracy" and row[3]]
    oracle = float(np.sqrt(np.mean(np.square([float(row[3]) for row in rows]))))
    assert then.spread["accuracy"] == pytest.approx(oracle, rel=1e-8)
    lines = [line for line in compare(then, then, tolerances) if line.group == "accuracy"]
    for line in lines:
        sem = oracle / math.sqrt(then.replicates[line.name])
        assert line.allowed == pytest.approx(min(0.04, max(0.02, 3 * sem)))


def test_seed_spread_is_used_where_it_exists(report: Path, committed: Path) -> None:
    edit(report / "metrics.json", lambda v: v["mad"].update(affine=v["mad"]["affine"] * 1.06))
    rows = rows_of(report / "metric_summary.csv")
    next(row for row in rows if row[:2] == ["affine", "mad"])[2] = str(0.2049644052 * 1.06)
    write_rows(report / "metric_summary.csv", rows)
    assert checked(report, committed) == 1
    wide = report.parent / "wide.json"
    source = copy(PUBLISHED, report.parent / "source")
    table = [["aug", "metric", "sd", "replicates"], ["affine", "mad", "0.02", "3"], ["equalize", "mad", "", "1"]]
    write_rows(source / "seed_spread.csv", table)
    assert run(update=True, report=str(source), expected=str(wide)) == 0
    assert read_expected(wide)[0].spread["mad"] == 0.02
    assert checked(report, wide) == 0  # 3 × 0.02 / √3 = 0.035 against 0.0123


def test_better_scores_new_augs_and_new_numbers_are_reported_not_failed() -> None:
    then = made(scores={"accuracy": {"a": 0.5, "b": 0.5}}, maps={"pearson": {"a": None}})
    now = made(
        scores={"accuracy": {"a": 0.7, "b": 0.5, "c": 0.1}}, maps={"pearson": {"a": 0.3}, "ssim": {"a": 0.2}}
    )
    outcome = output.Outcome(compare(now, then, {}), [])
    assert outcome.code == 0
    assert [(line.group, line.name, line.verdict) for line in outcome.sorted()] == [
        ("accuracy", "a", "improved"),
        ("augs", "c", "new"),
        ("ssim", "all", "new"),
        ("pearson", "a", "defined"),
    ]


def test_fewer_seeds_or_distinct_models_and_more_degenerate_maps_fail() -> None:
    accuracy = {"accuracy": {"a": 0.5, "b": 0.5}}
    then = made(scores=accuracy, seeds={"a": [1, 2], "b": [1, 2]}, replicates={"a": 2, "b": 2},
                degenerate={"flat": {"a": 0.0, "b": 0.1}})  # fmt: skip
    now = made(scores=accuracy, seeds={"a": [2], "b": [1, 2, 3]}, replicates={"a": 2, "b": 1},
               degenerate={"flat": {"a": 0.02, "b": 0.0}})  # fmt: skip
    lines = compare(now, then, {})
    assert verdicts(lines, "seeds") == {"a": "missing", "b": "new"}
    assert verdicts(lines, "replicates") == {"a": "same", "b": "regressed"}
    assert verdicts(lines, "degenerate/flat") == {"a": "regressed", "b": "improved"}


def test_exchanged_labels_are_told_from_noise() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        square = rng.uniform(0.3, 0.8, (8, 8))
        then = (square + square.T) / 2
        np.fill_diagonal(then, 1)
        moved = rng.normal(0, 0.03, (8, 8))
        noisy = then + (moved + moved.T) / 2
        assert exchanged(noisy, then) is None
        order = [0, 1, 5, 3, 4, 2, 6, 7]
        assert exchanged(then[np.ix_(order, order)] + rng.normal(0, 1e-3, (8, 8)), then) == (2, 5)
    assert exchanged(np.zeros((0, 0)), np.zeros((0, 0))) is None
    assert exchanged(np.full((3, 3), np.nan), np.eye(3)) is None


# Studies


def test_another_study_is_refused_unless_asked_for(report: Path, committed: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    edit(report / "runs.json", lambda v: v.update(study_key="f" * 64))
    assert checked(report, committed) == 0  # all parameters are equal: said, not refused
    why = "though its parameters are equal: other data or other code"
    note = f"check: study ffffffffffff, expected cfe304dd7b02, {why}"
    assert capsys.readouterr().out.splitlines()[0] == note
    params = report / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 10", "epochs: 12"))
    with pytest.raises(ValueError, match=r"of another study .*train\.epochs is 12, expected 10"):
        checked(report, committed)
    assert checked(report, committed, any_study=True) == 0
    assert "train.epochs is 12, expected 10" in capsys.readouterr().out
    params.unlink()
    with pytest.raises(ValueError, match="of another study"):
        checked(report, committed)


def test_another_setting_of_an_aug_is_said(
    report: Path, committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = report / "params.yaml"
    params.write_text(params.read_text().replace("degrees: 20", "degrees: 25"))
    assert checked(report, committed) == 0
    assert "check: aug.affine.degrees is 25, expected 20\n" in capsys.readouterr().out


# The expected file


def test_update_repeats_keeps_tolerances_and_says_what_changed(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "expected.json"
    assert run(update=True, report=str(report), expected=str(path)) == 0
    first = path.read_bytes()
    stamp = path.stat().st_mtime_ns
    assert run(update=True, report=str(report), expected=str(path)) == 0
    assert path.read_bytes() == first
    assert path.stat().st_mtime_ns == stamp
    assert "0 of 729 values changed" in capsys.readouterr().out
    edit(path, lambda v: v["tolerances"].update({"accuracy": {"absolute": 0.01, "most": None}}))
    value = read_report(report).scores["accuracy"]["cutmix"]
    assert value is not None
    edit(report / "metrics.json", lambda v: v["accuracy"].update(cutmix=value + 0.001))
    assert run(update=True, report=str(report), expected=str(path)) == 0
    said = capsys.readouterr().out
    assert "1 of 729 values changed" in said
    assert "+0.001" in said
    renewed, tolerances = read_expected(path)
    assert tolerances["accuracy"] == {"absolute": 0.01, "most": None}
    assert tolerance(tolerances, "scores", "accuracy") == Tolerance(absolute=0.01, spread=3.0, most=None)
    assert renewed.scores["accuracy"]["cutmix"] == pytest.approx(value + 0.001, abs=1e-10)
    assert read_report(report).parameters == renewed.parameters


def test_update_refuses_a_report_that_cannot_be_right(report: Path, tmp_path: Path) -> None:
    path = report / "correlation/mad.csv"
    head, *rows = rows_of(path)
    rows[0][1:], rows[1][1:] = rows[1][1:], rows[0][1:]
    write_rows(path, [head, *rows])
    with pytest.raises(
        ValueError, match=r"correlation/mad, all: the diagonal is 0\.6065 for affine, not 1 \(2 such\)"
    ):
        run(update=True, report=str(report), expected=str(tmp_path / "e.json"))
    assert not (tmp_path / "e.json").exists()
    with pytest.raises(ValueError, match="leave out --markdown and --junit"):
        run(update=True, report=str(report), expected=str(tmp_path / "e.json"), markdown="check.md")


def test_round_trip_of_the_expected_file() -> None:
    good = read_report(PUBLISHED)
    again, tolerances = expected_file.from_values(json.loads(expected_file.to_text(good, {})))
    assert {name: tolerance(tolerances, name, "") for name in DEFAULTS} == DEFAULTS
    assert output.Outcome(compare(good, again, tolerances), []).sorted() == []
    assert expected_file.to_text(again, tolerances) == expected_file.to_text(good, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["tolerances"].update(acuracy={}), r"tolerances\.acuracy: expected scores, maps, "),
        (lambda v: v["tolerances"].update(mad={"relativ": 1}), r"tolerances\.mad: expected the keys absolute, "),
        (
            lambda v: v["tolerances"].update(mad={"relative": -1}),
            r"tolerances\.mad\.relative: expected a number from 0",
        ),
        (
            lambda v: v["tolerances"].update(mad={"relative": True}),
            r"tolerances\.mad\.relative: expected a number",
        ),
        (lambda v: v.pop("maps"), "maps: expected an object"),
        (lambda v: v.update(format=9), "format: expected 1"),
        (
            lambda v: v["scores"]["accuracy"].update(affine="0.9"),
            r"scores\.accuracy\.affine: expected a number or null",
        ),
        (lambda v: v["scores"].clear(), "scores: expected at least one number"),
        (lambda v: v["fingerprint"].pop("study_key"), "study_key: expected a text"),
        (lambda v: v["seeds"].update(affine=[1.5]), r"seeds\.affine: expected whole numbers"),
    ],
)
def test_a_damaged_expected_file_is_refused(tmp_path: Path, committed: Path, change: Callable[[Any], None],
                                            message: str) -> None:  # fmt: skip
    path = tmp_path / "expected.json"
    shutil.copyfile(committed, path)
    edit(path, change)
    with pytest.raises(ValueError, match=rf"{path}: {message}") as raised:
        checked(PUBLISHED, path)
    assert "\n" not in str(raised.value)


NAMES = ("metrics.json", "runs.json", *TABLES, "correlation/mad.csv")


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "bytes"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_report_is_refused_and_the_files_say_so(report: Path, committed: Path, name: str,
                                                          damage: str) -> None:  # fmt: skip
    path = report / name
    whole = path.read_bytes()
    planted = {"empty": b"", "cut": whole[: len(whole) - 7], "bytes": b"\xff\xfe\x00" + whole}
    path.unlink()
    if damage != "missing":
        path.write_bytes(planted[damage])
    markdown, junit = report / "check.md", report / "check.xml"
    with pytest.raises(ValueError, match="run `dvc repro` to make it") as raised:
        checked(report, committed, markdown=str(markdown), junit=str(junit))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert markdown.read_text().startswith("### auglens check: unusable\n")
    error = ET.fromstring(junit.read_text()).find("testsuite/testcase/error")
    assert error is not None
    assert error.get("message") == str(raised.value)


def test_further_metrics_are_checked_too(report: Path, committed: Path) -> None:
    edit(report / "runs.json", lambda v: v.update(further=["ssim"]))
    edit(report / "metrics.json", lambda v: v.update(ssim=v["pearson"]))
    with pytest.raises(ValueError, match=r"correlation/ssim\.csv: no such file"):
        checked(report, committed)
    shutil.copyfile(report / "correlation/pearson.csv", report / "correlation/ssim.csv")
    assert checked(report, committed) == 0
    assert "correlation/ssim" in read_report(report).groups()


def test_names_of_metrics_are_no_paths(report: Path, committed: Path) -> None:
    edit(report / "runs.json", lambda v: v["metrics"].append("../../secret"))
    with pytest.raises(ValueError, match=r"metrics: expected letters, digits, _ \. and -, got '\.\./\.\./secret'"):
        checked(report, committed)


def test_without_an_expected_file_the_fix_is_named(report: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file; `auglens check --update` writes it"):
        checked(report, tmp_path / "none.json")


# Output

HOSTILE = "<b>a|b</b>\n@x `[k](http://e)\x1b[31m"


def hostile() -> output.Outcome:
    then = made(scores={"accuracy": {HOSTILE: 0.5, "b": 0.5}}, maps={"mad": {"b": None}})
    now = made(scores={"accuracy": {HOSTILE: 0.3, "b": 0.9}}, maps={"mad": {"b": 0.2}})
    return output.Outcome(compare(now, then, {}), ["study <i>|"])


def test_markdown_is_a_github_table_in_which_names_mean_nothing() -> None:
    text = output.markdown(hostile())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert all(row.count("|") == 8 for row in rows)
    assert not set("<>`@[]\x1b") & set("\n".join(rows))
    assert "&#60;b&#62;a&#124;b&#60;/b&#62; &#64;x" in rows[2]
    assert text.startswith("### auglens check: regressed\n")
    assert output.escaped("WWW.e.org 0.5") == "WWW&#46;e.org 0.5"
    many = [Line("mad", str(n), "regressed", 1.0, 2.0, 0.1) for n in range(1000)]
    assert len(output.markdown(output.Outcome(many, []))) < 60_000
    assert "and 850 more" in output.markdown(output.Outcome(many, []))


def test_junit_has_one_case_per_group() -> None:
    """The structure that Jenkins' junit-10.xsd asks for and GitHub's and GitLab's readers take."""
    top = ET.fromstring(output.junit(hostile()))
    assert top.tag == "testsuites"
    (suite,) = top
    assert suite.tag == "testsuite"
    assert next(child.tag for child in suite) == "properties"
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["augs", "seeds", "replicates", "accuracy", "mad"]
    for element in (top, suite):
        assert element.attrib == {
            "name": "auglens check", "tests": "5", "failures": "1", "errors": "0", "skipped": "0", "time": "0",
        }  # fmt: skip
    for case in cases:
        assert set(case.attrib) == {"classname", "name", "time"}
        assert [child.tag for child in case] in ([], ["failure"], ["system-out"], ["failure", "system-out"])
    (failure,) = suite.iter("failure")
    assert set(failure.attrib) == {"message", "type"}
    assert failure.get("message", "").startswith("accuracy, <b>a|b</b> @x")
    assert failure.get("message", "").endswith(": 0.3, expected 0.5 (-0.2, allowed 0.02): regressed")
    assert "\x1b" not in output.junit(hostile())


def test_the_terminal_shows_what_moved_and_with_verbose_everything() -> None:
    text = output.terminal(hostile())
    assert "\x1b" not in text
    assert [line.split()[-1] for line in text.splitlines()[1:5]] == ["verdict", "regressed", "improved", "defined"]
    assert text.splitlines()[-1] == "check: regressed"
    assert len(output.terminal(hostile(), everything=True).splitlines()) > len(text.splitlines())


def test_the_scores_are_those_of_the_metric_report() -> None:
    from auglens.metrics import SCORES as measured

    assert tuple(SCORES) == tuple(measured)


# The workflow

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = WORKFLOW["jobs"]["study"]["steps"]


def step(name: str) -> dict[str, Any]:
    (found,) = [step for step in STEPS if step.get("name") == name]
    return found


def test_the_workflow_fails_on_the_exit_code_of_the_check() -> None:
    check, last = step("Check against reports/expected.json"), STEPS[-1]
    assert check["id"] == "check"
    assert "auglens check" in check["run"]
    assert last["env"] == {"CODE": "${{ steps.check.outputs.code }}"}
    assert last["run"] == 'exit "${CODE:-2}"'
    assert last["if"] == "${{ !cancelled() }}"
    assert not last.get("continue-on-error")
    names = [str(found.get("name", found.get("run", found.get("uses")))) for found in STEPS]
    assert names.index("make study") < STEPS.index(check) < len(STEPS) - 1
    assert any("actions/upload-artifact@v4" in name for name in names)
    assert "test" in WORKFLOW["jobs"]


def test_no_expression_stands_inside_a_command_and_writing_is_asked_for_in_one_job() -> None:
    for job in WORKFLOW["jobs"].values():
        assert not [found for found in job["steps"] if "${{" in found.get("run", "")]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["jobs"]["study"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "permissions" not in WORKFLOW["jobs"]["test"]
    comment = step("Comment on the pull request")
    assert comment["continue-on-error"] is True
    assert "head.repo.full_name == github.repository" in comment["if"]


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def shell(name: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A step's own lines as GitHub runs them: bash -e."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    files = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "step_summary")}
    given = {"PATH": path, "GITHUB_REPOSITORY": "o/r", **files, **env}
    return subprocess.run(
        ["bash", "-e", "-c", step(name)["run"]], cwd=folder, env=given, capture_output=True, text=True
    )


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_steps_write_their_tables_and_fail_last(tmp_path: Path, code: int) -> None:
    script(tmp_path / ".venv/bin/auglens", f'echo "$@" > given; echo TABLE > check.md; exit {code}')
    script(tmp_path / ".venv/bin/dvc", 'echo "$@" > diffed; echo "| diff |"')
    assert shell("Check against reports/expected.json", tmp_path).returncode == 0
    assert (tmp_path / "given").read_text() == "check --markdown check.md --junit check.xml\n"
    assert (tmp_path / "output").read_text() == f"code={code}\n"
    evil = "x'; touch planted; $(touch planted)"
    assert shell("Tables for the job summary", tmp_path, BASE=evil).returncode == 0
    assert (tmp_path / "diffed").read_text() == f"metrics diff --md origin/{evil}\n"
    assert not (tmp_path / "planted").exists()
    summary = (tmp_path / "step_summary").read_text()
    assert summary.startswith("<!-- auglens check -->\nTABLE\n")
    assert "| diff |" in summary
    assert shell("Fail unless everything is as expected", tmp_path, CODE=str(code)).returncode == code
    assert shell("Fail unless everything is as expected", tmp_path, CODE="").returncode == 2


def test_the_summary_is_written_without_a_base_to_compare_with(tmp_path: Path) -> None:
    script(tmp_path / ".venv/bin/dvc", 'echo "$@" > diffed; exit 255')
    assert shell("Tables for the job summary", tmp_path, BASE="").returncode == 0
    assert (tmp_path / "diffed").read_text() == "metrics diff --md HEAD~1\n"
    assert "wrote no table" in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(("known", "call"), [("", "POST repos/o/r/issues/7/comments"),
                                             ("11\n12", "PATCH repos/o/r/issues/comments/11")])  # fmt: skip
def test_one_comment_is_written_and_then_renewed(tmp_path: Path, known: str, call: str) -> None:
    script(tmp_path / "bin/gh", f'echo "$@" >> calls; case "$*" in *--jq*) printf "{known}";; esac')
    (tmp_path / "summary.md").write_text("<!-- auglens check -->\n")
    done = shell("Comment on the pull request", tmp_path, NUMBER="7", GH_TOKEN="t")
    assert done.returncode == 0, done.stderr
    asked, written = (tmp_path / "calls").read_text().splitlines()
    assert "repos/o/r/issues/7/comments --jq" in asked
    assert written == f"api --silent --method {call} -F body=@comment.md"
