"""Values in, values out: content hashes, refused names, runs of another reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auglens.tracking import CellRecord, FoundRun, content_digest, refuse_foreign
from auglens.tracking.records import safe_artifact

Make = Callable[..., CellRecord]


def found(**changes: Any) -> FoundRun:
    run = FoundRun("r1", "noise-1", "noise", 1, {}, "content", "4" * 64, {}, {}, 0)
    return replace(run, **changes)


def test_content_is_what_is_published_and_not_where_it_lies(tmp_path: Path) -> None:
    def digest(data: bytes = b"maps", folder: str = "a", **changes: Any) -> str:
        local = tmp_path / folder / "file"
        local.parent.mkdir(exist_ok=True)
        local.write_bytes(data)
        values = {
            "params": {"p": 1},
            "metrics": {"m": 0.5, "n": 1.0},
            "curves": {"c": [1.0, math.nan]},
            "tags": {},
        }
        return content_digest(**{**values, "artifacts": {"raw.npz": local}, **changes})

    same = digest()
    assert digest(folder="b") == same
    assert digest(metrics={"n": 1.0, "m": 0.5}) == same  # order is nothing
    assert digest(curves={"c": (1.0, math.nan)}) == same
    others = {
        digest(data=b"mapz"),
        digest(params={"p": 2}),
        digest(metrics={"m": math.nextafter(0.5, 1), "n": 1.0}),
        digest(curves={"c": [math.nan, 1.0]}),
        digest(tags={"t": "1"}),
        digest(artifacts={}),
    }
    assert len(others | {same}) == 7


def test_runs_of_another_reference_are_refused() -> None:
    refuse_foreign([found(), found(run_id="r2")], "4" * 64)
    with pytest.raises(ValueError, match="MLflow run r3") as caught:
        refuse_foreign([found(), found(run_id="r3", reference_train_key="9" * 64)], "4" * 64)
    assert str(caught.value) == (
        "MLflow run r3 (noise-1): expected the reference with train key 444444444444, got 999999999999; "
        "delete that run in MLflow, or set collect.scope: requested"
    )


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "%2e%2e/x", "C:x"]
)
def test_artefact_paths_stay_inside_the_run(path: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected a relative path like 'maps/raw\.npz' without '\.\.'; rename it"
    ):
        safe_artifact(path)
    assert safe_artifact("maps/gaussian_blur-1.npz") == "maps/gaussian_blur-1.npz"


def test_bad_records_are_refused_before_anything_is_written(make_record: Make, tmp_path: Path) -> None:
    record = make_record()
    gone = tmp_path / "gone.npz"
    names = "letters, digits, '_', '-', '.' and spaces"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"artifacts": {"raw.npz": gone}}, f"no file {gone} for artefact raw.npz; run `dvc repro`"),
        ({"params": {"aug.a+b": 1}}, f"expected a name of {names}, got 'aug.a+b'; rename it"),
        ({"metrics": {"train_loss": 1.0}}, "expected each metric once, got 'train_loss' again; rename it"),
        (
            {"keys": {**record.keys, "map_key": "x' OR 1"}},
            "expected keys['map_key'] of letters and digits, got \"x' OR 1\"; take it from the plan's index",
        ),
    ]
    for change, message in cases:
        with pytest.raises(ValueError, match="cell equalize-1") as caught:
            replace(record, **change)
        assert str(caught.value) == f"cell equalize-1: {message}"
