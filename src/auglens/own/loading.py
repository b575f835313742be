"""Running the file of one's own: only for what uses it, and only with the code that the plan named.

It is code of the user's own project, run with the user's rights, like any script of the project. Nothing that
comes from MLflow or a remote is imported.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auglens.own.source import Source, read, use


@dataclass(frozen=True)
class Own:
    """A loaded file: what it declares, and the functions by name."""

    source: Source
    functions: Mapping[str, Callable[..., Any]]


def load(path: str, codes: Mapping[str, str] | None = None) -> Own:
    """Run the file at `path` (relative to the project, the working folder) and make its augs applicable.

    codes: name → the code that a spec names; ValueError where the file's differs, before anything is run.
    ValueError, too, where the file cannot be read or run, or imports other code of the project.
    """
    source = read(path)
    for name, code in (codes or {}).items():
        if name not in source.declared or source.declared[name].code != code:
            raise ValueError(f"{path}: {name}: its code changed since the plan; run `dvc repro`")
    _refuse_local_imports(source)
    module = _run(source)
    functions = {name: getattr(module, name) for name in source.declared}
    use(source, functions)
    return Own(source, functions)


def _run(source: Source) -> types.ModuleType:
    """The module, made from the text that was read: never from byte code, which may be of an older text."""
    name = f"_auglens_own_{Path(source.path).stem}"
    module = types.ModuleType(name)
    module.__file__ = str(Path(source.path).resolve())
    sys.modules[name] = module  # dataclasses and typing look their module up
    try:
        exec(compile(source.text, source.path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        told = " ".join(str(error).split())
        raise ValueError(f"{source.path}: cannot be run: {type(error).__name__}: {told}; correct it") from None
    return module


def _refuse_local_imports(source: Source) -> None:
    """Code of the project in another file would be in no key."""
    names = set()
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    here = Path.cwd().resolve()
    for name in sorted(names):
        top = name.split(".")[0]
        if top == "auglens" or top in sys.stdlib_module_names:
            continue
        found = importlib.util.find_spec(top) if top else None
        places = [found.origin, *(found.submodule_search_locations or ())] if found else []
        paths = [Path(place).resolve() for place in places if place]
        if not top or any(path.is_relative_to(here) and "site-packages" not in path.parts for path in paths):
            raise ValueError(
                f"{source.path}: imports {name}, another file of the project, whose code would be in no key;"
                " put it into this file"
            )
