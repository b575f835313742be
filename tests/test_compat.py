"""The repairs of the surroundings, each in a fresh process: they change what a process can do afterwards."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


def fresh(code: str) -> str:
    """What `code` prints in a Python that has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_timm_can_be_imported_afterwards():
    code = """
from auglens import compat
compat.import_torchvision()
compat.import_torchvision()
import timm, torch, torchvision
print(timm.is_model("resnet18"), len(compat._schemas) <= 1)
print(torch.ops.torchvision.nms.default._schema)
"""
    schema = "torchvision::nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    assert fresh(code) == f"True True\n{schema}"


def test_schemas_are_defined_only_where_the_extension_does_not_load():
    code = """
from auglens import compat
loads = compat._load_extension()
compat.import_torchvision()
print(loads == (not compat._schemas))
"""
    assert fresh(code) == "True"


def test_a_schema_that_is_there_already_is_left_alone():
    """Another library may have cured the same fault by the same means."""
    code = """
from auglens import compat
if not compat._load_extension():
    import torch
    other = torch.library.Library("torchvision", "FRAGMENT")
    other.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
compat.import_torchvision()
import torch
print(hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms") or not compat._schemas)
"""
    assert fresh(code) == "True True"


def test_building_and_training_do_without_the_compiler():
    """Its import is half of what a process of a stage costs before it does anything."""
    code = """
import sys
import torch
from auglens import compat
compat.import_timm()
with compat.without_dynamo():
    import timm
    model = timm.create_model("test_resnet", num_classes=3)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
print([name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor"))])
"""
    assert fresh(code) == "[]"


def test_the_compiler_is_there_for_whoever_asks_for_it():
    code = """
import torch
from auglens import compat
compat.import_timm()
from torchvision.ops.roi_align import is_compile_supported
print(is_compile_supported("cpu"), torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item())
import torch._dynamo
with compat.without_dynamo():
    print(torch._dynamo.config.verbose)
"""
    assert fresh(code) == "True 2.0\nFalse"
    inside = """
import sys, torch
from auglens import compat
with compat.without_dynamo():
    import torch._dynamo
    print(torch._dynamo.graph_break(), len([name for name in sys.modules if name.startswith("torch._dynamo")]))
    {more}
real = sys.modules["torch._dynamo.config"]
print(torch._dynamo.config is real, real.verbose, sys.modules["torch._dynamo"].config is real)
print(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item())
"""
    for more in (
        "torch._dynamo.config",
        "import torch._dynamo.config",
        "from torch._dynamo.config import verbose",
        "torch.use_deterministic_algorithms(True)",
    ):
        assert fresh(inside.format(more=more)) == "None 2\nTrue False True\n2.0", more


def test_importing_compat_does_no_work():
    code = "import sys; import auglens.compat; print({'torch', 'torchvision', 'timm'} & set(sys.modules))"
    assert fresh(code) == "set()"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_large_blocks_come_from_the_heap():
    """`hblks` of mallinfo2 counts the blocks that were mapped one by one: 16 MiB are one by default."""
    code = """
import ctypes
from auglens import compat
libc = ctypes.CDLL(None)
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
Info = type("Info", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in names]})
libc.mallinfo2.restype, libc.malloc.restype = Info, ctypes.c_void_p
def mapped():
    before = libc.mallinfo2().hblks
    assert libc.malloc(ctypes.c_size_t(16 << 20))
    return libc.mallinfo2().hblks - before
print(mapped())
compat.tune_allocator()
print(mapped())
"""
    assert fresh(code) == "1\n0"
