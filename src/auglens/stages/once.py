"""Work that is done once, however many cells of the plan need its result and however many processes ask for it."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import auglens
from auglens import artifacts
from auglens.stages import layout

# These change no cell; of the stages the others only say what is read and written.
SILENT = ("batch_size.py", "check", "cli.py", "commands", "figures", "report", "search", "stats", "tracking")
COMPUTES = ("explaining.py", "fitting.py", "scoring.py", "selecting.py")


def code() -> str:
    """Hash of all code that can change a number of a cell, and of torch's version."""
    root = Path(auglens.__file__).parent
    found = (path for path in root.rglob("*.py") if path.relative_to(root).parts[0] not in SILENT)
    sources = sorted(path for path in found if "stages" not in path.parts or path.name in COMPUTES)
    told = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return artifacts.hash_values([told, metadata.version("torch")])


def work(*decided_by: Any) -> Path:
    """The folder of a result or an unfinished state that `decided_by`, the code and torch decide."""
    return layout.work(artifacts.hash_values([*decided_by, code()]))


@contextlib.contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """One process at a time works on `folder`; another waits, and says so. A killed one frees it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{doing}: another process is at the same work; waiting for its result", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def taken_over(folder: Path, outputs: Sequence[Path], doing: str, told: str, make: Callable[[], object]) -> None:
    """`make` writes `outputs`, unless they lie in `folder`, where they are kept. told: what is taken over."""
    names = [f"{place}{path.suffix}" for place, path in enumerate(outputs)]
    with alone(folder, doing):
        if folder.exists():
            for name, path in zip(names, outputs, strict=True):
                with artifacts.atomic(path) as temporary:
                    shutil.copyfile(folder / name, temporary)
            print(f"{doing}: {told} are taken over")
            return
        make()
        with artifacts.atomic_folder(folder) as temporary:
            for name, path in zip(names, outputs, strict=True):
                shutil.copyfile(path, temporary / name)


def shared(kind: str, key: str) -> bool:
    """Whether several cells of the plan have this train key or map key (their seed decides nothing)."""
    cells = artifacts.load_json(layout.INDEX, ("cells",))["cells"]
    return sum(cell[kind] == key for cell in cells) > 1
