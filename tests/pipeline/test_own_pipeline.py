"""The complete example of docs/own.md, from end to end: real DVC, a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.pipeline.conftest import KINDS, Project, fresh, of_cells

pytestmark = pytest.mark.pipeline

STUDY = ("aug.names=[solarize,noise]", "+aug.solarize.threshold=[0.3,0.9]", "seeds=[1]")
OTHERS = ("maps.method=activation", "measure.further=[js,top_shift]")
CELLS = ["reference", "solarize-1", "noise-1"]


def edit(project: Project, old: str, new: str) -> None:
    path = project.folder / "examples/own.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_an_aug_a_map_method_and_a_metric_of_ones_own_join_the_study(tmp_path: Path) -> None:
    project = fresh(tmp_path / "project")
    project.set(*STUDY, *OTHERS)
    cells = of_cells(project.repro())
    assert len(cells) == len(KINDS) * len(CELLS)

    study = json.loads((project.folder / "reports/runs.json").read_text())
    assert [row["cell"] for row in study["cells"]] == CELLS
    assert study["variant"] == "activation-predicted"
    assert set(study["own"]["names"]) == {"solarize", "activation", "top_shift"}
    table = pd.read_parquet(project.folder / "reports/per_image.parquet")
    values = table[table["aug"] == "solarize"]["top_shift"]
    assert len(values) == 20
    assert values.between(0, 2**0.5).all()
    assert "solarize" in (project.folder / "reports/comparison/metric_summary.csv").read_text()
    told = project.run("auglens", "collect").stdout
    assert "3 unchanged" in told

    edit(project, "1 - images, images)", "0.5 * images, images)")
    expected = {f"{stage}@solarize-1" for stage in ("train", "explain", "measure")}
    assert set(of_cells(project.repro("measure"))) == expected

    edit(project, "np.hypot(", "0.5 * np.hypot(")
    assert set(of_cells(project.repro("measure"))) == {"measure@solarize-1", "measure@noise-1"}

    edit(project, "0.5 * images, images)", "2 - images, images)")
    before = project.bytes("data/cells/*.json")
    result = project.run("dvc", "repro", "measure", check=False)
    assert "examples/own.py: augmentation solarize: expected values in [0, 1], got 0 to" in result.stderr
    assert of_cells(result.stdout.split("\n")) == []
    assert project.bytes("data/cells/*.json") in ({}, before)

    project.run("git", "checkout", "--", "examples/own.py")
    assert of_cells(project.repro("measure")) == []  # the first code's results are in DVC's cache
    project.set("aug.names=[noise]", "seeds=[1]", *OTHERS)
    project.repro("collect")  # the store's solarize is still of this study, though no parameter names it
    study = json.loads((project.folder / "reports/runs.json").read_text())
    assert [row["cell"] for row in study["cells"]] == CELLS
