"""conf/search/NAME.yaml → what is searched. Imports neither optuna nor torch.

question: …            one sentence
extends: other         a file beside it whose keys this one adds to (base: after its own)
base: [data=shapes]    Hydra overrides of every trial
aug: reseed            the aug of every trial's cells
seeds: [1, 2, 3]       of every trial; its values are means over them
design: grid           grid, one_at_a_time, tpe or nsga2
trials: 20             of tpe and nsga2
objectives: {accuracy: maximize, iou_area.gradcam: maximize}
space:
  model.norm: [batch, none]                          a parameter and its levels
  train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}   a range (tpe and nsga2)
  norm: {batch: [model.norm=batch], groups of 16: [model.norm=group, model.norm_channels=16]}   named levels
sizes: {quick: {seeds: [1], base: [profile=quick]}}  what `--size quick` changes
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Level = str | int | float | bool | None
Point = dict[str, Level]  # factor → its level: a value, or the name of a level
DESIGNS = ("grid", "one_at_a_time", "tpe", "nsga2")
DIRECTIONS = ("maximize", "minimize")
KEYS = (
    "question", "extends", "base", "aug", "seeds", "design", "trials", "objectives", "space", "sizes", "seed",
)  # fmt: skip
FULL = "full"


@dataclass(frozen=True)
class Range:
    """Of a parameter: from low to high, both included; whole numbers where `whole`; log: even on a log scale."""

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Search:
    """space: factor → its levels, each with the overrides that set it, or a range."""

    name: str
    question: str
    base: tuple[str, ...]
    aug: str
    seeds: tuple[int, ...]
    design: str
    trials: int
    objectives: Mapping[str, str]
    space: Mapping[str, Mapping[Level, tuple[str, ...]] | Range] = field(default_factory=dict)
    seed: int = 0
    extra: tuple[str, ...] = ()  # overrides of whoever started it: after the search's own, before a point's

    @property
    def finite(self) -> bool:
        return not any(isinstance(levels, Range) for levels in self.space.values())

    def points(self) -> Iterator[Point]:
        """Every point of a design without a sampler, in order; first levels are one_at_a_time's baseline."""
        levels = {name: list(found) for name, found in self.space.items() if not isinstance(found, Range)}
        if self.design != "one_at_a_time":
            for chosen in itertools.product(*levels.values()):
                yield dict(zip(levels, chosen, strict=True))
            return
        baseline: Point = {name: found[0] for name, found in levels.items()}
        yield baseline
        for name, found in levels.items():
            for level in found[1:]:
                yield {**baseline, name: level}

    def overrides(self, point: Mapping[str, Level]) -> list[str]:
        """Hydra's overrides of a trial, those of its point last."""
        found = [*self.base, f"aug.names=[{self.aug}]", f"seeds=[{','.join(map(str, self.seeds))}]", *self.extra]
        for name, level in point.items():
            levels = self.space[name]
            found += [f"{name}={_text(level)}"] if isinstance(levels, Range) else levels[level]
        return [*found, "tracking.live=false"]  # trials are published when they are finished

    def identity(self) -> dict[str, Any]:
        """What makes two searches the same: all but the words."""
        space = {
            name: vars(levels) if isinstance(levels, Range) else [[_text(k), list(v)] for k, v in levels.items()]
            for name, levels in self.space.items()
        }
        return {
            "base": list(self.base), "aug": self.aug, "seeds": list(self.seeds), "design": self.design,
            "objectives": list(self.objectives.items()), "space": space, "seed": self.seed,
            "extra": list(self.extra),
        }  # fmt: skip


def names(folder: Path) -> list[str]:
    """The searches of a folder; files that begin with _ are there to be extended."""
    if not folder.is_dir():
        raise ValueError(f"search: no folder {folder}; run auglens in the project's top folder")
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.stem.startswith("_"))


def load(folder: Path, name: str, *, size: str = FULL, extra: tuple[str, ...] = ()) -> Search:
    """The search `name` of `folder`, at `size`, with `extra` overrides after its own.

    ValueError in one line: what is wrong in which file, and the fix.
    """
    values = _merged(folder, name, ())
    where = f"conf/search/{name}.yaml"
    sizes = values.pop("sizes", {})
    if size != FULL:
        if size not in sizes:
            raise ValueError(f"{where}: no size {size!r}; use one of {', '.join([FULL, *sizes])}")
        values = _joined(values, _checked(sizes[size], f"{where}: sizes.{size}"))
    space, aug, seed = values.get("space"), values.get("aug", "reseed"), values.get("seed", 0)
    _require(isinstance(space, Mapping) and bool(space), where, "space", "factors with their levels", space)
    _require(isinstance(aug, str), where, "aug", "one aug", aug)
    _require(type(seed) is int and 0 <= seed < 2**31, where, "seed", "a whole number from 0", seed)
    space = {str(key): _levels(str(key), found, where) for key, found in values["space"].items()}
    design, objectives = values.get("design", "grid"), values.get("objectives", {})
    _require(design in DESIGNS, where, "design", f"one of {', '.join(DESIGNS)}", design)
    right = isinstance(objectives, Mapping) and objectives and all(v in DIRECTIONS for v in objectives.values())
    _require(bool(right), where, "objectives", "metric: maximize or minimize, one or more", objectives)
    seeds = values.get("seeds", [1])
    whole = isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)
    _require(bool(whole) and len(set(seeds)) == len(seeds), where, "seeds", "whole numbers, each once", seeds)
    trials = values.get("trials", 0)
    found = Search(
        name=name if size == FULL else f"{name}-{size}", question=str(values.get("question", "")),
        base=tuple(values.get("base", ())), extra=extra,
        aug=aug, seeds=tuple(seeds), design=design, trials=trials,
        objectives={str(key): str(direction) for key, direction in objectives.items()}, space=space,
        seed=seed,
    )  # fmt: skip
    sampled = design in ("tpe", "nsga2")
    _require(not sampled or (type(trials) is int and trials >= 1), where, "trials", "1 or more", trials)
    _require(sampled or found.finite, where, "space", f"levels, not ranges, for design {design}", "a range")
    keys = {word.partition("=")[0].lstrip("+~") for word in extra}
    ours = {word.partition("=")[0] for levels in space.values() if not isinstance(levels, Range)
            for words in levels.values() for word in words} | set(space)  # fmt: skip
    if keys & ours:
        raise ValueError(f"search {name}: -S {min(keys & ours)}: the search varies it itself; change {where}")
    return found


def _merged(folder: Path, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = folder / f"{name}.yaml"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not path.is_file():
        known = names(folder)
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ValueError(f"search: no search {name!r} in {folder}; {hint}")
    try:
        values = _checked(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]}); correct it") from None
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if parent in (name, *seen):
        raise ValueError(f"{path}: extends {parent!r}, which extends it again; leave one of them out")
    return _joined(_merged(folder, str(parent), (name, *seen)), values)


def _checked(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping, got {type(values).__name__}; see docs/search.md")
    for key in values:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(KEYS)}"
            raise ValueError(f"{where}: {key}: unknown; {hint}")
    base, sizes = values.get("base", []), values.get("sizes", {})
    if not isinstance(sizes, Mapping) or not all(isinstance(size, Mapping) for size in sizes.values()):
        raise ValueError(
            f"{where}: sizes: expected a mapping of what each size changes, got {sizes!r}; correct it"
        )
    if not isinstance(base, list) or not all(isinstance(word, str) and "=" in word for word in base):
        raise ValueError(f"{where}: base: expected overrides as [data=shapes], got {base!r}; correct it")
    return dict(values)


def _joined(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The child's keys win; bases come one after the other, sizes are joined size by size."""
    found = {**parent, **child, "base": [*parent.get("base", []), *child.get("base", [])]}
    first, second = parent.get("sizes", {}), child.get("sizes", {})
    if first or second:
        found["sizes"] = {
            size: _joined(first.get(size, {}), second.get(size, {})) for size in dict.fromkeys([*first, *second])
        }
    return found


def _levels(name: str, values: Any, where: str) -> Mapping[Level, tuple[str, ...]] | Range:
    if isinstance(values, list):
        scalar = all(isinstance(value, str | int | float | bool) or value is None for value in values)
        _require(scalar and len(values) > 0, where, f"space.{name}", "a list of values", values)
        return {value: (f"{name}={_text(value)}",) for value in values}
    _require(isinstance(values, Mapping) and bool(values), where, f"space.{name}", "levels or a range", values)
    if {"low", "high"} <= set(values):
        unknown = set(values) - {"low", "high", "log"}
        _require(not unknown, where, f"space.{name}", "low, high and log", sorted(unknown))
        low, high, log = values["low"], values["high"], bool(values.get("log", False))
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
        _require(numbers and low < high, where, f"space.{name}", "numbers, low below high", values)
        _require(not log or low > 0, where, f"space.{name}.low", "above 0 for a log scale", low)
        return Range(low, high, log, isinstance(low, int) and isinstance(high, int))
    found: dict[Level, tuple[str, ...]] = {}
    for level, words in values.items():
        right = isinstance(words, list) and all(isinstance(word, str) and "=" in word for word in words)
        _require(right, where, f"space.{name}.{level}", "a list of overrides as [model.norm=none]", words)
        found[level] = tuple(words)
    return found


def _text(value: Level) -> str:
    """As Hydra's command line takes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require(ok: bool, where: str, key: str, expected: str, got: object) -> None:
    if not ok:
        raise ValueError(f"{where}: {key}: expected {expected}, got {got!r}; correct it")
