"""Two repairs of the surroundings: a torchvision that does not match torch, and glibc's allocator."""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import importlib.util
import sys
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
    importlib.import_module("torchvision")


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
