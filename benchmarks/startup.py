"""What a process costs before it does anything: `auglens --help`, and stages that have nothing to compute.

A stage's row is the stage on a finished study of two cells and twenty test images: what is left is start and end.
Limit: `import torch`, which a stage that trains or explains cannot do without; mlflow's import beside it.

    python -m benchmarks.startup
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import timing
from benchmarks.study import call, environment, project

HELP, STAGE = 0.4, 2.5  # seconds
TARGETS = {
    "auglens --help": HELP,
    "auglens train, taken over": STAGE,
    "auglens explain, taken over": STAGE,
    "auglens collect, all published": STAGE,
}
STAGES = {
    "auglens --help": ("--help",),
    "auglens train, taken over": ("train", "equalize-2"),
    "auglens explain, taken over": ("explain", "equalize-2"),
    "auglens collect, all published": ("collect",),
    "auglens explain, 20 images": ("explain", "noise-1"),
    "auglens measure, 20 images": ("measure", "noise-1"),
}


def seconds(folder: Path, command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(folder), check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    limits = {
        "import torch": [sys.executable, "-c", "import torch"],
        "import torch, timm": [sys.executable, "-c", "from auglens import compat; compat.import_timm()"],
        "import mlflow": [sys.executable, "-c", "import mlflow"],
    }
    commands = {name: ["auglens", *arguments] for name, arguments in STAGES.items()}
    commands["dvc repro, nothing to do"] = ["dvc", "repro"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = ["data.train=200", "data.test=20", "train.epochs=1", "train.threads=1", "analysis.draws=100"]
        project(folder, [*small, "aug.names=[equalize,noise]", "seeds=[1,2]", "analysis.permutations=99"])
        timing.note("startup: a small study")
        call(folder, "dvc", "repro")
        found = {name: timing.Timed() for name in (*limits, *commands)}
        every = limits | commands
        for turn in range(1 + timing.REPETITIONS):
            for label in list(every)[:: 1 if turn % 2 == 0 else -1]:
                taken = seconds(folder, every[label])
                if turn:  # the first fills the file cache
                    found[label].seconds.append(taken)
    for label in commands:
        target = TARGETS.get(label)
        values = {"seconds": found[label].median, "target": target}
        values["met"] = target is None or found[label].median <= target
        timing.report(
            label, **values, limits={name: found[name].median for name in limits}, machine=timing.machine()
        )


if __name__ == "__main__":
    main()
