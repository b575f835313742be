"""batch-size: how many images a training step can take here, and with how many it is fastest. Writes nothing.

Every size is tried in a process of its own, which ends with all the memory it took; where the system kills it for
want of memory, that size is the one that does not fit.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from auglens import artifacts, config
from auglens.batch_size import LARGEST, SMALLEST, Attempt, Found, find, is_out_of_memory
from auglens.commands.memory import available, peak, restart_peak, write
from auglens.stages import layout

SECONDS, MOST = 1.0, 20  # steps are timed until they took so long together, or are so many
SHARE = 0.8  # of the memory


class _Enough(Exception):
    """The steps asked for are done."""


def run(limit: int = LARGEST, memory: float = SHARE) -> None:
    """limit: images; memory: share of what is available (of a GPU's, of all) that a step may hold."""
    if limit < SMALLEST:
        raise ValueError(f"--limit: expected {SMALLEST} images or more, got {limit}; raise it")
    if not 0 < memory <= 1:
        raise ValueError(f"--memory: expected a share in (0, 1], got {memory:g}; correct it")
    settings = config.load()
    if not (layout.SPLITS / "manifest.json").exists():
        raise ValueError(f"{layout.SPLITS}: no prepared data; run `dvc repro prepare`")
    splits = str(layout.SPLITS.resolve())
    images = artifacts.load_json(layout.SPLITS / "manifest.json", ("counts",))["counts"]["train"]
    on_cpu = settings.train.device == "cpu" or _device(settings.train.device) == "cpu"
    free = available()
    bound = memory * free if on_cpu else None
    where = f"{memory:g} of the {_bytes(free)} available" if on_cpu else f"{memory:g} of the GPU's memory"
    model = settings.model
    print(f"batch-size: {model.name} at {model.image_size} pixels, {settings.train.precision}, up to {where}")
    print(f"{'batch size':>10}  {'images/s':>10}  {'peak memory':>12}", flush=True)
    found = find(
        lambda size: apart(attempt, settings, splits, size, memory),
        limit=min(limit, images),
        bound=bound,
        on_attempt=lambda size, done: print(_row(size, f"{size / done.seconds:.1f}", done.peak_bytes), flush=True),
    )
    if not found.attempts:
        raise ValueError(
            f"train.batch_size: not even {SMALLEST} images fit into {where}; choose a smaller model.image_size or"
            " model.name, a machine with more memory, or raise --memory"
        )
    if found.ended != "limit":
        print(_row(found.ended_at, "–", found.expected_bytes) + " does not fit")
    print(_conclusion(found, limit, images))


def _conclusion(found: Found, limit: int, images: int) -> str:
    largest, fastest = found.largest, found.fastest
    rate = fastest / found.attempts[fastest].seconds
    short = f" (no larger one tried: {'--limit' if limit <= images else 'training images'} {min(limit, images)})"
    return (
        f"batch-size: largest that fits {largest}{short if found.ended == 'limit' else ''},"
        f" fastest {fastest} ({rate:.1f} images/s): -S train.batch_size={fastest}"
    )


def _row(size: int, rate: str, held: int | None) -> str:
    return f"{size:>10}  {rate:>10}  {'–' if held is None else _bytes(held):>12}"


def _bytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _device(name: str) -> str:
    from auglens.device import find_device

    return find_device(name).type


def apart(function: Callable[..., Attempt], *arguments: object) -> Attempt:
    """`function(*arguments)` in a process of its own. MemoryError where it ran out of memory or the system killed
    it, ValueError in one line for all else."""
    ways = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in ways else "spawn")
    if "forkserver" in ways:  # torch is imported once, in the process whose copies the others are
        context.set_forkserver_preload(["auglens.stages.fitting"])
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(send, function, arguments))
    process.start()
    send.close()
    try:
        outcome = receive.recv()
    except EOFError:
        outcome = None
    except BaseException:  # Ctrl-C
        process.kill()
        raise
    process.join()
    if isinstance(outcome, Attempt):
        return outcome
    if isinstance(outcome, MemoryError) or (outcome is None and process.exitcode == -signal.SIGKILL):
        raise MemoryError("the process that tried it ran out of memory")
    raise ValueError(outcome or f"the process that tried it ended with exit code {process.exitcode}; try again")


def _child(send: Connection, function: Callable[..., Attempt], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    write("/proc/self/oom_score_adj", "1000")  # where memory runs out all the same, this process is the one to go
    try:
        outcome: Any = function(*arguments)
    except Exception as error:
        outcome = MemoryError() if is_out_of_memory(error) else " ".join(str(error).split()) or repr(error)
    send.send(outcome)


def attempt(settings: config.Config, splits: str, size: int, share: float) -> Attempt:
    """Train some steps of `size` images as `auglens train reference` does: in the same loop, on the same data."""
    import torch

    from auglens import compat
    from auglens.batches import Recipe
    from auglens.data.augmentations import Part
    from auglens.data.views import View
    from auglens.device import find_device
    from auglens.models import build
    from auglens.stages.fitting import labelled
    from auglens.tasks import TASKS
    from auglens.training import fit

    compat.tune_allocator()
    device = find_device(settings.train.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_per_process_memory_fraction(share)
    prepared = artifacts.load_prepared(splits)
    model = build(settings.model, len(prepared.manifest["classes"]), init_seed=settings.streams.init_seed)
    train = labelled(prepared, prepared.train, device)
    held = labelled(prepared, prepared.validation, device)  # takes memory, as in a training
    one = labelled(prepared, prepared.validation[:1], device)  # and is not scored, which would take time
    view = View(settings.model.image_size, prepared.manifest["mean"], prepared.manifest["std"])
    del prepared
    start = restart_peak()
    # A rate at which nothing diverges, and more epochs than are waited for: `count` says when it is enough.
    how = replace(settings.train, batch_size=size, epochs=2 + MOST, learning_rate=1e-9, watch_test=False)
    classic = tuple(Part(name, settings.classic.parameters[name]) for name in settings.classic.parts)
    recipe = Recipe((), 1, None, 0, settings.streams.order_seed, classic=classic)
    taken: list[float] = []
    last = 0.0

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def begin(_: object) -> None:
        nonlocal last
        last = now()

    def count(done: int) -> None:
        # The first step also makes the optimiser's state, which is there in all later ones; an epoch's last can be
        # smaller.
        if last and done == size:
            taken.append(now() - last)
        if sum(taken) >= SECONDS or len(taken) >= MOST:
            raise _Enough
        begin(None)

    with contextlib.suppress(_Enough), compat.without_dynamo():
        fit(model, train, one, view, TASKS[settings.data.task], how, recipe, on_epoch=begin, on_images=count)
    del held
    most = torch.cuda.max_memory_reserved() if on_gpu else peak()
    return Attempt(statistics.median(taken), most, start)
