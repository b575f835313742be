"""The whole study, three augs and one seed on 2,000 + 500 images, through `dvc repro` against a script by hand.

Ours: a copy of the project in a folder of its own, from `prepare` to the report, tracking, analysis and every
process start included; two cells at a time, a thread each, as `make study JOBS=2` runs them. Peer:
`benchmarks.naive_study`, one process of two threads. Limit: the bare steps of the same trainings and explanations
on ready tensors, in one process of two threads, under our allocator.

    python -m benchmarks.study [--repetitions 5] [--epochs 1] [--model efficientnet_b0] [--jobs 2]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from auglens.metrics.threads import available_threads
from benchmarks import timing
from benchmarks.data import cifar_layout

ROOT = Path(__file__).parents[1]
AUGS = ("affine", "color_jitter", "equalize")
TRAIN, TEST, SIZE, STRIDE, BATCH = 2000, 500, 64, 16, 32
TARGET = 3.0
# The same maps of the same models: pytorch-grad-cam in float32 against ours; ranks and regions magnify rounding.
TOLERANCE = {"mad": 1e-4, "msd": 1e-4, "pearson": 1e-3, "spearman": 1e-3, "overlap_20": 0.02, "class_kld": 1e-3}


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "MALLOC_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = {"PATH": path, "PYTHONPATH": str(folder / "src"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    return kept | told | {"GIT_CONFIG_GLOBAL": os.devnull}


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def project(folder: Path, settings: Sequence[str]) -> Path:
    """The project's tracked files in a repository of their own, composed to `settings`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "reports/", "docs/")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    call(folder, "git", "init", "--quiet")
    call(folder, "auglens", "compose", *settings)
    return folder


def run_ours(folder: Path, data: Path, model: str, epochs: int, jobs: int) -> tuple[float, str]:
    settings = [
        "data=cifar10", f"data.source={data}", f"model={model}", f"model.image_size={SIZE}",
        f"model.output_stride={STRIDE}", "model.dropout=0", "model.drop_path=0", "train=paper", "train.device=cpu",
        f"train.epochs={epochs}", f"train.batch_size={BATCH}", f"aug.names=[{','.join(AUGS)}]", "seeds=[1]",
        f"train.threads={max(available_threads() // jobs, 1)}",
    ]  # fmt: skip
    project(folder, settings)
    started = time.perf_counter()
    told = call(folder, "make", "cells", f"JOBS={jobs}") if jobs > 1 else ""
    told += call(folder, "dvc", "repro")
    return time.perf_counter() - started, told


def run_naive(folder: Path, data: Path, model: str, epochs: int) -> float:
    out = folder / "out"
    command = [
        sys.executable, "-m", "benchmarks.naive_study", str(data), str(out), "--augs", *AUGS, "--model", model,
        "--size", str(SIZE), "--output-stride", str(STRIDE), "--epochs", str(epochs), "--batch", str(BATCH),
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"naive study: {done.stderr[-4000:]}")
    return time.perf_counter() - started


def bare_steps(model_name: str, epochs: int) -> dict[str, object]:
    """What no pipeline can do without: every training step and every explained image, on ready tensors."""
    import torch

    from auglens.config import ModelConfig
    from auglens.convolution import quick_gradients
    from auglens.models import build

    model = build(ModelConfig(model_name, SIZE, STRIDE, 0.0, 0.0), 10, init_seed=0)
    model = model.to(memory_format=torch.channels_last)
    images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    large = torch.rand(125, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 10
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)
    training = TRAIN - TRAIN // 10
    steps = -(-training // BATCH) + len(AUGS) * -(-2 * training // BATCH)
    forwards = (1 + len(AUGS)) * (TEST + epochs * (TRAIN // 10)) / len(large)

    def run() -> None:
        model.train()
        with quick_gradients(model):
            for _ in range(steps * epochs):
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
        model.eval()
        with torch.inference_mode():
            for _ in range(round(forwards)):
                model(large)

    return {"bare steps": run}


def by_stage(told: str) -> dict[str, int]:
    """How many stages of each kind ran."""
    names = [name.partition("@")[0] for name in re.findall(r"Running stage '([^']+)'", told)]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def largest_difference(ours: Path, data: Path) -> dict[str, float]:
    """Our per-image metrics against the script's own functions on our checkpoints: one aug, every metric."""
    import torch
    from torch.utils.data import DataLoader

    from auglens import artifacts, compat
    from auglens.config import ModelConfig
    from auglens.models import build
    from benchmarks import naive_study as naive

    compat.import_torchvision()  # beside a CPU torch, torchvision does not import by itself
    from torchvision.transforms import v2

    images, labels = naive.read(data, "test_batch")
    found = []
    for cell in ("reference", f"{AUGS[0]}-1"):
        tensors, metadata = artifacts.load_checkpoint(ours / f"models/{cell}.safetensors")
        model = build(ModelConfig(**metadata["model"]), len(metadata["classes"]), init_seed=0)
        model.load_state_dict(tensors)
        transform = v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.Resize(SIZE, antialias=True),
                v2.Normalize(metadata["mean"], metadata["std"]),
            ]
        )
        loader = DataLoader(naive.Images(images, labels, transform), batch_size=125)
        found.append(naive.explain(model, getattr(model, "bn2", None) or model.layer4, loader))
    (p_maps, p_probs), (q_maps, q_probs) = found
    table = pd.read_parquet(ours / f"reports/maps/{AUGS[0]}-1.parquet")
    rows = [naive.compare(p_maps[n], q_maps[n], p_probs[n], q_probs[n]) for n in range(len(p_maps))]
    expected = pd.DataFrame(rows)
    return {name: timing.difference(table[name].to_numpy(), expected[name].to_numpy()) for name in expected}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=timing.REPETITIONS)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--model", default="efficientnet_b0")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    found = {name: timing.Timed() for name in ("ours", "by hand", "bare steps")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "cifar-10-batches-py"
        kind = cifar_layout(data, train=TRAIN, test=TEST)
        told = ""
        for turn in range(given.repetitions):
            for contender in ("ours", "by hand", "bare steps")[:: 1 if turn % 2 == 0 else -1]:
                timing.note(f"study: {contender}, repetition {turn + 1} of {given.repetitions}")
                place = folder / f"{contender.replace(' ', '_')}-{turn}"
                place.mkdir()
                if contender == "ours":
                    seconds, told = run_ours(place, data, given.model, given.epochs, given.jobs)
                elif contender == "by hand":
                    seconds = run_naive(place, data, given.model, given.epochs)
                else:
                    arguments = {"model_name": given.model, "epochs": given.epochs}
                    steps = timing.alternate("benchmarks.study", "bare_steps", arguments, repetitions=1, warm=0)
                    seconds = steps["bare steps"].median
                found[contender].seconds.append(seconds)
                timing.note(f"study: {contender}: {seconds:.1f} s")
        apart = largest_difference(folder / "ours-0", data)
        timing.row(
            f"study, {given.model}, {SIZE} px, {given.epochs} epochs",
            found,
            items=1,
            unit="study",
            peers={"by hand": TARGET},
            limit="bare steps",
            apart=max(apart[name] / TOLERANCE[name] for name in TOLERANCE),
            tolerance=1.0,
            differences=apart,
            tolerances=TOLERANCE,
            data=kind,
            jobs=given.jobs,
            stages=by_stage(told),
        )


if __name__ == "__main__":
    main()
