"""A trial of a search: its parameters, its folder, the stages that it runs, its run in MLflow with its cells."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from auglens import artifacts, config, search, tracking
from auglens.commands.compose import composed
from auglens.config import Config
from auglens.own.source import current
from auglens.plan import Plan, make_plan
from auglens.stages import layout, once
from auglens.tracking.searches import Holder, nest, publish_holder

CONF = Path("conf")
MANIFEST = "manifest.json"
RESULT, UNPUBLISHED = "result.json", "cams"  # in a trial's folder; the maps go when MLflow has them


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


def planned(wanted: search.Search, point: search.Point) -> Trial:
    text = composed(wanted.overrides(point), CONF)
    settings = config.from_mapping(yaml.safe_load(text))
    splits = prepared(settings, text)
    manifest = artifacts.load_json(splits / MANIFEST, ("content",))
    plan = make_plan(settings, manifest["content"], current() if settings.own_names else None)
    keys = [cell.maps["map_key"] for cell in plan.cells[1:] or plan.cells]
    key = artifacts.hash_values([keys, asdict(settings.score), once.code()])
    return Trial(point, text, settings, plan, splits, key, trial_folder(key))


def trial_folder(key: str) -> Path:
    return layout.root() / ".auglens/search/trials" / key[:24]


def prepared(settings: Config, text: str) -> Path:
    """The prepared data of a trial, made once for all trials and searches with the same data."""
    source = Path(settings.data.source)
    found = sorted(path for path in source.rglob("*")) if source.is_dir() else [source]
    stamps = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in found if path.is_file()]
    key = artifacts.hash_values([asdict(settings.data), stamps, once.code()])
    work = layout.root() / ".auglens/search/data" / key[:24]
    with once.alone(work, "prepare"):
        if not (work / layout.SPLITS / MANIFEST).exists():
            values = yaml.safe_load(text)
            values["data"]["source"] = str(source.resolve())
            artifacts.save_text(work / "params.yaml", yaml.safe_dump(values, sort_keys=False))
            with contextlib.chdir(work):
                stage("prepare").run()
    return work / layout.SPLITS


def stage(name: str) -> Any:
    return import_module(f"auglens.stages.{name}")


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
        cells = {record.cell: dict(record.metrics) for record in records_of(trial)}
    seconds = time.monotonic() - started
    artifacts.save_json(trial.folder / RESULT, {"cells": cells, "seconds": seconds})


def records_of(trial: Trial) -> list[tracking.CellRecord]:
    """What MLflow is to know of the trial's cells, in its folder; they belong to no study with a reference."""
    from auglens.stages.exchange import record

    index = trial.plan.index()
    index["study_key"] = artifacts.hash_values(["search", index["study_key"]])
    manifest = artifacts.load_json(layout.SPLITS / MANIFEST)
    folder = Path("cards")
    entries = [entry for entry in index["cells"] if entry["cell"] in trial.cells]
    for entry in entries:
        entry["cell_key"] = artifacts.hash_values([index["study_key"], entry["map_key"], entry["cell"]])
    return [record(entry, index, manifest, folder, trial.settings) for entry in entries]


def publish(
    wanted: search.Search, key: str, trial: Trial, result: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    """The trial under its search, its cells under the trial; afterwards the maps are in MLflow alone."""
    tracker = connect(trial.settings)
    if tracker is None:
        return
    told = ", ".join(f"{name}={level}" for name, level in trial.point.items())
    try:
        holder = publish_holder(tracker.store, searched(wanted, key))
        params = {name: str(level) for name, level in trial.point.items()}
        run_id = publish_holder(
            tracker.store,
            Holder(kind="trial", key=artifacts.hash_values([key, trial.key]), name=told[:200], params=params,
                   metrics={**metrics, "seconds": result["seconds"]}, parent=holder),
        )  # fmt: skip
        if (trial.folder / UNPUBLISHED).exists():
            from auglens.stages.exchange import with_pictures

            with contextlib.chdir(trial.folder):
                classes = artifacts.load_json(layout.SPLITS / MANIFEST)["classes"]
                pictured = partial(with_pictures, classes=classes, folder=Path("cards"))
                published = tracker.publish_all(records_of(trial), pictured)
            nest(tracker.store, [found.run_id for found in published], run_id)
            (trial.folder / UNPUBLISHED).replace(
                trial.folder / "published"
            )  # half a folder would be no cell's maps
    except tracking.StoreUnavailable as error:
        print(f"search {wanted.name}: {error}; the next `auglens search {wanted.name}` publishes what is missing")
    for name in ("cards", "published"):
        shutil.rmtree(trial.folder / name, ignore_errors=True)


def connect(settings: Config) -> tracking.Tracker | None:
    uri, experiment = tracking.store_uri(settings.tracking.uri, layout.root()), settings.tracking.experiment
    try:
        return tracking.Tracker.connect(uri, experiment, layout.root())
    except tracking.StoreUnavailable as error:
        print(f"search: {error}; the search goes on without it")
        return None


def searched(wanted: search.Search, key: str) -> Holder:
    params = {"search": wanted.name, "design": wanted.design}
    params |= {"base": " ".join((*wanted.base, *wanted.extra))[:4000]}
    params |= {"aug": wanted.aug, "seeds": str(list(wanted.seeds)), "question": wanted.question[:4000]}
    return Holder(kind="search", key=key, name=f"search {wanted.name}", params=params)
