"""All finished cells of a store as one table of plain values: a row per cell, a column per parameter and metric.

MLflow keeps parameters as text. A column of parameters gets the narrowest type that all its values fit, so that
one run more may widen an integer column to numbers, or numbers to text, and never anything else.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from auglens.tracking.publish import FINISHED, found_run
from auglens.tracking.records import PREFIX, FoundRun
from auglens.tracking.store import SETTINGS, Store, reaching, sqlite_path, store_uri

Value = str | int | float | bool | datetime | None
Kind = Literal["run", "parameter", "metric"]
Type = Literal["text", "integer", "number", "boolean", "time"]

# Columns that every table has, with what they hold.
FIXED: dict[str, tuple[Type, str]] = {
    "run_id": ("text", "MLflow's id of the run"),
    "experiment": ("text", "name of the MLflow experiment"),
    "cell": ("text", "{aug}-{seed}, or reference"),
    "aug": ("text", "the augmentation, a chain, a control, or reference"),
    "seed": ("integer", "the cell's seed; 0 for the reference"),
    "started": ("time", "when the run began, UTC"),
    "data": ("text", "the data set"),
    "model": ("text", "the network"),
    "method": ("text", "the map method"),
    "target": ("text", "the class that is explained: predicted or true"),
    "variant": ("text", "{method}-{target}"),
    "study_key": ("text", "equal for cells that may be compared"),
    "cell_key": ("text", "one per cell, however often it is published"),
    "train_key": ("text", "equal for equal checkpoints"),
    "map_key": ("text", "equal for equal maps"),
}
SAME = ("aug", "seed")  # parameters that every run has and that the fixed columns of the same name hold
ABSENT = ("None", "null", "")  # a parameter that is not set
CONVERSIONS: tuple[tuple[Type, re.Pattern[str], Callable[[str], Value]], ...] = (
    ("boolean", re.compile("True|False"), lambda text: text == "True"),
    ("integer", re.compile(r"-?(0|[1-9][0-9]{0,17})"), int),  # 18 digits always fit 64 bits
    ("number", re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|-?inf|nan"), float),
)


@dataclass(frozen=True)
class Column:
    """name: in SQL; source: the name in MLflow, or what a fixed column holds; filled: rows with a value."""

    name: str
    kind: Kind
    type: Type
    source: str
    filled: int


@dataclass(frozen=True)
class RunTable:
    """One row per cell, by experiment, aug, seed and start. A row has a value or None for each column."""

    columns: tuple[Column, ...]
    rows: list[dict[str, Value]]


def read_table(uri: str | None, experiment: str, root: Path, *, every: bool = False) -> RunTable:
    """The finished cells of `experiment`, or of every experiment, at the address that `store_uri` finds.

    Writes nothing. Of several finished runs of a cell the earliest counts, as in a study. Raises ValueError where
    there is no such store, experiment or run, StoreUnavailable where it does not answer.
    """
    address = store_uri(uri, root)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    database = sqlite_path(address)
    if database is not None and not database.is_file():
        raise ValueError(f"{database}: no such file; run `dvc repro`: its last stages publish every run")
    with reaching(address, "reading its runs"):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(address)
        if every:
            experiments = _experiments(client)
        else:
            one = client.get_experiment_by_name(experiment)
            alive = [one] if one is not None and one.lifecycle_stage == "active" else []
            experiments = {entry.experiment_id: entry.name for entry in alive}
        cells: dict[tuple[str, str], tuple[str, FoundRun]] = {}
        for identifier, name in experiments.items():
            store = Store(client, address, identifier)
            condition = f"tags.`{PREFIX}cell_key` LIKE '%' AND attributes.status = '{FINISHED}'"
            runs = [found_run(run) for run in store.runs(condition)]
            for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
                cells.setdefault((identifier, run.keys["cell_key"]), (name, run))
    if not cells:
        where = "any experiment" if every else f"experiment {experiment!r}"
        raise ValueError(f"runs: expected a finished cell in {where}, got none; run `dvc repro`, or try --all")
    return tabulate(list(cells.values()))


def tabulate(runs: Sequence[tuple[str, FoundRun]]) -> RunTable:
    """(experiment, run) of every row → the table. No I/O."""
    runs = sorted(runs, key=lambda pair: (pair[0], pair[1].aug, pair[1].seed, pair[1].started, pair[1].run_id))
    taken = {name.casefold() for name in FIXED}
    params = _names({name for _, run in runs for name in run.params if name not in SAME}, "param", taken)
    metrics = _names({name for _, run in runs for name in run.metrics}, "metric", taken)
    columns: list[Column] = []
    values: list[list[Value]] = []

    def add(name: str, kind: Kind, type_: Type, source: str, column: list[Value]) -> None:
        columns.append(Column(name, kind, type_, source, sum(value is not None for value in column)))
        values.append(column)

    for name, (type_, text) in FIXED.items():
        add(name, "run", type_, text, [_fixed(name, *pair) for pair in runs])
    for source, name in params.items():
        type_, column = typed([run.params.get(source) for _, run in runs])
        add(name, "parameter", type_, source, column)
    for source, name in metrics.items():
        add(name, "metric", "number", source, [run.metrics.get(source) for _, run in runs])
    names = [column.name for column in columns]
    return RunTable(tuple(columns), [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)])


def typed(texts: Sequence[str | None]) -> tuple[Type, list[Value]]:
    """The narrowest of boolean, integer, number and text that all given texts fit, and the values in it."""
    given = [text if text not in ABSENT else None for text in texts]
    present = [text for text in given if text is not None]
    for kind, pattern, convert in CONVERSIONS:
        if present and all(pattern.fullmatch(text) for text in present):
            return kind, [None if text is None else convert(text) for text in given]
    return "text", list(given)


def _experiments(client: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_experiments(page_token=token)
        found |= {entry.experiment_id: entry.name for entry in page}
        token = page.token
        if not token:
            return found


def _names(sources: Iterable[str], prefix: str, taken: set[str]) -> dict[str, str]:
    """Name in MLflow → column, each new in `taken`, which SQL compares without regard to case."""
    names = {}
    for source in sorted(sources):
        plain = re.sub(r"[^0-9A-Za-z_]", "_", source)
        free = [] if plain[0].isdigit() else [plain]
        numbered = (f"{prefix}_{plain}_{number}" for number in itertools.count(2))
        candidates = itertools.chain(free, [f"{prefix}_{plain}"], numbered)
        names[source] = next(name for name in candidates if name.casefold() not in taken)
        taken.add(names[source].casefold())
    return names


def _fixed(name: str, experiment: str, run: FoundRun) -> Value:
    if name == "started":
        return datetime.fromtimestamp(run.started / 1000, UTC).replace(tzinfo=None)
    own: Mapping[str, Value] = {"run_id": run.run_id, "experiment": experiment, "cell": run.cell, "aug": run.aug}
    own = {**own, "seed": run.seed, **run.keys, "method": run.params.get("maps.method")}
    own = {**own, "target": run.params.get("maps.target")}
    return own[name] if name in own else run.tags.get(name)
