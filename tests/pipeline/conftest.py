"""A small study under real DVC and a real MLflow store, in a repository of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("train", "explain", "measure", "score")  # the stages that every cell has
SMALL = [
    "data.train=60",
    "data.test=20",
    "train.epochs=2",
    "train.threads=1",
    "aug.names=[equalize,noise]",
    "seeds=[1,2]",
    "score.steps=4",
    "score.sanity_images=4",
    "robustness.images=5",
    "analysis.draws=100",
    "analysis.permutations=99",
]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_CONFIG_GLOBAL": os.devnull}


@dataclass(frozen=True)
class Project:
    """A copy of the project that a test may do anything to."""

    folder: Path

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            command, cwd=self.folder, env=environment() | variables, capture_output=True, text=True, timeout=600
        )
        assert not check or result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
        return result

    def repro(self, *options: str, check: bool = True) -> list[str]:
        """The stages that `dvc repro` ran."""
        return ran(self.run("dvc", "repro", *options, check=check))

    def set(self, *overrides: str) -> None:
        self.run("auglens", "compose", *SMALL, *overrides)

    def bytes(self, *patterns: str) -> dict[str, bytes]:
        found = (path for pattern in patterns for path in self.folder.glob(pattern) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in sorted(found)}

    def copied(self, folder: Path) -> Project:
        """The same project elsewhere, DVC's cache and outputs included, with no MLflow store."""
        store = shutil.ignore_patterns("mlflow.db*", "mlartifacts", "tmp")
        shutil.copytree(self.folder, folder, symlinks=True, ignore=store)
        return Project(folder)


def ran(result: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"Running stage '([^']+)'", result.stdout)


def of_cells(stages: list[str]) -> list[str]:
    return [stage for stage in stages if stage.startswith(KINDS)]


def fresh(folder: Path) -> Project:
    """The project's tracked files, as a clone would have them, composed small."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "reports/", "docs/")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.run("git", "init", "--quiet")
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@localhost")
    project.set()
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "Start")
    return project


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """A whole small study and the stages that it ran. Read it; copy it before changing anything."""
    project = fresh(tmp_path_factory.mktemp("first") / "project")
    stages = project.repro()
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "Study")
    return project, stages
