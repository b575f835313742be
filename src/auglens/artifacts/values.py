"""Text, JSON and arrays on disk, and the hashes that keys are made of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auglens.artifacts.replacing import atomic

Array = np.ndarray[Any, Any]


def sha256(path: Path | str) -> str:
    """Hexadecimal digest of a file's content; ValueError where it is missing."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run `dvc repro` to make it") from None


def hash_values(values: object) -> str:
    """Hexadecimal sha256 of `values` as canonical JSON: how every key is made."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """numpy scalars as Python's; NaN and infinities, which JSON has not, as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def save_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(path: Path | str, values: object) -> None:
    save_text(path, json.dumps(plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def load_json(path: Path | str, keys: Sequence[str] = ()) -> Any:
    """The values in `path`; ValueError where it is missing, is not JSON or lacks one of `keys`."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path}: not JSON; delete it and run `dvc repro`") from None
    missing = [key for key in keys if not isinstance(values, dict) or key not in values]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; delete it and run `dvc repro`")
    return values


def save_arrays(path: Path | str, **arrays: Array) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_arrays(path: Path | str, names: Sequence[str], *, beside: Sequence[str] = ()) -> dict[str, Array]:
    """The named arrays of an NPZ file; ValueError where it is missing, damaged or lacks one. beside: those of
    these that there are, too."""
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in (*names, *(name for name in beside if name in file))}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run `dvc repro` to make it") from None
    except KeyError as error:
        raise ValueError(f"{path}: lacks {error.args[0]}; delete it and run `dvc repro`") from None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError):
        raise ValueError(f"{path}: not an NPZ file of arrays; delete it and run `dvc repro`") from None
