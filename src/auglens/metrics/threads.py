"""Work on parts of the images, on all cores: numpy leaves the interpreter while it sorts and adds."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def available_threads() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def spread(
    function: Callable[[Part], Result], parts: Iterable[Part], threads: int | None = None
) -> Iterator[Result]:
    """function(part) of every part, in their order, on `threads` threads (None: as many as there are cores).

    Parts are asked for as they are needed, a few ahead. Each must be independent of the others: then no result
    depends on the number of threads. ValueError: fewer than one thread.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected 1 or more, got {threads}; leave it out for one per core")
    workers = threads or available_threads()
    if workers == 1:
        yield from map(function, parts)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for part in parts:
            waiting.append(pool.submit(function, part))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def slices(count: int, step: int) -> list[slice]:
    """`count` things in parts of `step`, the last one shorter; one empty part where there are none."""
    return [slice(start, start + step) for start in range(0, max(count, 1), step)]
