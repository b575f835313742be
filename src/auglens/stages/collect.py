"""collect: publish every cell of the plan to MLflow, then fetch every finished run of the study from it.

Files are the truth and MLflow is the index: a cell restored from the DVC cache, pulled from a remote or made
while the server was away is published here all the same, and a run deleted from the store comes back.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from auglens import artifacts, config, tracking
from auglens.config import REFERENCE
from auglens.metrics import higher_is_closer
from auglens.metrics.threads import spread
from auglens.stages import layout
from auglens.stages.exchange import (
    PER_IMAGE,
    ROBUSTNESS,
    SANITY,
    SCORES,
    STEPS,
    TRAINING,
    current,
    fetch,
    files,
    found_cell,
    own_cell,
    record,
    with_pictures,
)
from auglens.study import StudyCell, choose


def run() -> None:
    settings = config.load()
    index = artifacts.load_json(layout.INDEX, ("study_key", "cells", "variant"))
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json", ("classes",))
    variant = index["variant"]
    complete = [entry for entry in index["cells"] if current(entry, index, settings)]
    absent = [e["cell"] for e in index["cells"] if e not in complete]
    if REFERENCE in absent:
        raise ValueError("collect: the reference has no maps, and nothing can be compared; run `dvc repro` first")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = list(spread(lambda entry: record(entry, index, manifest, folder, settings), complete))
        own = [own_cell(record) for record in records]
        pictured = partial(with_pictures, classes=manifest["classes"], folder=folder)
        tracker, runs = publish(records, pictured, index["study_key"], settings)
    tracking.refuse_foreign(list(runs.values()), index["reference_train_key"])
    planned = {entry["aug"]: entry["aug_key"] for entry in index["cells"]}
    cells, left_out = choose(own, [found_cell(run) for run in runs.values()], planned)
    found = {cell.cell for cell in cells}  # what is not here may be in the store
    absent = [cell for cell in absent if cell not in found]
    sources = {
        cell.cell: fetch(tracker, runs[cell.run_id], variant) if cell.run_id else files(cell.cell, variant)
        for cell in cells
    }
    save(cells, sources, index, settings, absent)
    if left_out:
        print(f"collect: left out, since their aug has other parameters: {', '.join(left_out)}")
    if absent:
        print(f"collect: absent: {', '.join(absent)} (run `dvc repro -k`, then `auglens collect`)")


def publish(
    records: Sequence[tracking.CellRecord], pictured: tracking.Complete, study_key: str, settings: config.Config
) -> tuple[tracking.Tracker | tracking.NullTracker, dict[str, tracking.FoundRun]]:
    """(the tracker, run id → finished run of the study). No runs where the store is away, and where it has ours
    alone and nothing has happened to it since it was given all this."""
    uri, experiment = tracking.store_uri(settings.tracking.uri, layout.root()), settings.tracking.experiment
    scope, keys = settings.collect.scope, {record.keys["cell_key"] for record in records}
    told = [experiment, scope, study_key, [[record.keys["cell_key"], record.content] for record in records]]
    receipt = tracking.Receipt(layout.receipt(), uri, told)
    if receipt.holds():
        print(f"collect: {len(records)} cells in MLflow ({len(records)} unchanged)")
        return tracking.NullTracker(), {}
    try:
        tracker = tracking.Tracker.connect(uri, experiment, layout.root())
        published = tracker.publish_all(records, pictured)
        outcomes = Counter(one.outcome for one in published)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        print(f"collect: {len(records)} cells in MLflow ({counts})")
        state = receipt.state()
        runs = {run.run_id: run for run in tracker.query(study_key)} if scope == "study" else {}
    except tracking.StoreUnavailable as error:
        print(f"collect: {error}; comparing the cells that are here: the next `auglens collect` publishes them")
        return tracking.NullTracker(), {}
    if {run.keys["cell_key"] for run in runs.values()} <= keys:
        receipt.write(state, records, published)
    return tracker, runs


def save(cells: list[StudyCell], sources: Mapping[str, Mapping[str, Path]], index: Mapping[str, Any],
         settings: config.Config, absent: list[str]) -> None:  # fmt: skip
    """The study as files: what was compared, one table of all images, all curves, all raw maps."""
    tables, scores, erased, sanity, curves, rows = [], [], [], [], [], []
    for cell in cells:
        paths = sources[cell.cell]
        report = artifacts.load_json(paths[TRAINING], ("epochs", "checkpoint_sha256"))
        told: dict[str, Any] = {"aug": cell.aug, "seed": cell.seed}
        tables.append((paths[PER_IMAGE], told))
        scores.append((paths[SCORES], told))
        if artifacts.table_head(paths[ROBUSTNESS])[0]:
            erased.append((paths[ROBUSTNESS], told))
        sanity.append(pd.read_csv(paths[SANITY]).assign(**told))
        curves.append(pd.DataFrame(report["epochs"]).assign(cell=cell.cell, aug=cell.aug, seed=cell.seed))
        rows.append(
            {
                "cell": cell.cell,
                "aug": cell.aug,
                "seed": cell.seed,
                "checkpoint_sha256": report["checkpoint_sha256"],
                "best_epoch": report["best_epoch"],
                "steps": report["steps"],
                "content": cell.content,
            }
        )
    columns = ("image", "label", "predicted", "correct")
    artifacts.save_tables(layout.PER_IMAGE, tables, columns, first=("aug", "seed"))
    artifacts.save_tables(layout.SCORES, scores, ("method", "image"), first=("aug", "seed"))
    if erased:
        artifacts.save_tables(layout.ROBUSTNESS, erased, ("image", "row", "column"), first=("aug", "seed"))
    else:
        artifacts.save_table(
            layout.ROBUSTNESS, pd.DataFrame(columns=["aug", "seed", "part", "image", "row", "column"])
        )
    artifacts.save_table(layout.SANITY, pd.concat(sanity, ignore_index=True))
    curve = pd.concat(curves, ignore_index=True)
    head = ["cell", "aug", "seed", "epoch"]
    artifacts.save_table(layout.CURVES, curve[[*head, *(name for name in curve if name not in head)]])
    with artifacts.atomic_folder(layout.STUDY_MAPS) as folder:
        maps = {cell.cell: sources[cell.cell][f"maps/{index['variant']}.npz"] for cell in cells}
        list(spread(lambda name: shutil.copyfile(maps[name], folder / f"{name}.npz"), maps))
    with artifacts.atomic_folder(layout.STEPS) as folder:
        for cell in cells:
            path = sources[cell.cell][STEPS]
            if len(artifacts.load_arrays(path, ("epochs",))["epochs"]):
                shutil.copyfile(path, folder / f"{cell.cell}.npz")
    summary = {name: index[name] for name in ("study_key", "reference_train_key", "variant")}
    summary |= {"metrics": settings.measure.metrics, "further": settings.measure.further}
    declared = index.get("own", {}).get("names", {})
    own = {name: found["higher_is_closer"] for name, found in declared.items() if found["kind"] == "metric"}
    summary |= {"closer": {name: higher_is_closer(name, own) for name in settings.measure.every}}
    summary |= {"overlap": settings.measure.overlap, "kld_eps": settings.measure.kld_eps}
    summary |= {"own": index["own"]} if "own" in index else {}
    artifacts.save_json(layout.RUNS, summary | {"absent": absent, "cells": rows})
