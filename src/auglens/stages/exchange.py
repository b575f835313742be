"""A cell's files here ↔ its run in MLflow: what is published of it, and what is fetched of another's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from auglens import artifacts, config, tracking
from auglens.cards import card, flat, flat_params, robustness_metrics, run_metrics, score_metrics
from auglens.config import REFERENCE
from auglens.data.augmentations import schema
from auglens.metrics import SEGMENTATION, softmax
from auglens.stages import layout, pictures
from auglens.stages.score import attributes
from auglens.study import StudyCell

PER_IMAGE, TRAINING, CARD = "per_image.parquet", "training.json", "card.json"
SCORES, SANITY = "scores.parquet", "sanity.csv"
ROBUSTNESS, STEPS = "robustness.parquet", "steps.npz"


def files(cell: str, variant: str) -> dict[str, Path]:
    """Artefact path in the run → the file here, of everything that a comparison needs of a cell."""
    return {
        PER_IMAGE: layout.map_table(cell),
        f"maps/{variant}.npz": layout.maps(cell, variant),
        f"maps/{config.other_variant(variant)}.npz": layout.maps(cell, config.other_variant(variant)),
        TRAINING: layout.training_report(cell),
        SCORES: layout.scores(cell),
        SANITY: layout.sanity(cell),
        ROBUSTNESS: layout.robustness(cell),
        STEPS: layout.steps(cell),
    }


def current(entry: Mapping[str, Any], index: Mapping[str, Any], settings: config.Config) -> bool:
    """Whether a cell's files are here and were made from this plan: after a failed stage older ones remain."""
    paths = files(entry["cell"], index["variant"])
    if not all(path.exists() for path in paths.values()):
        return False
    if artifacts.table_head(paths[SCORES])[1] != attributes(entry["map_key"], settings.score):
        return False
    if artifacts.table_head(paths[ROBUSTNESS])[1] != attributes(entry["map_key"], settings.robustness):
        return False
    columns, attrs = artifacts.table_head(paths[PER_IMAGE])
    expected = {
        "map_key": entry["map_key"],
        "reference_map_key": index["cells"][0]["map_key"],
        "kld_eps": settings.measure.kld_eps,
    }
    if "own_metrics" in index and entry["aug"] != REFERENCE:
        expected["own"] = index["own_metrics"]
    measured = entry["aug"] == REFERENCE or set(settings.measure.every) <= set(columns)
    return attrs == expected and measured


def hashes(paths: Mapping[str, Path]) -> dict[str, str]:
    """Artefact → sha256 of its file."""
    return {name: artifacts.sha256(path) for name, path in sorted(paths.items())}


def record(
    entry: Mapping[str, Any],
    index: Mapping[str, Any],
    manifest: Mapping[str, Any],
    folder: Path,
    settings: config.Config,
) -> tracking.CellRecord:
    """What MLflow is to know of one cell of the plan. The card is written to `folder`."""
    cell = entry["cell"]
    spec = artifacts.load_json(layout.train_spec(cell)) | {"maps": artifacts.load_json(layout.maps_spec(cell))}
    report = artifacts.load_json(layout.training_report(cell), ("epochs", "checkpoint_sha256"))
    paths = files(cell, index["variant"])
    known = hashes(paths)
    told = ("label", "predicted", "correct", "constant")
    table = artifacts.load_table(paths[PER_IMAGE], told, beside=(*settings.measure.every, *SEGMENTATION))
    logits = artifacts.load_maps(paths[f"maps/{index['variant']}.npz"]).logits
    metrics = run_metrics(table, report, settings.measure.every, softmax(logits))
    metrics |= score_metrics(artifacts.load_table(paths[SCORES]), pd.read_csv(paths[SANITY]))
    metrics |= robustness_metrics(artifacts.load_table(paths[ROBUSTNESS]))
    card_path = folder / cell / CARD
    artifacts.save_json(card_path, card(spec, report, manifest, metrics))
    epochs = report["epochs"]
    measured_by = flat(asdict(settings.score), "score") | flat(asdict(settings.robustness), "robustness")
    published: dict[str, Any] = {
        "params": flat_params(spec, manifest) | measured_by,
        "metrics": metrics,
        "curves": {name: [row[name] for row in epochs] for name in epochs[0] if name != "epoch"},
        "tags": {
            "variant": index["variant"],
            "aug_key": entry["aug_key"],
            "data": manifest["name"],
            "model": spec["model"]["name"],
            "files": artifacts.hash_values(known),
            **own_definitions(spec, index),
        },
        "artifacts": {**paths, CARD: card_path},
        "dataset": tracking.DatasetRecord(
            name=manifest["name"],
            content=manifest["content"],
            source=manifest["source"],
            shape=(3, manifest["size"], manifest["size"]),
            dtype="uint8",
            classes=len(manifest["classes"]),
            counts=manifest["counts"],
        ),
    }
    content = tracking.content_digest(**published, known=known)
    took = layout.seconds(entry["train_key"])  # no part of the content: who lacks it has the same cell
    if took.exists():
        metrics["train_seconds"] = artifacts.load_json(took, ("seconds",))["seconds"]
    return tracking.CellRecord(
        cell=cell,
        aug=entry["aug"],
        seed=entry["seed"],
        keys={
            "study_key": index["study_key"],
            **{name: entry[name] for name in ("cell_key", "train_key", "map_key")},
        },
        content=content,
        reference_train_key=index["reference_train_key"],
        **published,
    )


def own_definitions(spec: Mapping[str, Any], index: Mapping[str, Any]) -> dict[str, str]:
    """The definition of everything of one's own that a cell is made with or measured by, as tags."""
    names = index.get("own", {}).get("names", {})
    parts = {part["name"] for part in spec["parts"]}
    return {
        f"own.{name}": f"{told['kind']}: {told['definition']}"[:4000]
        for name, told in names.items()
        if told["kind"] != "augmentation" or name in parts
    }


def with_pictures(
    records: Sequence[tracking.CellRecord], classes: Sequence[str], folder: Path
) -> Iterator[tracking.CellRecord]:
    """The records with pictures, drawn into `folder`, among their artefacts; their content stays what it was."""
    cells = [
        pictures.Cell(one.cell, one.aug, one.seed, one.artifacts[PER_IMAGE], one.artifacts[TRAINING],
                      folder / one.cell)
        for one in records
    ]  # fmt: skip
    for record, drawn in zip(records, pictures.draw(cells, classes), strict=True):
        yield replace(record, artifacts={**record.artifacts, **drawn})


def own_cell(record: tracking.CellRecord) -> StudyCell:
    key, tags = record.keys["cell_key"], record.tags
    return StudyCell(record.cell, record.aug, record.seed, tags["aug_key"], key, tags["files"])


def found_cell(run: tracking.FoundRun) -> StudyCell:
    """A run as a cell; ValueError where its tags are not what `record` writes: they become paths here."""
    aug_key, digest = run.tags.get("aug_key", ""), run.tags.get("files", "")
    hashes = all(re.fullmatch(r"[0-9a-f]{64}", value) for value in (aug_key, digest))
    named = schema.well_formed(run.aug)  # an aug of someone's own need not be known here: nothing of it is run
    name = REFERENCE if run.aug == REFERENCE else f"{run.aug}-{run.seed}"
    if not hashes or not named or run.cell != name:
        raise ValueError(
            f"MLflow run {run.run_id}: expected the tags of a cell, got cell {run.cell!r}, aug {run.aug!r}, files"
            f" {digest[:12]!r}; delete that run in MLflow, or set collect.scope: requested"
        )
    return StudyCell(run.cell, run.aug, run.seed, aug_key, run.keys["cell_key"], digest, run.run_id, run.started)


def fetch(
    tracker: tracking.Tracker | tracking.NullTracker, run: tracking.FoundRun, variant: str
) -> dict[str, Path]:
    """The artefacts of a run that was published elsewhere, checked against the hash that it carries."""
    folder = layout.fetched(run.tags["files"])
    paths = {name: folder / name for name in files(run.cell, variant)}
    for name, path in paths.items():
        if not path.exists():
            tracker.fetch(run, name, path)
    if artifacts.hash_values(hashes(paths)) != run.tags["files"]:
        raise ValueError(
            f"MLflow run {run.run_id} ({run.cell}): its artefacts are not those that its tag auglens.files"
            " names; delete the run, and its owner's next `auglens collect` publishes it again"
        )
    return paths
