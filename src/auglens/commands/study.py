"""study: a whole study inside `mlflow run`; the run that MLflow opened carries its summary and names its cells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from auglens import artifacts, config, tracking
from auglens.commands import compose
from auglens.stages import layout


def run(overrides: Sequence[str]) -> None:
    compose.run([word for text in overrides for word in text.split()])  # `mlflow run` quotes them into one
    # MLflow hands its run to every child process by these variables, and each would write into that one run.
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    code = subprocess.run([sys.executable, "-m", "dvc", "repro"], env=environment).returncode
    if code:
        raise ValueError(f"study: `dvc repro` ended with exit code {code}; its last lines above say why")
    settings = config.load().tracking
    runs = artifacts.load_json(layout.RUNS, ("study_key", "cells"))
    values = artifacts.load_json(layout.METRICS)
    summary = {
        f"{name}_{aug}": value
        for name, augs in values.items()
        if isinstance(augs, dict)
        for aug, value in augs.items()
        if value is not None
    }
    with tracking.Tracker.connect(settings.uri, settings.experiment, Path.cwd()) as tracker:
        found = {run.cell: run.run_id for run in tracker.query(runs["study_key"])}
        cells = {row["cell"]: found[row["cell"]] for row in runs["cells"] if row["cell"] in found}
        files = {"report.html": layout.REPORT, "metrics.json": layout.METRICS, "runs.json": layout.RUNS}
        tags = {"study_key": runs["study_key"]}
        if tracker.summarise(metrics=summary, artifacts=files, cells=cells, tags=tags):
            print(f"study: the run of `mlflow run` carries the summary and names its {len(cells)} cells")
