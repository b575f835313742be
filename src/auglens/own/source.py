"""The file of one's own as a value, and whose names are in use. Nothing of the file is run here."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from auglens.data.augmentations import schema
from auglens.own.names import AUGMENTATION, Declaration
from auglens.own.reading import declarations

# What stages or remotes write: nothing there is ever run.
_WRITTEN = ("cams", "data", "mlartifacts", "mlruns", "models", "reports")


@dataclass(frozen=True)
class Source:
    """A file of one's own: its path in the project, its text and what it declares by name."""

    path: str = ""
    text: str = ""
    declared: Mapping[str, Declaration] = field(default_factory=dict)

    def names(self, kind: str) -> tuple[str, ...]:
        return tuple(name for name, found in self.declared.items() if found.kind == kind)


_current = Source()
_functions: dict[str, Callable[..., Any]] = {}


def current() -> Source:
    """The file in use, or an empty `Source`."""
    return _current


def use(source: Source | None, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
    """Make the names of `source`, and of no other, known wherever the built-in ones are. None: no names.

    functions: by name, where the file has been loaded; without them a name can be used, not applied.
    """
    global _current, _functions
    _current, _functions = source or Source(), dict(functions or {})
    declared = _current.declared
    augs = {name: declared[name] for name in _current.names(AUGMENTATION)}
    specs = {name: schema.own_spec(aug.knobs, aug.words, _functions.get(name)) for name, aug in augs.items()}
    schema.register_own(specs)


def function(name: str) -> Callable[..., Any]:
    """The function behind a name. ValueError where its file has not been loaded."""
    if name not in _functions:
        raise ValueError(f"{name} is one's own and not loaded; see auglens.own.loading")
    return _functions[name]


def check_path(path: str) -> None:
    """ValueError unless `path` names a Python file inside the project that no stage or remote writes."""
    pure = PurePosixPath(path)
    plain = not pure.is_absolute() and str(pure) == path and "\\" not in path and pure.suffix == ".py"
    if not plain or any(part.startswith(".") for part in pure.parts):
        raise ValueError(
            f"parameter own: expected a Python file in the project, as examples/own.py, got {path!r};"
            " copy the file into the project"
        )
    if pure.parts[0] in _WRITTEN:
        raise ValueError(
            f"parameter own: expected a file of your own, got {path!r}, in a folder that stages and remotes write;"
            " nothing there is run: read the file, then copy it elsewhere in the project"
        )


def read(path: str) -> Source:
    """The declarations of the file. Raises a ValueError of one line naming file, line, function and rule."""
    check_path(path)
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"parameter own: {path}: no such file; write it, or name another")
    if not file.resolve().is_relative_to(Path.cwd().resolve()):
        raise ValueError(f"parameter own: {path} leads out of the project; copy the file into it")
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        told = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"{path}{line}: not Python ({told}); correct it") from None
    return Source(path, text, declarations(path, text, tree))
