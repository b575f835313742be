"""What every benchmark shares: alternating repetitions in warm processes, medians, one line of JSON per row.

A benchmark names its contenders (ours, peers, limits) in `contenders(tuned)`: functions without arguments, ready
to run on equal inputs. Each process environment is one warm process of its own; the contenders take turns, so
that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2
REPETITIONS = 5
Contenders = Mapping[str, Callable[[], Any]]


def keep_allocator_default() -> None:
    """Hinder `tune_allocator` in this process: what glibc does for a program that sets nothing."""
    from auglens import compat

    compat.tune_allocator = lambda: None


def _serve(pipe: Connection, module: str, function: str, arguments: dict[str, Any], tuned: bool) -> None:
    """A worker: makes the contenders once, then runs the one that it is told to."""
    import torch

    from auglens import compat

    torch.set_num_threads(int(arguments.pop("threads", THREADS)))
    if tuned:
        compat.tune_allocator()
    else:
        keep_allocator_default()
    contenders: Contenders = getattr(importlib.import_module(module), function)(**arguments)
    pipe.send(list(contenders))
    for name, wanted in iter(pipe.recv, None):
        started = time.perf_counter()
        result = contenders[name]()
        seconds = time.perf_counter() - started
        pipe.send((seconds, result if wanted else None))


@dataclass
class Timed:
    """seconds: one value per repetition, after the warm ones; result: what the first warm run returned."""

    seconds: list[float] = field(default_factory=list)
    result: Any = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def alternate(
    module: str,
    function: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    repetitions: int = REPETITIONS,
    warm: int = 1,
    tuned: Sequence[bool] = (True,),
    only_untuned: Sequence[str] = (),
) -> dict[str, Timed]:
    """Run every contender of `module.function(**arguments)` in turns, `warm` unmeasured rounds first.

    tuned: the allocators to run under, a process each: ours (True), the system's own (False). A contender of the
    second is called "NAME, default allocator"; only_untuned: those of them that run (none named: all).
    """
    context = multiprocessing.get_context("spawn")
    workers: list[tuple[Any, Connection]] = []
    plan: list[tuple[str, str, Connection]] = []
    try:
        for one in tuned:
            ours, theirs = context.Pipe()
            # Not a daemon, which could have no children: a peer may load its data with workers of its own.
            process = context.Process(target=_serve, args=(theirs, module, function, dict(arguments or {}), one))
            process.start()
            theirs.close()
            workers.append((process, ours))
        for one, (_, pipe) in zip(tuned, workers, strict=True):
            for name in pipe.recv():
                if one:
                    plan.append((name, name, pipe))
                elif not only_untuned or name in only_untuned:
                    plan.append((f"{name}, default allocator", name, pipe))
        found = {label: Timed() for label, _, _ in plan}
        for turn in range(warm + repetitions):
            for label, name, pipe in plan if turn % 2 == 0 else plan[::-1]:
                pipe.send((name, turn == 0))
                seconds, result = pipe.recv()
                if turn == 0:
                    found[label].result = result
                if turn >= warm:
                    found[label].seconds.append(seconds)
        return found
    finally:
        for process, pipe in workers:
            with contextlib.suppress(OSError):
                pipe.send(None)
            process.join(10)
            if process.is_alive():
                process.kill()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a − b|; NaN and NaN are equal, NaN and a number infinitely apart."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        return float("inf")
    both = np.isnan(a) & np.isnan(b)
    gap = np.where(both, 0.0, np.abs(a - b))
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0.0))


def machine() -> dict[str, Any]:
    """What the numbers were measured on; no names, no paths."""
    import torch

    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    found: dict[str, Any] = {"processor": model, "cores": os.cpu_count()}
    found |= {"instructions": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def report(subject: str, **values: Any) -> None:
    """One line of JSON on standard output, numbers to four significant digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(item) for name, item in value.items()}
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, float | np.floating):
            return float(f"{float(value):.4g}") if np.isfinite(value) else str(value)
        return value

    print(json.dumps({"subject": subject} | plain(values), ensure_ascii=False), flush=True)


def row(
    subject: str,
    found: Mapping[str, Timed],
    *,
    items: int,
    unit: str,
    ours: str = "ours",
    peers: Mapping[str, float] | None = None,
    limit: str | None = None,
    limit_target: float | None = None,
    apart: float | None = None,
    tolerance: float | None = None,
    **more: Any,
) -> bool:
    """Print one row. peers: contender → target ratio (peer's seconds / ours); limit: the contender that is one.

    limit_target: the least share of the limit's speed; apart: the largest difference of the results, which must
    not pass `tolerance`. Returns whether every target is met.
    """
    mine = found[ours].median
    values: dict[str, Any] = {"n": items, "unit": unit}
    values["per_second"] = {name: items / timed.median for name, timed in found.items()}
    values["seconds"] = {name: timed.median for name, timed in found.items()}
    values["spread"] = {name: max(timed.seconds) / min(timed.seconds) for name, timed in found.items()}
    met = True
    for name, target in (peers or {}).items():
        ratio = found[name].median / mine
        values.setdefault("times_peer", {})[name] = {"ratio": ratio, "target": target, "met": ratio >= target}
        met &= ratio >= target
    if limit is not None:
        share = found[limit].median / mine
        values["of_limit"] = {"limit": limit, "share": share, "target": limit_target}
        if limit_target is not None:
            values["of_limit"]["met"] = share >= limit_target
            met &= share >= limit_target
    if apart is not None and tolerance is not None:
        values["equal"] = {"largest_difference": apart, "tolerance": tolerance, "met": apart <= tolerance}
        met &= apart <= tolerance
    report(subject, **values, **more, met=met, repetitions=len(found[ours].seconds), machine=machine())
    return met


def note(text: str) -> None:
    """What is under way, for whoever waits: on standard error, so that standard output is JSON alone."""
    print(text, file=sys.stderr, flush=True)
