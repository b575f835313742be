"""Figures drawn side by side: matplotlib takes longer than all the statistics, and knows one core."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from matplotlib.figure import Figure

from auglens import artifacts, figures

# A partial of a function of `figures`: what it is given goes to another process.
Drawing = Callable[[], Figure]
LEAST_EACH = 8  # figures a process: below, they are drawn before it has begun


def draw(folder: Path, drawings: Mapping[str, Drawing]) -> dict[str, str]:
    """Every figure as a file of its name in `folder`: name → alt text. The bytes do not depend on who draws."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    processes = min(cores, len(drawings) // LEAST_EACH)
    if processes < 2:
        return {name: _draw(folder / name, drawing) for name, drawing in drawings.items()}
    # Spawned, not forked: the threads of pyarrow and BLAS do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {name: pool.submit(_draw, folder / name, drawing) for name, drawing in drawings.items()}
        return {name: found.result() for name, found in waiting.items()}


def _draw(path: Path, drawing: Drawing) -> str:
    figure = drawing()
    artifacts.save_figure(path, figure)
    return figures.alt_text(figure)
