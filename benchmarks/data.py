"""Images to measure on: real CIFAR-10 where a pack is at hand, else noise of its shape, and which it was."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np


def packs() -> Path | None:
    """AUGLENS_DATA, else ../shared/data; None where neither is there."""
    for folder in (os.environ.get("AUGLENS_DATA"), Path(__file__).parents[2] / "shared/data"):
        if folder and (Path(folder) / "build_cifar10.py").exists():
            return Path(folder)
    return None


def cifar_layout(out: Path, *, train: int, test: int) -> str:
    """Write `train` + `test` images in CIFAR-10's layout to `out`; "CIFAR-10" or "noise", whichever they are."""
    source = packs()
    rng = np.random.default_rng(0)
    if source is None:
        pixels = rng.integers(0, 256, (train + test, 3072), dtype=np.uint8)
        labels = np.arange(train + test) % 10
        split = (pixels[:train], labels[:train]), (pixels[train:], labels[train:])
    else:
        whole = out.parent / "whole"
        command = [sys.executable, str(source / "build_cifar10.py"), str(whole)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        parts = [read(whole, f"data_batch_{k}") for k in range(1, 6)]
        training = np.concatenate([r[0] for r in parts]), np.concatenate([r[1] for r in parts])
        testing = read(whole, "test_batch")
        split = (training[0][:train], training[1][:train]), (testing[0][:test], testing[1][:test])
    out.mkdir(parents=True)
    fifth = train // 5
    for k in range(1, 6):
        cut = slice((k - 1) * fifth, k * fifth)
        _write(out / f"data_batch_{k}", split[0][0][cut], split[0][1][cut])
    _write(out / "test_batch", *split[1])
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (out / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return "noise" if source is None else "CIFAR-10"


def read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with (folder / "cifar-10-batches-py" / name).open("rb") as file:
        values = pickle.load(file, encoding="latin1")
    return np.asarray(values["data"]), np.asarray(values["labels"])


def _write(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    path.write_bytes(pickle.dumps({"data": pixels, "labels": [int(label) for label in labels]}))
