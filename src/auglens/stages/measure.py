"""measure@cell: a cell's maps against the reference's → one row per test image, for both targets."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from auglens import artifacts, config
from auglens.config import REFERENCE
from auglens.metrics import class_kld, compare_maps, is_constant, map_metric_names, segmentation, softmax
from auglens.metrics.threads import slices, spread
from auglens.own import loading
from auglens.own.measures import compare_further
from auglens.progress import Progress
from auglens.saliency import finish
from auglens.saliency.finishing import repeated_edges
from auglens.stages import layout

FOUND = 0.5  # Dice from which on a segmentation is right about an image
TURN = 1 << 19  # pixels of a cell that a thread finishes and compares at once: ten maps of 224×224, 2 MB


def describe(maps: artifacts.Maps, labels: artifacts.Array) -> dict[str, Any]:
    """What a table says of a cell alone, one value per image."""
    probabilities = softmax(maps.logits)
    predicted = probabilities.argmax(1)
    scores = {} if maps.predicted is None else segmentation(maps.segmentation(), maps.masks())
    if scores:
        # The label is 1. Dice is undefined where there is nothing and nothing was said: that is right, too.
        predicted = ((scores["dice"] >= FOUND) | np.isnan(scores["dice"])).astype(np.int64)
    raw = maps.raw.reshape(len(maps.raw), -1)
    return {
        "image": np.arange(len(labels), dtype=np.int32),
        "label": labels.astype(np.int16),
        "predicted": predicted.astype(np.int16),
        "correct": predicted == labels,
        "confidence": probabilities.max(1),
        "target": maps.targets.astype(np.int16),
        "raw_range": (raw.max(1) - raw.min(1)).astype(np.float64),
        **scores,
    }


def of_maps(
    raw: artifacts.Array, reference: artifacts.Array, size: int, settings: config.MeasureConfig, title: str
) -> dict[str, artifacts.Array]:
    """The metrics of raw maps against the reference's, image by image, and which finished maps are constant."""
    edges = repeated_edges((raw.shape[1], raw.shape[2]), size)

    def part(cut: slice) -> dict[str, artifacts.Array]:
        mine, theirs = finish(raw[cut], size), finish(reference[cut], size)
        row: dict[str, artifacts.Array] = {"constant": is_constant(mine)}
        row["reference_constant"] = is_constant(theirs)
        row |= compare_maps(theirs, mine, settings.overlap, edges=edges, threads=1)
        return row | compare_further(theirs, mine, reference[cut], raw[cut], settings.further)

    parts: list[dict[str, artifacts.Array]] = []
    with Progress(title, len(raw), unit="image") as progress:
        for row in spread(part, turns(len(raw), size)):
            parts.append(row)
            progress.advance(len(row["constant"]))
    return {name: np.concatenate([row[name] for row in parts]) for name in parts[0]}


def turns(count: int, size: int) -> list[slice]:
    """The images in parts that a thread takes at once."""
    return slices(count, max(1, TURN // size**2))


def measure(
    maps: artifacts.Maps, reference: artifacts.Maps, settings: config.MeasureConfig, title: str
) -> dict[str, Any]:
    """The metrics of a cell against the reference, image by image, those of the predictions too."""
    values = of_maps(maps.raw, reference.raw, maps.size, settings, title)
    kld = class_kld(softmax(reference.logits), softmax(maps.logits), settings.kld_eps)
    return values | {"class_kld": kld}


def other_target(
    values: dict[str, Any],
    pair: tuple[artifacts.Maps, artifacts.Maps],
    other: tuple[artifacts.Maps, artifacts.Maps],
    settings: config.MeasureConfig,
    title: str,
) -> dict[str, Any]:
    """The maps' metrics with both models' other target. Where neither target differs they are `values`."""
    same = np.logical_and(*(a.targets == b.targets for a, b in zip(pair, other, strict=True)))
    differ = np.flatnonzero(~same)
    mine, theirs = (maps.raw[differ] for maps in other)
    found = {name: values[name].copy() for name in (*map_metric_names(settings.overlap), *settings.further)}
    if len(differ):
        again = of_maps(mine, theirs, pair[0].size, settings, title)
        for name, column in found.items():
            column[differ] = again[name]
    return found


def run(cell: str, *, against: str | None = REFERENCE) -> None:
    """against: the cell whose maps are compared with; None = none, as of the reference itself."""
    settings = config.load().measure
    variant = artifacts.load_json(layout.maps_spec(cell), ("variant",))["variant"]
    another = config.other_variant(variant)
    prepared = artifacts.load_prepared(layout.SPLITS)
    labels = prepared.labels[prepared.test]
    maps = artifacts.load_maps(layout.maps(cell, variant))
    if len(maps.raw) != len(labels):
        found = f"{len(maps.raw)} maps for {len(labels)} test images"
        raise ValueError(f"measure {cell}: {found}; run `dvc repro` so that the maps are of this data")
    values = describe(maps, labels)
    keys: dict[Hashable, Any] = {
        "map_key": maps.map_key,
        "reference_map_key": maps.map_key,
        "kld_eps": settings.kld_eps,
    }
    if against is None or cell == against:
        constant = [is_constant(finish(maps.raw[cut], maps.size)) for cut in turns(len(labels), maps.size)]
        values["constant"] = np.concatenate(constant)
    else:
        reference = artifacts.load_maps(layout.maps(against, variant))
        if reference.raw.shape != maps.raw.shape:
            shapes = f"{maps.raw.shape} against the reference's {reference.raw.shape}"
            raise ValueError(f"measure {cell}: maps of {shapes}; run `dvc repro` so that both are of one study")
        other = describe(reference, labels)
        keys["reference_map_key"] = reference.map_key
        own = artifacts.load_json(layout.CELLS / "measure.json", ("metrics",))
        if own["metrics"]:
            loading.load(own["own"], own["metrics"])
            keys["own"] = artifacts.hash_values(own["metrics"])
        values |= {f"reference_{name}": other[name] for name in ("predicted", "correct", "raw_range")}
        values |= measure(maps, reference, settings, f"measure {cell}")
        beside = tuple(artifacts.load_maps(layout.maps(name, another)) for name in (cell, against))
        also = other_target(
            values, (maps, reference), (beside[0], beside[1]), settings, f"measure {cell}, {another}"
        )
        values |= {f"{another.rpartition('-')[2]}_{name}": column for name, column in also.items()}
    table = pd.DataFrame(values)
    table.attrs = dict(keys)  # kept in the file: `collect` knows by them what the table was made from
    artifacts.save_table(layout.map_table(cell), table)
    name = "dice" if "dice" in values else "accuracy"
    score = float(np.nanmean(values["dice"] if name == "dice" else values["correct"]))
    print(f"measure {cell}: {len(labels)} images, {name} {score:.3f}")
