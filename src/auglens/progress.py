"""Progress and time left of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Counts units of work done; `line` prints a sentence without breaking the bar."""

    def __init__(self, title: str, total: int, done: int = 0, *, unit: str) -> None:
        self.title, self.total, self.done, self.first = title, total, done, done
        self.started = time.perf_counter()
        terminal = sys.stderr.isatty()
        self.bar = tqdm(desc=title, total=total, initial=done, unit=unit, disable=not terminal, leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def advance(self, count: int) -> None:
        self.done += count
        self.bar.update(count)

    def left(self) -> str:
        """Time left at the mean rate so far, as text."""
        seconds = time.perf_counter() - self.started
        if self.done <= self.first or self.done >= self.total:
            return ""
        rest = seconds / (self.done - self.first) * (self.total - self.done)
        return f", {rest:.0f} s left" if rest < 90 else f", {rest / 60:.0f} min left"

    def line(self, text: str) -> None:
        tqdm.write(f"{self.title}: {text}{self.left()}", file=sys.stdout)
        sys.stdout.flush()
