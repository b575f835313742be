"""`auglens influence`: from a real MLflow store to tables, answers, figures and a page; and what is refused."""

from __future__ import annotations

import html
import itertools
import json
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auglens import config
from auglens.commands import influence
from auglens.tracking import CellRecord, Tracker

STUDY, REFERENCE = "5" * 64, "4" * 64
BASE: dict[str, Any] = {
    "halves": 1,
    "data.name": "shapes",
    "data.content": "d" * 64,
    "model.name": "resnet18",
    "model.dropout": 0.0,
    "model.norm": "batch",
    "model.norm_channels": 16,
    "model.norm_groups": "None",
    "model.precode_size": 0,
    "model.precode_beta": 0.001,
    "train.epochs": 25,
    "train.batch_size": 16,
    "train.weight_decay": 1e-5,
    "maps.method": "gradcam",
}
# Each changes one thing of the baseline, and IoU by so much.
VARIED: tuple[tuple[Mapping[str, Any], float], ...] = (
    ({}, 0.0),
    ({"model.name": "resnet50"}, 0.2),
    ({"train.batch_size": 64}, 0.0),
    ({"model.norm": "group", "model.norm_channels": 32}, 0.1),
    ({"model.precode_size": 128}, -0.2),
)
METHODS = {"gradcam": 0.3, "scorecam": 0.35, "ones": 0.1, "centre": 0.2}
SEEDS = (1, 2, 3)


def cells(folder: Path, varied: Iterable[tuple[Mapping[str, Any], float]] = VARIED) -> list[CellRecord]:
    """Three seeds of every configuration, a training.json of each, noise that no seed shares with another."""
    noise = np.random.default_rng(0)
    records = []
    for index, ((changes, effect), seed) in enumerate(itertools.product(varied, SEEDS)):
        keys = {"train_key": f"t{index}", "map_key": f"m{index}", "study_key": STUDY, "cell_key": f"c{index}"}
        shift = effect + 0.01 * seed
        metrics = {"accuracy": 0.7 + shift / 2 + 0.002 * noise.normal(), "steps": 100}
        for method, level in METHODS.items():
            floor = method in ("ones", "centre")
            metrics[f"iou_area.{method}"] = level + (0 if floor else shift + 0.002 * noise.normal())
            metrics[f"average_drop.{method}"] = 60 - 10 * level + 0.1 * noise.normal()
        metrics["iou_area.gradcam_undefined"] = 1
        report = folder / f"{index}.json"
        epochs = [{"epoch": n, "validation_accuracy": 0.5 + n / 10, "test_f1": 0.4 + n / 10} for n in (1, 2, 3)]
        report.write_text(json.dumps({"epochs": epochs}))
        record = CellRecord(
            cell=f"noise-{seed}",
            aug="noise",
            seed=seed,
            keys=keys,
            reference_train_key=REFERENCE,
            content="0",
            params={**BASE, "aug": "noise", "seed": seed, "streams.augmentation": seed, **changes},
            metrics=metrics,
            artifacts={"training.json": report} if seed < 3 else {},
            tags={"data": "shapes", "model": "m", "variant": "gradcam-predicted"},
        )
        records.append(record)
    return records


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    analysis = types.SimpleNamespace(draws=200, confidence=0.95, seed=0)
    track = config.TrackingConfig(uri=None, experiment="auglens", live=False)
    monkeypatch.setattr(config, "load", lambda: types.SimpleNamespace(tracking=track, analysis=analysis))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("influence")
    with Tracker.connect(f"sqlite:///{root}/mlflow.db", "auglens", root) as tracker:
        tracker.publish_all(cells(root))
    return root


@pytest.fixture
def project(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settle(filled, monkeypatch)
    return filled


def test_tables_answers_figures_and_page(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "influence"
    influence.run(to=str(out))
    printed = capsys.readouterr().out
    names = ("depth", "batch_size", "norm", "precode")
    assert {path.name for path in out.iterdir()} == {
        "influence.csv", "methods.csv", "correlation.csv", "runs.csv", "answers.md", "index.html", "figures",
        *(f"table_{name}.csv" for name in names),
    }  # fmt: skip
    assert {path.name for path in (out / "figures").iterdir()} == {
        "correlation_accuracy.svg", *(f"{name}{kind}.svg" for name in names for kind in ("", "_curves")),
    }  # fmt: skip
    runs = pd.read_csv(out / "runs.csv")
    assert len(runs) == 15
    table = pd.read_csv(out / "influence.csv")
    row = table[(table["factor"] == "depth") & (table["level"] == "resnet50") & (table["method"] == "scorecam")
                & (table["score"] == "iou_area")].iloc[0]  # fmt: skip
    own = runs.loc[runs["model_name"] == "resnet50", "iou_area_scorecam"]
    base = runs.loc[runs["cell_key"].isin(["c0", "c1", "c2"]), "iou_area_scorecam"]
    assert row["mean"] == pytest.approx(own.mean(), rel=1e-7)
    assert row["sd"] == pytest.approx(own.std(ddof=1), rel=1e-7)  # the CSVs hold ten digits
    assert row["difference"] == pytest.approx(own.mean() - base.mean(), rel=1e-7)
    assert (row["n"], row["test"], row["best"]) == (3, "paired", True)
    wide = pd.read_csv(out / "table_norm.csv", keep_default_na=False)
    assert list(wide) == [
        "score", "method", "batch norm (baseline, n = 3)", "group of 32 channels (n = 3)",
    ]  # fmt: skip
    line = wide[(wide["score"] == "↑ IoU (area), %") & (wide["method"] == "Score-CAM")].iloc[0]
    assert re.fullmatch(r"4\d\.\d\d ± [01]\.\d\d \*", line["group of 32 channels (n = 3)"])
    answers = (out / "answers.md").read_text()
    assert answers.count("## ") == 6
    assert "resnet50: better in IoU (area) +20." in answers
    assert "Epochs: not varied in these runs." in answers
    assert "Weight decay and dropout: not varied in these runs." in answers
    assert "128, β 0.001: worse in IoU (area) −19." in answers
    assert "IoU (area): Score-CAM" in answers
    assert "more accurate models explain better by IoU (area)" in answers
    for text in re.findall(r"^(?!##).+$", answers, re.M):
        assert text in printed
    page = html.unescape((out / "index.html").read_text())
    assert "15 explanation scores of single images are undefined" in page
    assert "batch norm (baseline, n = 3)" in page
    assert page.count("data:image/svg+xml") == 9
    assert printed.endswith(f"influence: {out}/index.html\n")


def test_again_gives_equal_files_in_place_of_the_old(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "influence"
    influence.run(to=str(out), curves=False)
    before = {path.relative_to(out): path.read_bytes() for path in out.rglob("*.*")}
    (out / "table_old.csv").write_text("of a factor that is gone")
    influence.run(to=str(out), curves=False)
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*.*")} == before
    assert not [path for path in before if "curves" in path.name]


def test_a_condition_and_a_baseline(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    condition = "model_precode_size = 0 and train_batch_size = 16"
    influence.run(to=str(tmp_path / "a"), where=condition, baseline="model_name = 'resnet50'", curves=False)
    table = pd.read_csv(tmp_path / "a/influence.csv")
    assert set(table["factor"]) == {"depth", "norm"}
    depth = table[(table["factor"] == "depth") & table["baseline"]]
    assert set(depth["level"]) == {"resnet50"}
    influence.run(to=str(tmp_path / "b"), where=condition, baseline="c3", curves=False)
    assert pd.read_csv(tmp_path / "b/influence.csv").equals(table)
    page = html.unescape((tmp_path / "b/index.html").read_text())
    assert f"auglens influence --where '{condition}' --baseline c3 --no-curves" in page


def test_nothing_that_a_level_is_called_breaks_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("<b>x", "</style><script>alert(1)</script>", "a$b$^{", "=1+1")
    settle(tmp_path, monkeypatch)
    with Tracker.connect(None, "auglens", tmp_path) as tracker:
        tracker.publish_all(cells(tmp_path, [({"model.name": name}, 0.0) for name in names]))
    influence.run(to="out")
    page = Path("out/index.html").read_text()
    assert "<b>x" not in page
    assert "<script>alert" not in page
    assert "&lt;b&gt;x" in page
    svg = Path("out/figures/network.svg").read_text()
    assert "<b>x" not in svg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"where": "modl_name = 'resnet18'"},
            "--where: no column 'modl_name'; the nearest are model_name, model_norm, data_name (all of them: "
            "`auglens runs --columns`)",
        ),
        ({"where": "model.name = 'a'"}, "--where: 'model.name' is the column model_name"),
        (
            {"where": "1=1); select 1 from runs where (1=1"},
            "--where: expected one SELECT over the table runs, got SELECT, SELECT; --to saves results",
        ),
        ({"where": "seed = 9"}, "--where: expected a condition that a run meets, got 'seed = 9', which none does"),
        (
            {"where": "model_name = 'resnet50'"},
            "factors: expected one that was varied with all else equal, in two or more configurations, got none "
            "(3 runs of 1 configuration); run `auglens search depth` or `dvc repro` with the score stage, or try "
            "--all",
        ),
        (
            {"baseline": "model_name = 'resnet18'"},
            "--baseline: expected runs of one configuration, got 4; add conditions, or give a cell key",
        ),
        (
            {"to": "mlflow.db"},
            "--to mlflow.db: expected a folder, got a file; name another",
        ),
        (
            {"to": "."},
            "--to .: expected a new or empty folder, or one of `auglens influence`; name another",
        ),
    ],
)
def test_mistakes_get_one_line(project: Path, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    before = sorted(project.iterdir())
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        influence.run(**{"to": str(tmp_path / "never"), **arguments})
    assert str(caught.value) == message
    assert sorted(project.iterdir()) == before
    assert not (tmp_path / "never").exists()


def test_runs_without_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)
    (record, *_) = cells(tmp_path)
    bare = {"accuracy": 0.5, "mad_mean": 0.1}
    with Tracker.connect(None, "auglens", tmp_path) as tracker:
        tracker.publish(CellRecord(**{**vars(record), "metrics": bare}))
    with pytest.raises(ValueError, match="runs: expected explanation scores") as caught:
        influence.run()
    assert str(caught.value) == (
        "runs: expected explanation scores in at least one run, got none; run `auglens search depth` or "
        "`dvc repro` with the score stage"
    )
