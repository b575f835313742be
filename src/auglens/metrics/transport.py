"""Exact earth mover's distance between distributions on one grid, by the network simplex of POT."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EMD_CELLS = (
    1024  # 32×32, the largest grid; the time grows with the cells' square and more, memory with their square
)
_PIVOTS = 100_000_000  # far beyond what a grid of that size needs: the optimum is reached or the error is raised
_ALIAS = "_auglens_pot"
_one_at_a_time = threading.Lock()
_BACKENDS = [f"POT_BACKEND_DISABLE_{name}" for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")]


def earth_movers(p: Floats, q: Floats, height: int, width: int) -> Floats:
    """Least mass × distance that turns p into q: float64 [B], in units of the image's side.

    p, q: float64 [B,P], each row ≥ 0 with sum 1, on a grid of height × width = P cells, row by row. The
    distance of two cells is Euclidean between their centres, the height and the width of the grid both 1.
    A row with a NaN gives NaN. ValueError: POT is missing, or its solver stops early.
    """
    distance, values = _ground_distance(height, width), np.full(len(p), np.nan)
    for n, surplus in enumerate(p - q):
        if np.isfinite(surplus).all():
            values[n] = _move(surplus, distance)
    return values


def _move(surplus: Floats, distance: Floats) -> float:
    """What p and q have in common stays in place at no cost (distances obey the triangle inequality)."""
    give, take = np.flatnonzero(surplus > 0), np.flatnonzero(surplus < 0)
    given, taken = surplus[give], -surplus[take]
    mass = float(min(given.sum(), taken.sum()))
    if mass == 0:
        return 0.0
    solver = _solver()
    costs = distance[np.ix_(give, take)]
    # In units of the mass that moves: the solver's tolerance is absolute.
    _, cost, _, _, code = solver.emd_c(given / given.sum(), taken / taken.sum(), costs, _PIVOTS, 1)
    if (complaint := solver.check_result(code)) is not None:
        raise ValueError(f"emd: expected an optimal transport, got {complaint!r}; leave emd out")
    return float(cost) * mass


@cache
def _ground_distance(height: int, width: int) -> Floats:
    rows, columns = np.divmod(np.arange(height * width), width)
    return np.hypot(np.subtract.outer(rows, rows) / height, np.subtract.outer(columns, columns) / width)


def _solver() -> Any:
    """POT's compiled module, imported by one thread: the detour below is visible to all of them."""
    with _one_at_a_time:
        return _import_solver()


@cache
def _import_solver() -> Any:
    """POT's compiled module, without the rest of POT.

    `import ot` takes seconds and brings torch, scikit-learn, pandas and networkx. The solver needs none of
    them, so it is imported from a package that has POT's folder and skips its `__init__`. Where POT's layout
    is another, all of POT is imported. Nothing of the detour stays in `sys.modules`: a later `import ot` is
    the usual one.
    """
    found = importlib.util.find_spec("ot")
    if found is None or not found.submodule_search_locations:
        raise ValueError("emd: expected the package POT, got none; `pip install POT`, or leave emd out")
    if "ot" in sys.modules:
        return importlib.import_module("ot.lp.emd_wrap")
    with _backends_off():
        try:
            return _solver_alone(found.submodule_search_locations[0])
        except (ImportError, AttributeError):
            return importlib.import_module("ot.lp.emd_wrap")


def _solver_alone(folder: str) -> Any:
    try:
        for name, path in ((_ALIAS, folder), (f"{_ALIAS}.lp", os.path.join(folder, "lp"))):
            package = types.ModuleType(name)
            package.__path__ = [path]
            sys.modules[name] = package
        return importlib.import_module(f"{_ALIAS}.lp.emd_wrap")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in (_ALIAS, "ot")]:
            del sys.modules[name]


@contextmanager
def _backends_off() -> Iterator[None]:
    """POT looks for torch and others as it is imported, unless these variables are set."""
    before = {name: os.environ.get(name) for name in _BACKENDS}
    os.environ.update(dict.fromkeys(_BACKENDS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
