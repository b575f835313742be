"""How much memory there is for a process, and how much it has taken: what the system says of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Where a control group's limit, what it holds and, of that, the file cache that would give way are written.
_GROUPS = {
    "": ("memory.max", "memory.current", "inactive_file"),  # version 2, which has one hierarchy without a name
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
}


def available(root: Path = Path("/")) -> int:
    """Bytes that this process may still take: of the machine, and of every control group that it is in.

    root: of the file system that is read.
    """
    try:
        told = (root / "proc/meminfo").read_text().split("MemAvailable:")[1]
        machine = int(told.split()[0]) * 1024
    except (OSError, IndexError):  # no Linux: all there is
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(0, min(machine, *_groups(root), sys.maxsize))


def _groups(root: Path) -> Iterator[int]:
    """What each control group of this process has left, as far as it has a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for name in set(controllers.split(",")) & _GROUPS.keys():
            top = root / "sys/fs/cgroup" / name
            # A container sees its own group as the top one, whatever path it is told.
            inner = top / path.lstrip("/")
            for folder in (inner, *inner.parents):
                if folder.is_relative_to(top):
                    left = _left(folder, *_GROUPS[name])
                    if left is not None:
                        yield left


def _left(folder: Path, limit: str, held: str, cache: str) -> int | None:
    try:
        most, now = int((folder / limit).read_text()), int((folder / held).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group here, or `max`: no limit
        return None
    return most - now + int(stat.get(cache, 0))


def restart_peak() -> int:
    """Bytes resident now; the peak that the system remembers starts from here, where it can be told to."""
    write("/proc/self/clear_refs", "5")
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that this process has had resident, since `restart_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        told = Path("/proc/self/status").read_text().split(f"{name}:")[1]
        return int(told.split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def write(path: str, text: str) -> None:
    """Tell the system something of this process; where it has no such file or forbids it, nothing happens."""
    with contextlib.suppress(OSError):
        Path(path).write_text(text)
