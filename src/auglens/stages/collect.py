"""collect: publish every cell of the plan to MLflow, then fetch every finished run of the study from it.

Files are the truth and MLflow is the index: a cell restored from the DVC cache, pulled from a remote or made
while the server was away is published here all the same, and a run deleted from the store comes back.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from auglens import artifacts, config, tracking
from auglens.cards import card, flat_params, run_metrics
from auglens.config import REFERENCE
from auglens.stages import layout
from auglens.study import StudyCell, choose

PER_IMAGE, TRAINING, CARD = "per_image.parquet", "training.json", "card.json"


def files(cell: str, variant: str) -> dict[str, Path]:
    """Artefact path in the run → the file here, of everything that a comparison needs of a cell."""
    return {
        PER_IMAGE: layout.map_table(cell),
        f"maps/{variant}.npz": layout.maps(cell, variant),
        TRAINING: layout.training_report(cell),
    }


def current(entry: Mapping[str, Any], index: Mapping[str, Any], settings: config.MeasureConfig) -> bool:
    """Whether a cell's files are here and were made from this plan: after a failed stage older ones remain."""
    paths = files(entry["cell"], index["variant"])
    if not all(path.exists() for path in paths.values()):
        return False
    table = artifacts.load_table(paths[PER_IMAGE])
    expected = {
        "map_key": entry["map_key"],
        "reference_map_key": index["cells"][0]["map_key"],
        "kld_eps": settings.kld_eps,
    }
    measured = entry["aug"] == REFERENCE or set(settings.metrics) <= set(table.columns)
    return table.attrs == expected and measured


def content(paths: Mapping[str, Path]) -> str:
    """One hash over all artefacts of a cell."""
    return artifacts.hash_values({name: artifacts.sha256(path) for name, path in sorted(paths.items())})


def record(entry: Mapping[str, Any], index: Mapping[str, Any], manifest: Mapping[str, Any], folder: Path,
           settings: config.Config) -> tracking.CellRecord:  # fmt: skip
    """What MLflow is to know of one cell of the plan. The card is written to `folder`."""
    cell = entry["cell"]
    spec = artifacts.load_json(layout.train_spec(cell)) | {"maps": artifacts.load_json(layout.maps_spec(cell))}
    report = artifacts.load_json(layout.training_report(cell), ("epochs", "checkpoint_sha256"))
    table = artifacts.load_table(layout.map_table(cell), ("image", "label", "predicted", "correct"))
    paths = files(cell, index["variant"])
    metrics = run_metrics(table, report, settings.measure.metrics, len(manifest["classes"]))
    card_path = folder / cell / CARD
    artifacts.save_json(card_path, card(spec, report, manifest, metrics))
    epochs = report["epochs"]
    published: dict[str, Any] = {
        "params": flat_params(spec, manifest),
        "metrics": metrics,
        "curves": {name: [row[name] for row in epochs] for name in epochs[0] if name != "epoch"},
        "tags": {
            "variant": index["variant"],
            "aug_key": entry["aug_key"],
            "data": manifest["name"],
            "model": spec["model"]["name"],
            "files": content(paths),
        },
        "artifacts": {**paths, CARD: card_path},
    }
    return tracking.CellRecord(
        cell=cell,
        aug=entry["aug"],
        seed=entry["seed"],
        keys={
            "study_key": index["study_key"],
            **{name: entry[name] for name in ("cell_key", "train_key", "map_key")},
        },
        content=tracking.content_digest(**published),
        reference_train_key=index["reference_train_key"],
        **published,
    )


def fetch(tracker: tracking.Tracker, run: tracking.FoundRun, variant: str) -> dict[str, Path]:
    """The artefacts of a run that was published elsewhere, checked against the hash that it carries."""
    folder = layout.FETCHED / run.tags["files"]
    paths = {name: folder / name for name in files(run.cell, variant)}
    for name, path in paths.items():
        if not path.exists():
            tracker.fetch(run, name, path)
    if content(paths) != run.tags["files"]:
        raise ValueError(
            f"MLflow run {run.run_id} ({run.cell}): its artefacts are not those that its tag auglens.files"
            " names; delete the run, and its owner's next `auglens collect` publishes it again"
        )
    return paths


def run() -> None:
    settings = config.load()
    index = artifacts.load_json(layout.INDEX, ("study_key", "cells", "variant"))
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json", ("classes",))
    variant = index["variant"]
    complete = [entry for entry in index["cells"] if current(entry, index, settings.measure)]
    absent = [e["cell"] for e in index["cells"] if e not in complete]
    if REFERENCE in absent:
        raise ValueError("collect: the reference has no maps, and nothing can be compared; run `dvc repro` first")

    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    found: dict[str, tracking.FoundRun] = {}
    with tempfile.TemporaryDirectory() as folder:
        records = [record(entry, index, manifest, Path(folder), settings) for entry in complete]
        own = [_study_cell(r) for r in records]
        try:
            tracker = tracking.Tracker.connect(settings.tracking.uri, settings.tracking.experiment, root)
            outcomes = Counter(published.outcome for published in tracker.publish_all(records))
            counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            print(f"collect: {len(records)} cells in MLflow ({counts})")
            if settings.collect.scope == "study":
                found = {run.run_id: run for run in tracker.query(index["study_key"])}
        except tracking.StoreUnavailable as error:
            print(
                f"collect: {error}; comparing the cells that are here, the next `auglens collect` publishes them"
            )
    tracking.refuse_foreign(list(found.values()), index["reference_train_key"])
    planned = {entry["aug"]: entry["aug_key"] for entry in index["cells"]}
    others = [
        StudyCell(
            r.cell, r.aug, r.seed, r.tags["aug_key"], r.keys["cell_key"], r.tags["files"], r.run_id, r.started
        )
        for r in found.values()
    ]
    cells, left_out = choose(own, others, planned)
    sources = {
        cell.cell: fetch(tracker, found[cell.run_id], variant) if cell.run_id else files(cell.cell, variant)
        for cell in cells
    }
    save(cells, sources, index, settings, absent)
    if left_out:
        print(f"collect: left out, since their aug has other parameters: {', '.join(left_out)}")
    if absent:
        print(f"collect: absent: {', '.join(absent)} (run `dvc repro -k`, then `auglens collect`)")


def _study_cell(record: tracking.CellRecord) -> StudyCell:
    keys = record.keys
    return StudyCell(
        record.cell, record.aug, record.seed, record.tags["aug_key"], keys["cell_key"], record.tags["files"]
    )


def save(cells: list[StudyCell], sources: Mapping[str, Mapping[str, Path]], index: Mapping[str, Any],
         settings: config.Config, absent: list[str]) -> None:  # fmt: skip
    """The study as files: what was compared, one table of all images, all curves, all raw maps."""
    tables, curves, rows = [], [], []
    for cell in cells:
        paths = sources[cell.cell]
        report = artifacts.load_json(paths[TRAINING], ("epochs", "checkpoint_sha256"))
        table = artifacts.load_table(paths[PER_IMAGE], ("image", "label", "predicted", "correct"))
        tables.append(table.assign(aug=cell.aug, seed=cell.seed))
        curves.append(pd.DataFrame(report["epochs"]).assign(cell=cell.cell, aug=cell.aug, seed=cell.seed))
        rows.append(
            {
                "cell": cell.cell,
                "aug": cell.aug,
                "seed": cell.seed,
                "checkpoint_sha256": report["checkpoint_sha256"],
                "best_epoch": report["best_epoch"],
                "content": cell.content,
            }
        )
    table = pd.concat(tables, ignore_index=True)
    head = ["aug", "seed"]
    artifacts.save_table(layout.PER_IMAGE, table[[*head, *(name for name in table if name not in head)]])
    curve = pd.concat(curves, ignore_index=True)
    head = ["cell", "aug", "seed", "epoch"]
    artifacts.save_table(layout.CURVES, curve[[*head, *(name for name in curve if name not in head)]])
    with artifacts.atomic_folder(layout.STUDY_MAPS) as folder:
        for cell in cells:
            source = sources[cell.cell][f"maps/{index['variant']}.npz"]
            (folder / f"{cell.cell}.npz").write_bytes(source.read_bytes())
    summary = {name: index[name] for name in ("study_key", "reference_train_key", "variant")}
    summary |= {"metrics": settings.measure.metrics, "kld_eps": settings.measure.kld_eps}
    artifacts.save_json(layout.RUNS, summary | {"absent": absent, "cells": rows})
