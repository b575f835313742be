"""search: the trials of a file in conf/search, run by the stages of any study, into MLflow and reports/search.

A trial works in a folder of its own under .auglens/search, named by what decides its result, so that two searches
that try the same thing train it once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from auglens import artifacts, config, search, tracking
from auglens.commands.compose import composed
from auglens.config import Config
from auglens.own.source import current
from auglens.plan import Plan, make_plan
from auglens.progress import Progress
from auglens.stages import layout, once
from auglens.tracking.searches import Holder, nest, publish_holder

CONF, SEARCHES = Path("conf"), Path("conf/search")
RESULT = "result.json"


@dataclass(frozen=True)
class Trial:
    """What a point is to run. key: of all that decides its result; folder: where it works, absolute."""

    point: search.Point
    text: str  # params.yaml
    settings: Config
    plan: Plan
    splits: Path
    key: str
    folder: Path

    @property
    def cells(self) -> list[str]:
        """The aug's; of a plan without augs the reference."""
        return [cell.name for cell in (self.plan.cells[1:] or self.plan.cells)]


def run(name: str | None, size: str, overrides: Sequence[str]) -> int:
    if name is None:
        for one in search.names(SEARCHES):
            print(f"{one:16} {search.load(SEARCHES, one).question}")
        return 0
    wanted = search.load(SEARCHES, name, size=size, extra=tuple(overrides))
    config.from_mapping(yaml.safe_load(composed(wanted.overrides({}), CONF)))  # what no trial could do without
    key = artifacts.hash_values(wanted.identity())
    folder = Path(".auglens/search").resolve() / f"{name}-{key[:12]}"
    with once.alone(folder, f"search {name}"), at_root():
        return drive(wanted, key, folder)


@contextlib.contextmanager
def at_root() -> Iterator[None]:
    """Stages find the project by DVC_ROOT, wherever they work."""
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = str(Path.cwd())
    try:
        yield
    finally:
        os.environ.pop("DVC_ROOT")
        if before is not None:
            os.environ["DVC_ROOT"] = before


def drive(wanted: search.Search, key: str, folder: Path) -> int:
    """All trials, one after the other; 1 where one could not be finished."""
    record = search.Record(wanted, folder / "journal.log")
    done = len(record.finished())
    total = len(list(wanted.points())) if wanted.design in ("grid", "one_at_a_time") else wanted.trials
    if done:
        print(f"search {wanted.name}: going on after {done} finished trials", flush=True)
    failed: list[search.Point] = []
    with Progress(f"search {wanted.name}", total, done, unit="trial") as progress:
        for proposal in record.remaining(failed):
            told = ", ".join(f"{factor}={level}" for factor, level in proposal.point.items())
            progress.line(f"trial {progress.done + 1} of {total}: {told}")
            try:
                outcome = one(wanted, key, proposal.point)
            except ValueError as error:
                failed.append(proposal.point)
                progress.line(f"{told} failed: {error}")
                continue
            record.add(proposal, outcome)
            progress.advance(1)
            values = zip(wanted.objectives, outcome.values, strict=True)
            progress.line(f"{told}: {', '.join(f'{name} {value:.4g}' for name, value in values)}")
    report(wanted, key, record.finished())
    if failed:
        print(f"search {wanted.name}: {len(failed)} of {total} trials failed; the next run tries them again")
    return 1 if failed else 0


def planned(wanted: search.Search, point: search.Point) -> Trial:
    root = layout.root()
    text = composed(wanted.overrides(point), CONF)
    settings = config.from_mapping(yaml.safe_load(text))
    splits = prepared(settings, text)
    manifest = artifacts.load_json(splits / "manifest.json", ("content",))
    plan = make_plan(settings, manifest["content"], current() if settings.own_names else None)
    keys = [cell.maps["map_key"] for cell in plan.cells[1:] or plan.cells]
    key = artifacts.hash_values([keys, asdict(settings.score)])
    folder = root / ".auglens/search/trials" / key[:24]
    return Trial(point, text, settings, plan, splits, key, folder)


def prepared(settings: Config, text: str) -> Path:
    """The prepared data of a trial, made once for all trials and searches with the same data."""
    source = Path(settings.data.source)
    found = sorted(path for path in source.rglob("*")) if source.is_dir() else [source]
    stamps = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in found if path.is_file()]
    work = layout.root() / ".auglens/search/data" / artifacts.hash_values([asdict(settings.data), stamps])[:24]
    if not (work / layout.SPLITS / "manifest.json").exists():
        values = yaml.safe_load(text)
        values["data"]["source"] = str(source.resolve())
        artifacts.save_text(work / "params.yaml", yaml.safe_dump(values, sort_keys=False))
        with contextlib.chdir(work):
            stage("prepare").run()
    return work / layout.SPLITS


def stage(name: str) -> Any:
    return import_module(f"auglens.stages.{name}")


def one(wanted: search.Search, key: str, point: search.Point) -> search.Outcome:
    """A trial from its point to its values: what is there already is not made again."""
    trial = planned(wanted, point)
    path = trial.folder / RESULT
    if not path.exists():
        trial.folder.mkdir(parents=True, exist_ok=True)
        work(trial)
    result = artifacts.load_json(path, ("cells", "seconds"))
    metrics = means(result["cells"])
    values = [metrics.get(name, float("nan")) for name in wanted.objectives]
    for name, value in zip(wanted.objectives, values, strict=True):
        if not np.isfinite(value):
            near = ", ".join(sorted(metrics)[:8])
            raise ValueError(f"objective {name}: undefined or not measured; measured are {near}, …: correct it")
    publish(wanted, key, trial, result, metrics)
    return search.Outcome(point, tuple(values), {"trial": trial.key, "metrics": metrics, "cells": result["cells"]})


def work(trial: Trial) -> None:
    """Runs the stages of a trial in its folder and leaves the result there."""
    started = time.monotonic()
    own = Path(trial.settings.own)
    if own.is_file():
        (trial.folder / own).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own, trial.folder / own)
    artifacts.save_text(trial.folder / "params.yaml", trial.text)
    link = trial.folder / layout.SPLITS
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(trial.splits)
    with contextlib.chdir(trial.folder):
        if not layout.INDEX.exists():
            stage("plan").run()
        for cell in trial.cells:
            steps: tuple[tuple[Path, Any], ...] = (
                (layout.training_report(cell), partial(stage("train").run, cell)),
                (layout.maps(cell, config.other_variant(trial.settings.maps.variant)),
                 partial(stage("explain").run, cell)),
                (layout.map_table(cell), partial(stage("measure").run, cell, against=None)),
                (layout.sanity(cell), partial(stage("score").run, cell)),
            )  # fmt: skip
            for output, make in steps:  # each writes it last
                if not output.exists():
                    make()
        with exchanged(trial) as records:
            cells = {record.cell: dict(record.metrics) for record in records}
    seconds = time.monotonic() - started
    artifacts.save_json(trial.folder / RESULT, {"cells": cells, "seconds": seconds})


@contextlib.contextmanager
def exchanged(trial: Trial) -> Iterator[list[tracking.CellRecord]]:
    """What MLflow is to know of the trial's cells; they belong to no study with a reference."""
    from auglens.stages.exchange import record

    index = trial.plan.index()
    index["study_key"] = artifacts.hash_values(["search", index["study_key"]])
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json")
    folder = Path("cards")
    entries = [entry for entry in index["cells"] if entry["cell"] in trial.cells]
    for entry in entries:
        entry["cell_key"] = artifacts.hash_values([index["study_key"], entry["map_key"], entry["cell"]])
    yield [record(entry, index, manifest, folder, trial.settings) for entry in entries]


def publish(
    wanted: search.Search, key: str, trial: Trial, result: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    """The trial under its search, its cells under the trial; afterwards the maps are in MLflow alone."""
    tracker = connect(trial.settings)
    if tracker is None:
        return
    try:
        holder = publish_holder(tracker.store, searched(wanted, key))
        params = {name: str(level) for name, level in trial.point.items()}
        told = ", ".join(f"{name}={level}" for name, level in trial.point.items())
        run_id = publish_holder(
            tracker.store,
            Holder(kind="trial", key=artifacts.hash_values([key, trial.key]), name=told[:200], params=params,
                   metrics={**metrics, "seconds": result["seconds"]}, parent=holder),
        )  # fmt: skip
        if (trial.folder / "cams").exists():
            from auglens.stages.exchange import with_pictures

            with contextlib.chdir(trial.folder), exchanged(trial) as records:
                classes = artifacts.load_json(layout.SPLITS / "manifest.json")["classes"]
                pictured = partial(with_pictures, classes=classes, folder=Path("cards"))
                published = tracker.publish_all(records, pictured)
            nest(tracker.store, [found.run_id for found in published], run_id)
            for name in ("cards", "cams"):
                shutil.rmtree(trial.folder / name, ignore_errors=True)
    except tracking.StoreUnavailable as error:
        print(f"search {wanted.name}: {error}; the trial's files stay in {trial.folder.name}")


def connect(settings: Config) -> tracking.Tracker | None:
    uri, experiment = tracking.store_uri(settings.tracking.uri, layout.root()), settings.tracking.experiment
    try:
        return tracking.Tracker.connect(uri, experiment, layout.root())
    except tracking.StoreUnavailable as error:
        print(f"search: {error}; the search goes on without it")
        return None


def searched(wanted: search.Search, key: str) -> Holder:
    params = {"search": wanted.name, "design": wanted.design, "base": " ".join(wanted.base)[:4000]}
    params |= {"aug": wanted.aug, "seeds": str(list(wanted.seeds)), "question": wanted.question[:4000]}
    return Holder(kind="search", key=key, name=f"search {wanted.name}", params=params)


def means(cells: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Each metric's mean over the seeds that have it; in JSON an undefined value is null."""
    names = dict.fromkeys(name for found in cells.values() for name in found)
    values = {name: [v for found in cells.values() if (v := found.get(name)) is not None] for name in names}
    return {name: float(np.mean(some)) for name, some in values.items() if some}


def report(wanted: search.Search, key: str, outcomes: Sequence[search.Outcome]) -> None:
    """Tables and figures in reports/search/NAME, and into the search's own run."""
    from auglens.commands.searching import write

    if not outcomes:
        return
    folder = Path("reports/search") / wanted.name
    write(wanted, outcomes, folder)
    print(f"search {wanted.name}: {len(outcomes)} trials; tables and figures in {folder}")
    tracker = connect(config.from_mapping(yaml.safe_load(composed(list(wanted.base), CONF))))
    if tracker is not None:
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        with contextlib.suppress(tracking.StoreUnavailable):
            publish_holder(tracker.store, Holder(**{**vars(searched(wanted, key)), "artifacts": files}))
