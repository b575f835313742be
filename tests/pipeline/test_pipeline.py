"""What reruns when, what comes back, and what is the same: real DVC, a real MLflow store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.pipeline.conftest import KINDS, SMALL, Project, environment, fresh, of_cells, ran

pytestmark = pytest.mark.pipeline

First = tuple[Project, list[str]]
TINY = tuple(value for value in SMALL if not value.startswith(("aug.", "seeds=", "analysis.")))
CELLS = ["reference", "equalize-1", "equalize-2", "noise-1", "noise-2"]
RESULTS = (
    "models/*.safetensors",
    "cams/*/*.npz",
    "reports/**/*.parquet",
    "reports/sanity/*.csv",
    "reports/runs.json",
    "reports/metrics.json",
)


def store(project: Project, code: str) -> str:
    """What `code` prints, run with `client` and `runs` (finished, of this store) in a process of its own."""
    script = (
        "import mlflow\nfrom mlflow import MlflowClient\n"
        f"client = MlflowClient('sqlite:///{project.folder}/mlflow.db')\n"
        "ids = [e.experiment_id for e in client.search_experiments()]\n"
        "runs = [r for r in client.search_runs(ids, \"status = 'FINISHED'\") if 'auglens.cell' in r.data.tags]\n"
    )
    return project.run("python", "-c", script + code).stdout


def published(project: Project) -> dict[str, dict[str, float]]:
    return json.loads(
        store(
            project, "import json; print(json.dumps({r.data.tags['auglens.cell']: r.data.metrics for r in runs}))"
        )
    )


def test_the_first_run_makes_every_cell_and_publishes_it_once(first: First) -> None:
    project, stages = first
    expected = {f"{kind}_reference" for kind in KINDS}
    expected |= {f"{kind}@{cell}" for kind in KINDS for cell in CELLS[1:]}
    assert set(of_cells(stages)) == expected
    assert stages[-4] == "collect"
    assert {*stages[-3:-1]} == {"analyse", "compare"}
    assert stages[-1] == "report"
    runs = published(project)
    assert sorted(runs) == sorted(CELLS)
    assert {"accuracy", "f1", "mad_mean", "overlap_20_median", "validation_accuracy"} <= set(runs["noise-1"])
    for metrics in runs.values():
        assert 0 < metrics["roc_auc"] < 1
        assert 0 < metrics["iou_area.gradcam"] < 1
        assert -1 <= metrics["sanity.gradcam"] <= 1
    # every cell is scored on the same images, so that a floor is one number
    assert len({metrics["energy.centre"] for metrics in runs.values()}) == 1
    assert runs["noise-1"]["iou_area.gradcam"] != runs["noise-2"]["iou_area.gradcam"]
    study = json.loads((project.folder / "reports/runs.json").read_text())
    assert [row["cell"] for row in study["cells"]] == CELLS
    by_cell = {row["cell"]: row["checkpoint_sha256"] for row in study["cells"]}
    assert by_cell["equalize-1"] == by_cell["equalize-2"]
    assert by_cell["noise-1"] != by_cell["noise-2"]
    summary = (project.folder / "reports/comparison/performance_summary.csv").read_text()
    assert next(line for line in summary.splitlines() if line.startswith("equalize,accuracy")).endswith(",1")
    scores = pd.read_csv(project.folder / "reports/comparison/scores.csv").set_index(["aug", "method", "score"])
    both = [runs[f"noise-{seed}"]["iou_area.gradcam"] for seed in (1, 2)]
    assert scores.loc[("noise", "gradcam", "iou_area"), "mean"] == pytest.approx(sum(both) / 2)
    assert scores["models"].groupby("aug").max().to_dict() == {"reference": 1, "equalize": 1, "noise": 2}


def test_a_second_run_does_nothing_and_the_lock_stays(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    lock = (project.folder / "dvc.lock").read_bytes()
    assert project.repro() == ["collect"]
    assert (project.folder / "dvc.lock").read_bytes() == lock
    assert sorted(published(project)) == sorted(CELLS)  # the store, which the copy had not, is back
    before = project.bytes(*RESULTS)
    assert published(first[0]) == published(project)
    assert before == first[0].bytes(*RESULTS)


def test_what_a_change_of_parameters_reruns(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    project.repro("collect")
    project.set("seeds=[1,2,3]", "aug.names=[noise]")
    assert sorted(of_cells(project.repro("collect"))) == sorted(f"{kind}@noise-3" for kind in KINDS)
    study = json.loads((project.folder / "reports/runs.json").read_text())
    # the plan has no equalize any more, but the store's runs of it belong to this study
    assert [row["cell"] for row in study["cells"]] == [*CELLS, "noise-3"]
    project.set("measure.overlap=[30,20]", "aug.names=[noise]")
    stages = of_cells(project.repro("collect"))
    assert {stage.split("@")[0] for stage in stages} == {"measure", "measure_reference"}
    study = json.loads((project.folder / "reports/runs.json").read_text())
    assert [row["cell"] for row in study["cells"]] == ["reference", "noise-1", "noise-2"]


def test_other_settings_of_scores_train_and_explain_nothing(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    project.repro("collect")
    before, index = project.bytes(*RESULTS), (project.folder / "data/cells/index.json").read_text()
    project.set("score.images=7")
    stages = project.repro()
    scored = {"score_reference", *(f"score@{cell}" for cell in CELLS[1:])}
    assert set(of_cells(stages)) == scored
    assert {*stages} - scored == {"plan", "collect", "compare", "analyse", "report"}
    after = project.bytes(*RESULTS)
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.startswith(("models/", "cams/", "reports/maps/"))} <= same
    table = pd.read_parquet(project.folder / "reports/scores.parquet")
    assert table["image"].nunique() == 7
    # a study of its own: its scores are not compared with those of other images
    keys = [
        json.loads(text)["study_key"] for text in (index, (project.folder / "data/cells/index.json").read_text())
    ]
    assert keys[0] != keys[1]
    assert json.loads((project.folder / "reports/runs.json").read_text())["study_key"] == keys[1]
    assert of_cells(project.repro("collect")) == []


def test_an_experiment_of_a_known_aug_trains_nothing(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    small = [option for value in TINY for option in ("-S", value)]
    result = project.run("dvc", "exp", "run", "collect", "-S", "aug=equalize", *small)
    assert of_cells(ran(result)) == []
    composed = yaml.safe_load((project.folder / "params.yaml").read_text())
    assert composed["aug"]["names"] == ["equalize"]


def test_the_reference_alone(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    project.set("aug.names=[]", "collect.scope=requested")
    assert of_cells(project.repro()) == []
    study = json.loads((project.folder / "reports/runs.json").read_text())
    assert [row["cell"] for row in study["cells"]] == ["reference"]


def test_push_clone_pull_runs_no_cell(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "work" / "project")
    project.run("dvc", "push")
    clone = Project(tmp_path / "other" / "clone")
    clone.folder.parent.mkdir()
    subprocess.run(
        ["git", "clone", "--quiet", str(project.folder), str(clone.folder)], check=True, env=environment()
    )
    clone.run("dvc", "remote", "modify", "--local", "folder", "url", str(tmp_path / "work" / "auglens-remote"))
    clone.run("dvc", "pull", check=False)  # the official CIFAR-10 is in no remote of ours
    assert of_cells(clone.repro()) == []
    assert sorted(published(clone)) == sorted(CELLS)
    assert clone.bytes(*RESULTS) == first[0].bytes(*RESULTS)
    for folder in ("comparison", "analysis"):
        assert clone.bytes(f"reports/{folder}/**/*") == first[0].bytes(f"reports/{folder}/**/*")


def test_a_cell_that_fails_does_not_lose_the_others(first: First, tmp_path: Path) -> None:
    project = fresh(tmp_path / "project")
    project.set("train.epochs=1")
    stage = project.folder / "src/auglens/stages/fitting.py"
    broken = '    if cell == "noise-1":\n        raise ValueError("broken on purpose")\n'
    code = stage.read_text()
    assert code.count("    compat.tune_allocator()\n") == 1
    stage.write_text(code.replace("    compat.tune_allocator()\n", "    compat.tune_allocator()\n" + broken))
    variables = {"PYTHONPATH": str(project.folder / "src")}
    result = project.run("dvc", "repro", "-k", check=False, **variables)
    assert result.returncode != 0
    assert "auglens train: broken on purpose" in result.stderr
    assert "Traceback" not in result.stderr
    collected = project.run("auglens", "collect", **variables)
    assert "absent: noise-1" in collected.stdout
    for stage in ("compare", "analyse", "report"):
        project.run("auglens", stage, **variables)
    assert "Absent, and so not compared: noise-1." in (project.folder / "reports/index.html").read_text()
    metrics = json.loads((project.folder / "reports/metrics.json").read_text())
    assert metrics["absent"] == 1
    assert set(metrics["accuracy"]) == {"reference", "equalize", "noise"}


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    project.set("train.epochs=6", "aug.names=[noise]", "seeds=[1]", "data.train=400")
    project.repro("prepare", "plan")
    command = ["auglens", "train", "noise-1"]
    process = subprocess.Popen(
        command, cwd=project.folder, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 1/6" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (project.folder / "models/.noise-1.safetensors").exists()
    again = project.run(*command)
    assert "epoch 1/6" not in again.stdout
    assert "epoch 6/6" in again.stdout
    interrupted = (project.folder / "models/noise-1.safetensors").read_bytes()
    shutil.rmtree(project.folder / ".auglens")
    project.run(*command)
    assert (project.folder / "models/noise-1.safetensors").read_bytes() == interrupted


def test_what_equal_cells_share_is_made_once(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    outputs = ("models/equalize-*", "cams/equalize-*/*")
    before = project.bytes(*outputs)
    taken = project.run("auglens", "explain", "equalize-2").stdout
    assert "taken over" in taken
    assert project.bytes(*outputs) == before
    shutil.rmtree(project.folder / ".auglens")
    assert "taken over" not in project.run("auglens", "explain", "equalize-2").stdout
    assert project.bytes(*outputs) == before
    shutil.rmtree(project.folder / ".auglens")
    both = [
        subprocess.Popen(
            ["auglens", "train", cell], cwd=project.folder, env=environment(), stdout=subprocess.PIPE, text=True
        )
        for cell in ("equalize-1", "equalize-2")
    ]
    told = [process.communicate(timeout=300)[0] for process in both]
    assert sorted("taken over" in text for text in told) == [False, True]
    assert sorted("waiting for its result" in text for text in told) == [False, True]
    assert project.bytes(*outputs) == before


def test_the_same_study_elsewhere_its_cells_side_by_side_has_the_same_lock(first: First, tmp_path: Path) -> None:
    done = first[0]
    project = fresh(tmp_path / "project")
    project.run("make", "cells", "JOBS=2")
    assert of_cells(project.repro()) == []
    assert project.bytes(*RESULTS) == done.bytes(*RESULTS)
    locks = [yaml.safe_load((one.folder / "dvc.lock").read_text()) for one in (project, done)]
    assert locks[0] == locks[1]


def test_a_training_that_is_fed_live_ends_in_the_one_run_of_its_cell(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    project.set("tracking.live=true", "aug.names=[noise]", "seeds=[3]")
    assert sorted(of_cells(project.repro("collect"))) == sorted(f"{kind}@noise-3" for kind in KINDS)
    told = store(
        project,
        "found = [r for r in client.search_runs(ids) if r.data.tags['auglens.cell'] == 'noise-3']\n"
        "steps = [m.step for m in client.get_metric_history(found[0].info.run_id, 'validation_accuracy')]\n"
        "print(len(found), found[0].info.status, steps, 'mad_mean' in found[0].data.metrics)\n",
    )
    assert told.strip() == "1 FINISHED [1, 2] True"


def test_mlflow_run_carries_the_summary_and_names_its_cells(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    overrides = " ".join(["aug=equalize", *TINY])
    uri = f"sqlite:///{project.folder}/mlflow.db"
    project.run(
        "mlflow", "run", ".", "-e", "study", "--env-manager=local", "-P", f"overrides={overrides}",
        MLFLOW_TRACKING_URI=uri,
    )  # fmt: skip
    told = store(
        project,
        "parents = [r for r in client.search_runs(ids) if 'auglens.cells' in r.data.tags]\n"
        "run = parents[0]\n"
        "tags, metrics = run.data.tags, run.data.metrics\n"
        "print(len(parents), run.info.status, tags['auglens.cells'], metrics['accuracy_equalize'])\n"
        "import json; print(json.dumps([f.path for f in client.list_artifacts(run.info.run_id)]))\n"
        "print(all(r.info.run_id in tags['mlflow.note.content'] for r in runs))\n",
    )
    first_line, artifacts, linked = told.splitlines()
    assert first_line.startswith("1 FINISHED reference,equalize-1,equalize-2 0.")
    assert {"report.html", "metrics.json", "runs.json", "cells.json"} <= set(json.loads(artifacts))
    assert linked == "True"


def test_queued_experiments_land_in_the_same_store(first: First, tmp_path: Path) -> None:
    project = first[0].copied(tmp_path / "project")
    small = [option for value in TINY for option in ("-S", value)]
    for aug in ("gaussian_blur", "identity"):
        project.run("dvc", "exp", "run", "--queue", "collect", "-S", f"aug={aug}", "-S", "seeds=[1]", *small)
    project.run("dvc", "queue", "start")
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not {"gaussian_blur-1", "identity-1"} <= set(published(project)):
        time.sleep(3)
    status = project.run("dvc", "queue", "status").stdout
    assert {"gaussian_blur-1", "identity-1"} <= set(published(project)), status
