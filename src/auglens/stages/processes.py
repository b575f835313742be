"""Processes beside a stage's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes that begin inside the block leave Ctrl-C to this one, which stops them: no tracebacks of theirs.

    They inherit that a signal is ignored, so that not even their imports are interrupted. Only the main thread may
    say so; elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
