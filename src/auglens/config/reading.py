"""YAML → the frozen dataclasses of `groups`. Unknown keys and wrong types raise, naming the key and the fix."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from auglens.config.augs import AugConfig, ClassicConfig
from auglens.config.checks import require
from auglens.config.groups import Config
from auglens.data.augmentations import schema
from auglens.own import names, source


def _convert(value: Any, annotation: Any, key: str) -> Any:
    """`value` from YAML as the type of a field; a whole number serves as a float, nothing else is bent."""
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
        origin = typing.get_origin(annotation)
    if origin is tuple:
        inner = typing.get_args(annotation)[0]
        require(isinstance(value, list | tuple), key, "a list", value)
        return tuple(_convert(item, inner, key) for item in value)
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if annotation is str and value is True:  # YAML and Hydra read the word in `maps.target=true` as a boolean
        return "true"
    if annotation is AugConfig:
        require(isinstance(value, Mapping), key, "a mapping", value)
        names = _convert(value.get("names"), tuple[str, ...], f"{key}.names")
        return AugConfig(names, _parameters(value, ("names",), key))
    if annotation is ClassicConfig:
        require(isinstance(value, Mapping), key, "a mapping", value)
        chain = _convert(value.get("chain"), str | None, f"{key}.chain")
        start = _convert(value.get("from_epoch", 0), int, f"{key}.from_epoch")
        return ClassicConfig(chain, start, _parameters(value, ("chain", "from_epoch"), key))
    if hasattr(annotation, "__dataclass_fields__"):
        return _build(annotation, value, key)
    right = isinstance(value, annotation) and (annotation is bool or not isinstance(value, bool))
    require(right, key, f"a value of type {annotation.__name__}", value)
    return value


def _parameters(values: Mapping[str, Any], others: tuple[str, ...], where: str) -> dict[str, dict[str, Any]]:
    """The parameters of augmentations by their names, without `others` and what is null."""
    found = {name: one for name, one in values.items() if name not in others and one is not None}
    for name, one in found.items():
        require(
            isinstance(one, Mapping), f"{where}.{name}", f"a mapping, or {' or '.join(others)} as the name", one
        )
    return {name: dict(one) for name, one in found.items()}


def _build(cls: Any, values: Any, where: str) -> Any:
    require(isinstance(values, Mapping), where or "the parameters", "a mapping", values)
    hints = typing.get_type_hints(cls)
    names = {f.name: f for f in fields(cls)}
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(names)}"
            raise ValueError(f"parameter {prefix}{key}: unknown; {hint}")
    for name, spec in names.items():
        if name not in values and spec.default is MISSING:
            raise ValueError(f"parameter {prefix}{name}: missing; add it to params.yaml or conf/")
    return cls(**{key: _convert(value, hints[key], f"{prefix}{key}") for key, value in values.items()})


def _foreign(values: Any) -> bool:
    """Whether the parameters name an aug, a map method or a metric that is none of auglens's."""
    groups = (values.get(key) if isinstance(values, Mapping) else None for key in ("aug", "maps", "measure"))
    aug, maps, measure = (dict(found) if isinstance(found, Mapping) else {} for found in groups)
    lists = (aug.pop("names", None), measure.get("further"))
    augs, further = (found if isinstance(found, list) else [] for found in lists)
    parts = {part for name in augs for part in str(name).split("+")} | set(aug)
    known = parts <= schema.SPECS.keys() and set(map(str, further)) <= set(names.FURTHER)
    return not known or maps.get("method", "gradcam") not in names.METHODS


def from_mapping(values: Mapping[str, Any]) -> Config:
    """The whole of `params.yaml`, checked. Raises ValueError in one line naming the key and the fix.

    Where a name is none of auglens's, the file that `own` names is read for it, but not run.
    """
    source.use(None)
    if not _foreign(values):
        return _build(Config, values, "")
    path = values.get("own")
    if not isinstance(path, str) or not Path(path).exists():
        try:
            return _build(Config, values, "")
        except ValueError as error:
            raise ValueError(f"{error} (if it is one's own: parameter own: no file {path!r})") from None
    source.use(source.read(path))
    return _build(Config, values, "")


def load(path: Path | str = "params.yaml") -> Config:
    """Read and check `path`."""
    try:
        values = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run auglens in the project's top folder") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]}); correct it") from None
    return from_mapping(values)
