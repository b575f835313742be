"""Parameters → one spec per cell, with every parameter resolved and hashed into its keys.

A cell's stages read its spec and nothing else of the parameters, so that a change of parameters reruns exactly
the cells whose spec it changes. Settings of a later stage never enter an earlier key.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from auglens.artifacts import hash_values
from auglens.config import REFERENCE, RESEED, STREAMS, Config
from auglens.data.augmentations import schema
from auglens.own import names
from auglens.own.source import Source


@dataclass(frozen=True)
class Cell:
    """One model of the study: what trains it, what explains it, and the keys under which it is known."""

    name: str
    aug: str
    seed: int
    aug_key: str  # what all seeds of this aug share: its parts, their parameters and what varies
    train: dict[str, Any]
    maps: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """All cells of a study, the reference first, and the key that they share."""

    cells: tuple[Cell, ...]
    study_key: str
    live: dict[str, Any] | None  # where trainings are fed to while they run
    own: dict[str, Any] | None = None  # what it uses of one's own: path, and per name kind, definition, code

    @property
    def reference(self) -> Cell:
        return self.cells[0]

    @property
    def measure(self) -> dict[str, Any]:
        """What `measure` needs beside its parameters: the metrics of one's own, name → code, and their file."""
        told = self.own["names"] if self.own else {}
        metrics = {name: found["code"] for name, found in told.items() if found["kind"] == names.METRIC}
        return {"metrics": metrics} | ({"own": self.own["path"]} if self.own and metrics else {})

    def index(self) -> dict[str, Any]:
        """What `collect` needs to know of every cell."""
        metrics = self.measure["metrics"]
        own = {"own": self.own} if self.own else {}
        return (own | {"own_metrics": hash_values(metrics)} if metrics else own) | {
            "study_key": self.study_key,
            "reference_train_key": self.reference.train["train_key"],
            "live": self.live,
            "variant": self.reference.maps["variant"],
            "cells": [
                {
                    "cell": cell.name,
                    "aug": cell.aug,
                    "seed": cell.seed,
                    "aug_key": cell.aug_key,
                    "train_key": cell.train["train_key"],
                    "map_key": cell.maps["map_key"],
                    "cell_key": hash_values([self.study_key, cell.maps["map_key"], cell.name]),
                }
                for cell in self.cells
            ],
        }


def streams(
    config: Config, seed: int, vary: tuple[str, ...], parts: list[dict[str, Any]]
) -> dict[str, int | None]:
    """The seed of every random stream of a cell; None where nothing draws from it, so that equal cells share
    a key. A varied `init` or `order` is moved off the reference's own by 1 + seed, which is never 0."""
    base = config.streams
    draws = schema.draws_anything([(part["name"], part["params"]) for part in parts])
    model = config.model  # a bottleneck samples from dropout's stream
    dropout = model.dropout > 0 or model.drop_path > 0 or model.precode_size > 0
    return {
        "augmentation": (seed if "augmentation" in vary else 0) if draws else None,
        "dropout": (seed if "dropout" in vary else 0) if dropout else None,
        "init": base.init_seed + (1 + seed if "init" in vary else 0),
        "order": base.order_seed + (1 + seed if "order" in vary else 0),
    }


def _own(config: Config, source: Source | None) -> dict[str, Any] | None:
    """What the study uses of one's own; ValueError where `source` does not declare it."""
    used = config.own_names
    missing = [name for name in used if source is None or name not in source.declared]
    if source is None or missing:
        if missing:
            raise ValueError(f"plan: {missing[0]} is one's own: expected its declaration; pass read(config.own)")
        return None
    told = {name: source.declared[name] for name in used}
    found = {
        name: {"kind": one.kind, "definition": one.definition, "code": one.code}
        | ({"higher_is_closer": one.higher_is_closer} if one.kind == names.METRIC else {})
        for name, one in told.items()
    }
    return {"path": source.path, "names": found} if found else None


def _cell(config: Config, aug: str, seed: int, data: str, own: dict[str, Any] | None) -> Cell:
    mine = own["names"] if own else {}
    path = {"own": own["path"]} if own else {}
    parsed = () if aug in (REFERENCE, RESEED) else schema.parse(aug)
    parts = [
        {"name": name, "params": dict(config.aug.of(name) or {})}
        | ({"code": mine[name]["code"]} if name in mine else {})
        for name in parsed
    ]
    vary = {REFERENCE: (), RESEED: STREAMS}.get(aug, config.streams.vary)
    decides: dict[str, Any] = {
        "data": data,
        "model": asdict(config.model.deciding),
        "train": asdict(config.train),
        "parts": parts,
        "halves": 2 if parts else 1,
        "streams": streams(config, seed, vary, parts),
        "task": config.data.task,
    }
    if schema.active_part(parsed):
        decides["layer"] = config.maps.layer  # whose maps it looks at
    if config.classic.parts:
        classic = config.classic
        decides["classic"] = [{"name": name, "params": dict(classic.parameters[name])} for name in classic.parts]
        decides["classic_from"] = classic.from_epoch
    name = REFERENCE if aug == REFERENCE else f"{aug}-{seed}"
    head = {"cell": name, "aug": aug, "seed": seed}
    # Where the file lies decides nothing, its code does.
    watched = {name: value for name, value in decides["train"].items() if name != "watch_test"}  # it only looks
    train = (
        head
        | {"train_key": hash_values(decides | {"train": watched})}
        | decides
        | (path if mine.keys() & set(parsed) else {})
    )
    explains = asdict(config.maps) | {"threads": config.train.threads, "device": config.train.device}
    if config.maps.method in mine:
        explains |= {"code": mine[config.maps.method]["code"]}
    map_key = hash_values([train["train_key"], explains])
    maps = head | {"map_key": map_key, "train_key": train["train_key"], "variant": config.maps.variant} | explains
    maps |= path if config.maps.method in mine else {}
    return Cell(name, aug, seed, hash_values([aug, parts, vary]), train, maps)


def make_plan(config: Config, data: str, source: Source | None = None) -> Plan:
    """The cells of `config` over prepared data whose content hash is `data`. source: the file of one's own, where
    the study uses any of it."""
    own = _own(config, source)
    augs = [(aug, seed) for aug in config.aug.names for seed in config.seeds]
    cells = tuple(_cell(config, aug, seed, data, own) for aug, seed in [(REFERENCE, 0), *augs])
    explains = asdict(config.maps) | {"metrics": asdict(config.measure), "score": asdict(config.score)}
    explains |= {"robustness": asdict(config.robustness)}
    shared = [name for name in config.own_names if name not in config.own_augs]
    if own and shared:
        explains |= {"own": {name: own["names"][name]["code"] for name in shared}}
    tracking = config.tracking
    live = {"uri": tracking.uri, "experiment": tracking.experiment} if tracking.live else None
    return Plan(cells, hash_values([cells[0].train["train_key"], explains]), live, own)
