"""Figures drawn by processes of their own: the same bytes as drawn here, in the order asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from auglens import artifacts, figures
from auglens.stages import collected, pictures

ROOT = Path(__file__).parents[1]
CLASSES = ("a", "b", "c")


@pytest.mark.parametrize("cores", [1, 2])
def test_figures_are_the_same_whoever_draws_them(
    tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collected, "available_threads", lambda: cores)
    matrices = np.random.default_rng(0).integers(0, 9, (collected.LEAST, 3, 3))
    names = [f"confusion/{n}.svg" for n in range(len(matrices))]
    every: dict[str, collected.Drawing] = {
        name: partial(figures.confusion_figure, matrix, CLASSES, name)
        for name, matrix in zip(names, matrices, strict=True)
    }
    with collected.Drawings(tmp_path) as drawings:
        drawings.add({name: every[name] for name in names[:2]})
        drawings.add(every)
        assert (drawings.pool is None) == (cores == 1)
        drawings.finish(reversed(names))
    alt = artifacts.load_json(tmp_path / "figures/alt.json")
    assert list(alt) == names[::-1]
    assert alt[names[3]].startswith("Confusion matrix of 3 classes, confusion/3.svg")
    for name in (names[0], names[-1]):
        artifacts.save_figure(tmp_path / "here.svg", every[name]())
        assert (tmp_path / "figures" / name).read_bytes() == (tmp_path / "here.svg").read_bytes()


def test_a_drawing_that_fails_says_so(tmp_path: Path) -> None:
    image = np.zeros((1, 3, 8, 8), dtype=np.uint8)
    with collected.Drawings(tmp_path) as drawings:
        drawings.add({"a.png": partial(figures.augmentation_sheet, image, {"affine": image[:0]})})
        with pytest.raises(ValueError, match="augmented: "):
            drawings.finish(["a.png"])


@pytest.mark.parametrize("cores", [1, 3])
def test_pictures_come_cell_by_cell_whoever_draws_them(
    tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "available_threads", lambda: cores)
    monkeypatch.setattr(pictures, "LEAST_EACH", 5)
    generator = np.random.default_rng(0)
    cells = []
    for n in range(10):
        table = pd.DataFrame({"label": np.arange(9) % 3, "predicted": generator.integers(0, 3, 9)})
        artifacts.save_table(tmp_path / f"{n}.parquet", table)
        epochs = [
            {"epoch": e, "train_accuracy": e / 9, "validation_accuracy": float(generator.random())}
            for e in range(1, 4)
        ]
        artifacts.save_json(tmp_path / f"{n}.json", {"epochs": epochs})
        files = (tmp_path / f"{n}.parquet", tmp_path / f"{n}.json", tmp_path / f"affine-{n}")
        cells.append(pictures.Cell(f"affine-{n}", "affine", n, *files))
    drawn = list(pictures.draw(cells, CLASSES))
    assert [{name: path.parent.name for name, path in found.items()} for found in drawn] == [
        {"curves.png": cell.name, "confusion.png": cell.name} for cell in cells
    ]
    draw = figures.CellPictures(CLASSES)
    report = pd.DataFrame(artifacts.load_json(cells[9].report)["epochs"]).assign(aug="affine", seed=9)
    artifacts.save_picture(tmp_path / "here.png", draw.curves(report))
    assert drawn[9]["curves.png"].read_bytes() == (tmp_path / "here.png").read_bytes()
    assert len({found["confusion.png"].read_bytes() for found in drawn}) > 5


def test_nothing_new_draws_nothing() -> None:
    assert list(pictures.draw([], CLASSES)) == []


def test_an_interrupt_ends_the_drawing_processes_without_a_word(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(f"""
import signal, sys
from functools import partial
from pathlib import Path
from auglens.stages import collected
from tests.test_drawings import slow_figure
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is deaf to it
    collected.available_threads = lambda: 2
    try:
        with collected.Drawings(Path({str(tmp_path)!r})) as drawings:
            drawings.add({{f"{{n}}.svg": partial(slow_figure, n) for n in range(40)}})
            print("begun", flush=True)
            drawings.finish([f"{{n}}.svg" for n in range(40)])
    except KeyboardInterrupt:  # as the command line does
        sys.exit(130)
""")
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": {**os.environ, "PYTHONPATH": path}}
    process = subprocess.Popen([sys.executable, script], text=True, start_new_session=True, **pipes)
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.5)  # the processes are importing matplotlib
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "")


def slow_figure(n: int) -> Figure:
    time.sleep(0.2)
    return Figure()
