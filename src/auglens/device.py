"""Where tensors live, and the settings that make equal work give equal bytes there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def deterministic(threads: int, *, fill: bool = True) -> Iterator[None]:
    """Deterministic algorithms on `threads` threads inside the block; the former settings after it.

    fill: every new tensor is filled with NaN, torch's default, so that an operation that reads memory which
    nobody wrote fails alike each time. It finds faults, changes nothing where there is none, and costs a
    training 3 to 6 % on a CPU.
    """
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.get_num_threads(),
    )
    # What `torch.use_deterministic_algorithms` sets, but for the compiler's switch, whose import takes a second.
    torch._C._set_deterministic_algorithms(True, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]
        torch.set_num_threads(before[3])


def find_device(name: str) -> torch.device:
    """`auto` is the first GPU where there is one. ValueError where `cuda` is asked for and missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device: cuda was asked for, but torch sees no GPU; use cpu or auto")
    return torch.device(name)
