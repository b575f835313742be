"""`auglens search` for real: trained, explained, scored, in MLflow; killed with SIGKILL within a trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests.pipeline.conftest import ROOT, environment

from auglens.commands.searching import pareto_rows, write
from auglens.search import Outcome, Search

SEARCH = {
    "question": "Does it go on?",
    "base": [
        "data.train=60", "data.test=20", "train.epochs=6", "train.threads=1", "model.image_size=32",
        "score.images=4", "score.sanity_images=2", "score.faithfulness=[average_drop]",
    ],
    "seeds": [1, 2],
    "objectives": {"accuracy": "maximize", "energy.gradcam": "maximize"},
    "space": {"norm": {"batch": ["model.norm=batch"], "none": ["model.norm=none"]}, "model.dropout": [0.0, 0.3]},
}  # fmt: skip


def project(folder: Path, **values: object) -> Path:
    (folder / "conf").mkdir(parents=True)
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        (folder / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    generator = folder / "src/auglens/data/sources/shapes.py"  # the source that conf/data/shapes.yaml names
    generator.parent.mkdir(parents=True)
    generator.write_bytes((ROOT / generator.relative_to(folder)).read_bytes())
    (folder / "conf/search/mine.yaml").write_text(yaml.safe_dump(SEARCH | values, sort_keys=False))
    return folder


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "auglens.cli", "search", *arguments]
    with (folder / "log.txt").open("a") as log:
        found = environment() | variables
        return subprocess.Popen(command, cwd=folder, env=found, stdout=log, stderr=log, text=True)


def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    before = (folder / "log.txt").stat().st_size if (folder / "log.txt").exists() else 0
    code = start(folder, *arguments, **variables).wait(timeout=600)
    return code, (folder / "log.txt").read_bytes()[before:].decode()


def trials(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "reports/search/mine/trials.csv")
    return table.drop(columns=[name for name in table if name == "train_seconds"])


def runs(folder: Path, kind: str) -> list[dict[str, str]]:
    """Tags of the finished runs of a kind in the folder's store."""
    code = (
        "import json, sys\nfrom mlflow.tracking import MlflowClient\n"
        f"client = MlflowClient('sqlite:///{folder}/mlflow.db')\n"
        "found = client.search_runs([e.experiment_id for e in client.search_experiments()],"
        f" \"tags.`auglens.{kind}_key` LIKE '%' AND attributes.status = 'FINISHED'\")\n"
        "print(json.dumps([dict(r.data.tags) | {'id': r.info.run_id} for r in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project(tmp_path_factory.mktemp("undisturbed") / "project")
    code, log = run(folder, "mine")
    assert code == 0, log
    return folder


@pytest.mark.pipeline
def test_a_search_leaves_trials_figures_and_nested_runs(undisturbed: Path) -> None:
    table = trials(undisturbed)
    assert [tuple(row) for row in table[["norm", "model.dropout"]].to_numpy()] == [
        ("batch", 0.0), ("batch", 0.3), ("none", 0.0), ("none", 0.3),
    ]  # fmt: skip
    assert table[["accuracy", "energy.gradcam", "energy.random", "roc_auc"]].notna().all().all()
    names = {path.name for path in (undisturbed / "reports/search/mine").iterdir()}
    assert {"pareto.svg", "parallel.svg", "importance.svg", "importance.csv"} <= names
    (parent,) = runs(undisturbed, "search")
    inner = runs(undisturbed, "trial")
    assert {run["mlflow.parentRunId"] for run in inner} == {parent["id"]}
    cells = runs(undisturbed, "cell")
    assert Counter(run["mlflow.parentRunId"] for run in cells) == {run["id"]: 2 for run in inner}


@pytest.mark.pipeline
def test_a_search_killed_in_the_middle_of_a_trial_ends_with_the_same_trials_none_twice(
    undisturbed: Path, tmp_path: Path
) -> None:
    folder = project(tmp_path / "project")
    for trial, epoch in ((2, "epoch 2/6"), (4, "epoch 1/6")):
        process = start(folder, "mine")
        deadline = time.monotonic() + 240
        while True:
            told = (folder / "log.txt").read_text().rpartition(f"trial {trial} of 4")
            if told[1] and epoch in told[2]:
                break
            assert process.poll() is None, told
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        journal = next((folder / ".auglens/search").glob("mine-*/journal.log"))
        assert journal.read_text().count('"values"') == trial - 1
    code, log = run(folder, "mine")
    assert code == 0, log
    assert "going on after 3 finished trials" in log
    pd.testing.assert_frame_equal(trials(folder), trials(undisturbed))
    keys = [run["auglens.trial_key"] for run in runs(folder, "trial")]
    assert sorted(keys) == sorted(run["auglens.trial_key"] for run in runs(undisturbed, "trial"))
    cells = [run["auglens.cell_key"] for run in runs(folder, "cell")]
    assert sorted(cells) == sorted(run["auglens.cell_key"] for run in runs(undisturbed, "cell"))
    assert len({*cells}) == len(cells) == 8
    again, log = run(folder, "mine")
    assert again == 0
    assert "train " not in log  # nothing is left to do


@pytest.mark.pipeline
def test_trials_finished_while_mlflow_was_away_are_published_by_the_next_run(tmp_path: Path) -> None:
    folder = project(
        tmp_path / "project", space={"model.dropout": [0.0]}, base=[*SEARCH["base"], "train.epochs=1"]
    )
    code, log = run(folder, "mine", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert code == 0, log
    assert "the search goes on without it" in log
    assert len(trials(folder)) == 1
    code, log = run(folder, "mine")
    assert (code, "train " in log) == (0, False)
    assert len(runs(folder, "cell")) == 2


@pytest.mark.pipeline
def test_two_searches_with_a_trial_in_common_train_it_once(tmp_path: Path) -> None:
    base = [*SEARCH["base"], "train.epochs=1"]
    folder = project(tmp_path / "project", space={"model.dropout": [0.0]}, base=base, seeds=[1])
    other = SEARCH | {"base": base, "seeds": [1], "space": {"train.batch_size": [16, 8]}}
    (folder / "conf/search/other.yaml").write_text(yaml.safe_dump(other, sort_keys=False))
    assert run(folder, "mine")[0] == 0
    code, log = run(folder, "other")  # 16 is the default: the same trial
    assert code == 0
    assert log.count("train reseed-1: epoch 1/1") == 1
    assert len(runs(folder, "search")) == 2
    assert len(runs(folder, "trial")) == 3
    assert len(runs(folder, "cell")) == 2


@pytest.mark.pipeline
def test_a_trial_that_cannot_be_run_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    space = {"model.norm_channels": [7, 8]}
    folder = project(
        tmp_path / "project", base=[*SEARCH["base"], "model.norm=group", "train.epochs=1"], space=space
    )
    code, log = run(folder, "mine")
    assert code == 1
    assert "model.norm_channels=7 failed: model.norm_channels: 7 does not divide" in log
    assert "1 of 2 trials failed, as said above" in log
    assert "Traceback" not in log
    assert trials(folder)["model.norm_channels"].tolist() == [8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mime",), "auglens search: search: no search 'mime' in conf/search; did you mean mine?\n"),
        (("mine", "--size", "huge"), "auglens search: conf/search/mine.yaml: no size 'huge'; use one of full\n"),
        (("mine", "-S", "train.epoch=1"), "overrides: Could not override 'train.epoch'."),
        (("mine", "-S", "model.dropout=0.2"), "-S model.dropout: the search varies it itself"),
        (("mine", "-S", "score.faithfulness=[]", "-S", "score.least_mask=2"), "a share in [0, 1)"),
        (
            ("mine", "-S", "data=folder", "-S", "data.train=0", "-S", "data.test=0"),
            "data/raw/images: no such folder or archive; set data.source to the folder of your images",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    code, log = run(project(tmp_path / "project"), *arguments)
    assert code == 2
    assert message in log
    assert "Traceback" not in log


def test_without_a_name_the_searches_are_listed(tmp_path: Path) -> None:
    code, log = run(project(tmp_path / "project"))
    assert code == 0
    assert "mine             Does it go on?" in log


def test_pareto_rows_by_hand() -> None:
    values = pd.DataFrame([[1, 5], [2, 4], [2, 5], [0, 9], [2, 5]]).to_numpy(dtype=float)
    assert pareto_rows(values, ["maximize", "minimize"]) == [1]
    assert pareto_rows(values, ["maximize", "maximize"]) == [2, 3, 4]


def test_importance_finds_the_factor_that_matters(tmp_path: Path) -> None:
    space = {name: {level: (f"{name}={level}",) for level in (0, 1, 2)} for name in ("matters", "idle")}
    search = Search("mine", "", (), "reseed", (1,), "grid", 0, {"accuracy": "maximize"}, space)
    outcomes = [Outcome(point, (float(point["matters"]),)) for point in search.points()]  # type: ignore[arg-type]
    write(search, outcomes, tmp_path / "out")
    found = pd.read_csv(tmp_path / "out/importance.csv").set_index("factor")["importance"]
    assert found["matters"] > 0.95
    assert not (tmp_path / "out/pareto.svg").exists()  # one objective has no front
