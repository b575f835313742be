"""prepare: a source of images → split, statistics and memory-mapped arrays in data/splits."""

from __future__ import annotations

import hashlib

import numpy as np

from auglens import artifacts, config
from auglens.data.sources import load_source
from auglens.data.split import split
from auglens.data.statistics import channel_statistics
from auglens.stages import layout

CLASSES_SEGMENTED = ("missed", "found")  # of a segmentation an image is one or the other, and should be found


def run() -> None:
    settings = config.load().data
    source = load_source(settings)
    segments = settings.task == "segmentation"
    if segments and source.masks is None:
        raise ValueError(
            f"data.task: segmentation expects a mask of every image, and {settings.source} has none; add masks/ or"
            " set data.task=classification"
        )
    parts = split(
        source.labels,
        source.given,
        validation_fraction=settings.validation_fraction,
        seed=settings.split_seed,
        classes=source.classes,
        folds=settings.folds,
        fold=settings.fold,
        single_class=segments,
    )
    mean, std = channel_statistics(source.images, parts.train)
    digest = hashlib.sha256()
    masks = [] if source.masks is None else [source.masks]
    for array in (source.images, source.labels, parts.train, parts.validation, parts.test, *masks):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    manifest = {
        "name": settings.name,
        "task": settings.task,
        "classes": list(CLASSES_SEGMENTED if segments else source.classes),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "counts": {name: len(getattr(parts, name)) for name in artifacts.SPLITS},
        "size": source.images.shape[-1],
        "masks": source.masks is not None,
        "source": source.content_sha256,
        "content": digest.hexdigest(),
    }
    if settings.folds is not None:
        manifest |= {"folds": settings.folds, "fold": settings.fold}
    labels = np.ones_like(source.labels) if segments else source.labels
    prepared = artifacts.Prepared(
        source.images, labels, source.masks, parts.train, parts.validation, parts.test, manifest
    )
    artifacts.save_prepared(layout.SPLITS, prepared)
    counts = ", ".join(f"{count} {name}" for name, count in manifest["counts"].items())
    dealt = "" if settings.folds is None else f", fold {settings.fold} of 0 to {settings.folds - 1}"
    print(f"prepare: {settings.name}, {len(source.classes)} classes, {counts}{dealt}")
