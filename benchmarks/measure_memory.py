"""`auglens measure` of one cell of 10,000 images at 224 px: peak memory and seconds, beside two sorts per image.

    python -m benchmarks.measure_memory

Prepared data, specs and maps are made here as `prepare`, `plan` and `explain` leave them: rectified noise as raw
7×7 maps, logits of 10 classes, both variants, of the reference and of one cell; a quarter of the images have
another target in the other variant. The stage runs as its own process, as DVC runs it, with this project's own
parameters (further metrics and all); the peak is what the kernel says of it (`ru_maxrss`). The limit is
`numpy.sort` of as many 224×224 maps as the study has images, twice: one thread.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.timing import machine, note, report

IMAGES, CLASSES, CELLS, SIZE = 10_000, 10, 7, 224
CELL = "equalize-1"
MEGABYTES = 1000.0
LEFT_OUT = 0.25  # share of the images whose class the model gets wrong
STAGE = "import sys; from auglens.cli import main; sys.exit(main(['measure', sys.argv[1]]))"


def study(top: Path) -> None:
    from auglens import artifacts

    rng = np.random.default_rng(0)
    shutil.copy("params.yaml", top / "params.yaml")
    labels = rng.integers(0, CLASSES, IMAGES)
    none = np.zeros(0, np.int64)
    prepared = artifacts.Prepared(
        np.zeros((IMAGES, 3, 1, 1), np.uint8), labels, None, none, none, np.arange(IMAGES),
        {"classes": [str(n) for n in range(CLASSES)], "mean": [0.5] * 3, "std": [0.2] * 3, "content": "none"},
    )  # fmt: skip
    artifacts.save_prepared(top / "data/splits", prepared)
    artifacts.save_json(top / "data/cells/measure.json", {"metrics": {}, "own": None})
    for cell in ("reference", CELL):
        artifacts.save_json(top / f"data/cells/{cell}.maps.json", {"variant": "gradcam-predicted"})
        wrong = rng.random(IMAGES) < LEFT_OUT
        predicted = np.where(wrong, (labels + 1) % CLASSES, labels)
        logits = rng.standard_normal((IMAGES, CLASSES)).astype(np.float32)
        logits[np.arange(IMAGES), predicted] += 5
        raw = np.maximum(rng.standard_normal((IMAGES, CELLS, CELLS)), 0).astype(np.float32)
        for variant, targets in (("gradcam-predicted", predicted), ("gradcam-true", labels)):
            maps = artifacts.Maps(raw, logits, targets, SIZE, f"{cell}-{variant}")
            artifacts.save_maps(top / f"cams/{cell}/{variant}.npz", maps)
            raw = np.where(wrong[:, None, None], raw[::-1], raw)


def stage(top: Path) -> tuple[float, float]:
    """Seconds of the process, and its peak in MB."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", STAGE, CELL], cwd=top, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"measure ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return seconds, usage.ru_maxrss * unit / 1e6


def two_sorts() -> float:
    """Seconds of two sorts per image, over a few maps again and again."""
    from auglens.saliency import finish

    raw = np.maximum(np.random.default_rng(1).standard_normal((200, CELLS, CELLS)), 0).astype(np.float32)
    maps = [one.ravel() for one in finish(raw, SIZE)]
    started = time.perf_counter()
    for n in range(2 * IMAGES):
        np.sort(maps[n % len(maps)])
    return time.perf_counter() - started


def main() -> bool:
    note(f"measure_memory: {IMAGES:,} images of {SIZE}×{SIZE}, about a minute")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        study(top)
        limits = [two_sorts()]
        seconds, peak = stage(top)
        limits.append(two_sorts())
        import pandas as pd

        table = pd.read_parquet(top / f"reports/maps/{CELL}.parquet")
    limit = sum(limits) / len(limits)
    met = peak <= MEGABYTES and len(table) == IMAGES
    report(
        f"measure: one cell, {SIZE} px, further metrics and both targets",
        n=IMAGES,
        unit="image",
        seconds=seconds,
        peak={"megabytes": peak, "target": MEGABYTES, "met": peak <= MEGABYTES},
        of_limit={"limit": "two sorts per image", "seconds": limit, "share": limit / seconds},
        columns=len(table.columns),
        met=met,
        repetitions=1,
        machine=machine(),
    )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
