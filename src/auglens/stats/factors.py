"""Cells → models and configurations, and which factors were varied with all else equal. docs/influence.md.

A configuration is all parameters but the seeds. Parameters that mean something only together (the kind of norm and
its groups, an aug and its parameters) are one setting, and what cannot matter beside the others is left out of it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.resampling import RESEED
from auglens.stats.seeds import REFERENCE

Setting = tuple[Any, ...]
# name of a factor → (title, the parameters that it is made of), in the order of the tables
SETTINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "depth": ("Network depth", ("model.name",)),
    "network": ("Network", ("model.name",)),
    "epochs": ("Epochs", ("train.epochs",)),
    "batch_size": ("Batch size", ("train.batch_size",)),
    "weight_decay": ("Weight decay", ("train.weight_decay_l1", "train.weight_decay")),
    "dropout": ("Dropout", ("model.dropout",)),
    "norm": ("Normalisation", ("model.norm", "model.norm_channels", "model.norm_groups")),
    "precode": ("PRECODE", ("model.precode_size", "model.precode_beta")),
    "aug": ("Augmentation", ("aug", "halves")),
    "data": ("Data", ("data.name", "data.content")),
}
TOGETHER = {name: setting for setting, (_, names) in SETTINGS.items() if setting != "depth" for name in names}
# Seeds make replicates; the rest of these cannot change a score. maps.method: every method's scores have its name.
LEFT_OUT = re.compile(
    r"seed|.+[._]seed|streams\..+|maps\.(method|batch_size)|train\.watch_test|score\.(methods|faithfulness|"
    r"sanity_images)|(tracking|collect|analysis)\..+"
)
OFF = {"train.weight_decay", "train.weight_decay_l1", "model.dropout", "model.drop_path", "model.precode_size"}
NORMS = {"none": "no norm", "batch": "batch norm", "group": "group norm"}
PAIRED_BY = ("seed", "streams.init", "streams.order")


@dataclass(frozen=True)
class Models:
    """table: a row per model (configuration, train_key, cell, seed, pair: equal where two models of different
    configurations share their seeds); values: float64, the same rows × (score, method); configurations: setting →
    value; of_cell: int [cells], the configuration of each cell that was given."""

    table: pd.DataFrame
    values: pd.DataFrame
    configurations: tuple[Mapping[str, Setting], ...]
    of_cell: NDArray[np.int64]

    def rows(self, configuration: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.table["configuration"].to_numpy() == configuration)


@dataclass(frozen=True)
class Factor:
    """levels: label → configuration, equal in all other settings; baseline: the level that others are compared
    with."""

    name: str
    title: str
    levels: Mapping[str, int]
    baseline: str


def models_of(parameters: pd.DataFrame, values: pd.DataFrame, keys: pd.DataFrame) -> Models:
    """parameters: object [cells × names as in MLflow], None where not set; values: float64 [cells × (score,
    method)]; keys: columns train_key, cell, seed; all with the same rows.

    Cells of one configuration with equal train keys are one model: of each score the first finite value.
    """
    found: dict[Hashable, int] = {}
    settings = [settings_of(row) for row in parameters.to_dict("records")]
    of_cell = np.array([found.setdefault(tuple(sorted(one.items())), len(found)) for one in settings], np.int64)
    first = [int(np.flatnonzero(of_cell == number)[0]) for number in range(len(found))]
    table = keys[["train_key", "cell", "seed"]].reset_index(drop=True).assign(configuration=of_cell)
    shared = [parameters[name] if name in parameters else keys.get(name) for name in PAIRED_BY]
    known = [column.tolist() for column in shared if column is not None]
    table["pair"] = ["/".join(map(str, one)) for one in zip(*known, strict=True)]
    of_model = table.groupby(["configuration", "train_key"], sort=False).ngroup().to_numpy()
    names: Any = values.columns.tolist()
    named = values.reset_index(drop=True).set_axis(pd.MultiIndex.from_tuples(names), axis=1)
    each = named.groupby(of_model).first().sort_index(axis=1)
    kept = table.groupby(of_model).head(1).reset_index(drop=True)
    return Models(kept, each.reset_index(drop=True), tuple(settings[at] for at in first), of_cell)


def settings_of(parameters: Mapping[Hashable, Any]) -> dict[str, Setting]:
    """A cell's parameters → setting → values, what cannot matter as None."""
    plain = {str(name): None if value != value else value for name, value in parameters.items()}
    given = {name: 0 if value is None and name in OFF else value for name, value in plain.items()}
    if given.get("aug") == RESEED:  # the reference with other initial weights and order: another seed of it
        given["aug"] = REFERENCE
    given["model.norm"] = given.get("model.norm") or "batch"  # what a run before there was a choice had
    if given["model.norm"] != "group":
        given |= {"model.norm_channels": None, "model.norm_groups": None}
    if not given.get("model.precode_size"):
        given |= {"model.precode_size": 0, "model.precode_beta": None}
    found: dict[str, Setting] = {
        setting: tuple(given.get(name, 0 if name in OFF else None) for name in names)
        for setting, (_, names) in SETTINGS.items()
        if setting != "depth"
    }
    own = sorted((name.removeprefix("aug."), value) for name, value in given.items() if name.startswith("aug."))
    found["aug"] += tuple((name, value) for name, value in own if value is not None)
    for name, value in given.items():
        if name not in TOGETHER and not name.startswith("aug.") and not LEFT_OUT.fullmatch(name):
            found[name] = (value,)
    return found


def find_factors(models: Models, baseline: int | None = None) -> tuple[int, list[Factor]]:
    """(the baseline's configuration, every factor). A factor is a setting in which two or more configurations
    differ and agree in all others: a family.

    baseline: a configuration, else the one in the most families, then with the most models, then the first. Of a
    factor the family with the baseline is taken, else the largest, and of that the level with the most models.
    """
    sizes = models.table["configuration"].value_counts().reindex(range(len(models.configurations))).to_numpy()
    families = {setting: _families(models.configurations, setting) for setting in models.configurations[0]}
    families = {setting: found for setting, found in families.items() if found}
    if baseline is None:
        member = np.zeros(len(sizes), dtype=np.int64)
        for found in families.values():
            member[[one for family in found for one in family]] += 1
        baseline = max(range(len(sizes)), key=lambda one: (member[one], sizes[one], -one))
    factors = []
    for setting in sorted(families, key=_place):
        with_it = [family for family in families[setting] if baseline in family]
        family = (with_it or sorted(families[setting], key=len, reverse=True))[0]
        start = baseline if with_it else max(family, key=lambda one: (sizes[one], -one))
        values = {one: models.configurations[one][setting] for one in family}
        family = sorted(family, key=lambda one: [_sortable(part) for part in _ordered(setting, values[one])])
        labels = dict(zip(family, level_labels(setting, [values[one] for one in family]), strict=True))
        title = SETTINGS[setting][0] if setting in SETTINGS else setting
        levels = {labels[one]: one for one in family}
        factor = Factor(re.sub(r"\W+", "_", setting), title, levels, labels[start])
        deep = depth_of(factor, sizes) if setting == "network" else None
        if deep is not None:
            factors.append(deep)
        if deep is None or len(deep.levels) < len(levels):
            factors.append(factor)
    return baseline, factors


def depth_of(network: Factor, sizes: Sequence[int] | NDArray[Any]) -> Factor | None:
    """The networks that differ in a number alone (resnet18, resnet34): those with the baseline, else the most."""
    kinds: dict[str, list[str]] = {}
    for level in network.levels:
        if re.search(r"\d", level):
            kinds.setdefault(re.sub(r"\d+", "#", level, count=1), []).append(level)
    several = [names for names in kinds.values() if len(names) > 1]
    if not several:
        return None
    names = max(several, key=lambda names: (network.baseline in names, len(names)))
    start = network.baseline if network.baseline in names else max(names, key=lambda n: sizes[network.levels[n]])
    levels = {name: network.levels[name] for name in names}
    return replace(network, name="depth", title=SETTINGS["depth"][0], levels=levels, baseline=start)


def level_labels(setting: str, values: Sequence[Setting]) -> list[str]:
    """One label each, all different."""
    labels = [_label(setting, value) for value in values]
    for label in {one for one in labels if labels.count(one) > 1}:
        same = [place for place, one in enumerate(labels) if one == label]
        common = set.intersection(*(set(values[place]) for place in same))
        for place in same:
            rest = [part for part in values[place] if part not in common]
            told = [f"{part[0]} {_plain(part[1])}" if isinstance(part, tuple) else _plain(part) for part in rest]
            labels[place] = f"{label} ({', '.join(told) or 'otherwise'})"
    return [
        label if labels.index(label) == place else f"{label} #{place + 1}" for place, label in enumerate(labels)
    ]


def _label(setting: str, value: Setting) -> str:
    if setting == "norm":
        kind, channels, groups = value
        if kind == "group" and channels:
            return f"group of {channels} channels"
        if kind == "group" and groups:
            return f"{groups} groups"
        return NORMS.get(kind, str(kind))
    if setting == "precode":
        size, beta = value
        return f"{size}, β {_plain(beta)}" if size else "no PRECODE"
    if setting == "weight_decay":
        parts = [f"{kind} {_plain(one)}" for kind, one in zip(("L1", "L2"), value, strict=True) if one]
        return " + ".join(parts) or "no weight decay"
    return _plain(value[0])


def _plain(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else str(value) if len(str(value)) <= 40 else f"{str(value)[:8]}…"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _families(configurations: Sequence[Mapping[str, Setting]], setting: str) -> list[list[int]]:
    found: dict[Hashable, list[int]] = {}
    for number, one in enumerate(configurations):
        rest = tuple(sorted((name, value) for name, value in one.items() if name != setting))
        found.setdefault(rest, []).append(number)
    return [family for family in found.values() if len(family) > 1]


def _place(setting: str) -> tuple[int, str]:
    names = list(SETTINGS)
    return (names.index(setting) if setting in names else len(names)), setting


def _ordered(setting: str, value: Setting) -> Setting:
    """Norms from none to many; weight decay: none, then L1, then L2, as in the thesis."""
    if setting == "norm":
        return (list(NORMS).index(value[0]) if value[0] in NORMS else len(NORMS), *value[1:])
    if setting == "weight_decay":
        return (bool(value[0]) + 2 * bool(value[1]), *value)
    return value


def _sortable(value: Any) -> tuple[Any, ...]:
    """Nothing first, then numbers, then texts with their digits as numbers: resnet18 before resnet101."""
    if value is None:
        return (0,)
    if isinstance(value, int | float):
        return (1, float(value))
    return (
        2,
        [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", str(value))],
    )
