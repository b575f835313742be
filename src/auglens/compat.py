"""Repairs of the surroundings: torchvision beside another torch, imports nobody needs, glibc's allocator."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

# Kept for the life of the process: torch forgets the schemas when their library object goes.
_schemas: list[Any] = []

# <malloc.h>. A block above the mmap threshold is fresh pages on every allocation: page faults, not work.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_THRESHOLD = 1 << 30  # bytes: above any single activation or optimiser step on a CPU
_TOP_PAD = 64 << 20  # bytes by which the heap grows at least


def import_torchvision() -> None:
    """Import torchvision; timm, kornia and pytorch_grad_cam can be imported after it. Idempotent.

    PyPI's torchvision is built for CUDA torch. Beside a CPU torch its extension does not load, and the import
    ends with `operator torchvision::nms does not exist`. auglens uses none of its operators, so where the
    extension does not load their schemas alone are defined: calling one raises as before.
    """
    if "torchvision" in sys.modules:
        return
    import torch

    if not _load_extension():
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        ):
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        _schemas.append(library)
    with without_dynamo():
        importlib.import_module("torchvision")


def import_timm() -> None:
    """Import timm, and torchvision before it; without torch._dynamo, in half the time. Idempotent."""
    if "timm" in sys.modules:
        return
    import_torchvision()
    with without_dynamo():
        importlib.import_module("timm")


@contextlib.contextmanager
def without_dynamo() -> Iterator[None]:
    """Stand in for torch._dynamo: the machinery of torch.compile takes as long to import as torch itself.

    torchvision, timm and torch.optim ask it whether a device can compile, to leave functions alone and to end a
    graph: nothing, where nothing is compiled. Anything else that is asked of it brings the real one in.
    """
    import torch

    if "torch._dynamo" in sys.modules:
        yield
        return

    def is_compile_supported(device_type: str) -> bool:
        return bool(importlib.import_module("torch._dynamo.utils").is_compile_supported(device_type))

    def disable(fn: Any = None, recursive: bool = True, *, wrapping: bool = True, **_: Any) -> Any:
        # torch's own lazy wrapper, which asks the real one on the first call; it asks here with wrapping=False.
        return torch._disable_dynamo(fn, recursive) if wrapping else fn

    package, utils = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    stand_ins = _StandIns({"torch._dynamo": package, "torch._dynamo.utils": utils})
    package.__path__ = []
    vars(package).update(
        utils=utils, disable=disable, graph_break=lambda *_, **__: None, __getattr__=stand_ins.real
    )
    vars(utils).update(is_compile_supported=is_compile_supported)
    sys.modules.update(stand_ins.modules)
    sys.meta_path.insert(0, stand_ins)
    try:
        yield
    finally:
        stand_ins.leave()


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A package's stand-ins in `sys.modules`, which give way to it when more of it is asked for."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self.modules = modules
        self.package = next(iter(modules))

    def leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in self.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def real(self, attribute: str) -> Any:
        """The package's `__getattr__`: of the real one. Dunders are what `inspect` asks of every module."""
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        self.leave()
        return getattr(importlib.import_module(self.package), attribute)

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(f"{self.package}."):
            return None
        self.leave()
        importlib.import_module(name)
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """It has run."""


def _load_extension() -> bool:
    """Whether torchvision's own operators are there, loaded the way torchvision itself will."""
    import torch

    package = importlib.util.find_spec("torchvision")
    if package is None:
        return True  # its import says so in its own words
    folders = list(package.submodule_search_locations or [])
    extension = importlib.machinery.PathFinder.find_spec("_C", folders)
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")


def tune_allocator() -> None:
    """Let glibc keep and reuse large blocks instead of mapping fresh ones; does nothing on another libc.

    Training on two cores gains about 40 % images/s; results do not change; the process keeps its peak memory
    until it ends. MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ do the same from outside.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    if not mallopt(_M_MMAP_THRESHOLD, _THRESHOLD):
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # the most that some versions of glibc allow
    mallopt(_M_TRIM_THRESHOLD, _THRESHOLD)
    mallopt(_M_TOP_PAD, _TOP_PAD)
