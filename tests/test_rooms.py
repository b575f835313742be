"""The rooms: what each may import, and that every DVC stage depends on the code that can change its numbers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "auglens"

# Rooms that no stage needs to depend on: they cannot change a number (or, like config, are covered by specs).
EXEMPT = {
    "artifacts",
    "cards",
    "config",
    "own",  # gives the code that the spec names, or refuses
    "progress",
    "stages.layout",
    "study",
    "tracking",
}
FORBIDDEN = {
    "config": {"torch", "mlflow", "numpy", "pandas"},
    "plan": {"torch", "mlflow"},
    "study": {"torch", "mlflow"},
    "artifacts": {"mlflow"},
    "rng": {"mlflow"},
    "active": {"mlflow"},
    "active.specs": {"mlflow", "torch", "numpy"},
    "batch_size": {"mlflow", "torch"},
    "batches": {"mlflow"},
    "unet": {"mlflow"},
    "models": {"mlflow"},
    "training": {"mlflow"},
    "tasks": {"mlflow"},
    "device": {"mlflow"},
    "data": {"mlflow"},
    "saliency": {"mlflow", "pytorch_grad_cam"},
    "metrics": {"mlflow", "torch"},
    "stats": {"mlflow", "torch"},
    "figures": {"mlflow", "torch"},
    "report": {"mlflow", "torch"},
    "own": {"mlflow", "pandas"},
    "own.names": {"torch", "numpy"},
    "own.reading": {"torch", "numpy"},
    "own.source": {"torch", "numpy"},
    "own.loading": {"torch", "numpy"},
    "own.measures": {"torch"},
    "tracking": {"torch", "pandas"},
}
ONLY_IN = {"mlflow": "tracking", "hydra": "commands", "jinja2": "report"}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def path_of(module: str) -> Path | None:
    base = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    if base.with_suffix(".py").exists():
        return base.with_suffix(".py")
    return base / "__init__.py" if (base / "__init__.py").exists() else None


def imports(path: Path) -> set[str]:
    """Every module that `path` names in an import, wherever the import stands, but those for types alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    names = {name.removeprefix("auglens").lstrip(".") for name in imports(path) if name.split(".")[0] == "auglens"}
    return {module_of(found) for name in names if name and (found := path_of(name))} - {"", "data", "stages"}


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_nothing_forbidden(room: str) -> None:
    members = {name: path for name, path in MODULES.items() if name == room or name.startswith(f"{room}.")}
    assert members
    for name, path in members.items():
        outside = {found.split(".")[0] for found in imports(path)}
        assert not outside & FORBIDDEN[room], name


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_is_imported_in_its_room_alone(package: str) -> None:
    users = {name for name, path in MODULES.items() if package in {i.split(".")[0] for i in imports(path)}}
    assert users
    assert {name.split(".")[0] for name in users} == {ONLY_IN[package]}


def test_nothing_but_the_command_line_imports_stages() -> None:
    users = {name for name, path in MODULES.items() if any(i.startswith("stages") for i in own_imports(path))}
    assert {name.split(".")[0] for name in users} <= {"stages", "commands"}


def closure(module: str) -> set[str]:
    """The modules that a stage runs on, without those that cannot change its numbers."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        room = name.split(".")[0]
        if name in found or name in EXEMPT or room in EXEMPT:
            continue
        found.add(name)
        waiting += own_imports(MODULES[name])
    return found


def covered(module: str, deps: list[str]) -> bool:
    path = MODULES[module].relative_to(ROOT).as_posix()
    return any(path == dep or path.startswith(f"{dep}/") for dep in deps)


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Rooms whose __init__ is lazy: a stage that takes one name from it runs on the module behind that name alone.
LAZY = {
    "plan": {"data": {"data.augmentations.schema"}, "rng": set()},
    "measure": {"saliency": {"saliency.finishing"}},
    "compare": {"saliency": {"saliency.finishing"}},
    "analyse": {"saliency": {"saliency.finishing"}},
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs_on(stage: str) -> None:
    name = stage.removesuffix("_reference")
    deps = [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    if name == "collect":
        assert STAGES[stage]["always_changed"]  # it runs every time, so it needs no code among its dependencies
        return
    needed = closure(f"stages.{name}")
    for room, modules in LAZY.get(name, {}).items():
        needed = {module for module in needed if module.split(".")[0] != room} | modules
    missing = sorted(module for module in needed if not covered(module, deps))
    assert missing == [], f"{stage} runs on {missing}: add them to its deps in dvc.yaml"
    unused = [dep for dep in deps if not any(covered(module, [dep]) for module in needed)]
    assert unused == [], f"{stage} does not run on {unused}"


HEAVY = {
    "augs": {"mlflow", "timm"},
    "plan": {"torch", "mlflow", "pandas", "matplotlib", "scipy", "timm"},
    "prepare": {"torch", "mlflow", "pandas", "matplotlib", "timm"},
    "train": {"mlflow", "pandas", "matplotlib", "pytorch_grad_cam", "scipy", "sklearn"},
    "explain": {"mlflow", "pandas", "matplotlib", "pytorch_grad_cam", "scipy", "sklearn"},
    "measure": {"torch", "mlflow", "matplotlib", "timm", "pytorch_grad_cam"},
    "collect": {"torch", "matplotlib", "timm"},
    "compare": {"torch", "mlflow", "timm", "pytorch_grad_cam"},
    "report": {"torch", "mlflow", "timm"},
}


@pytest.mark.parametrize("stage", HEAVY)
def test_a_stage_imports_no_library_that_it_does_not_need(stage: str) -> None:
    code = (
        f"import sys, auglens.stages.{stage}\n"
        "if sys.argv[1] in ('train', 'explain'):\n"
        "    from auglens.config import ModelConfig\n"
        "    from auglens.models import build\n"
        "    build(ModelConfig('test_resnet', 64, 8, 0.0, 0.0), 10, init_seed=0)\n"
        f"print(*({HEAVY[stage]} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, stage], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, auglens.cli; auglens.cli.parser(); print(*({'numpy', 'torch', 'yaml'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
