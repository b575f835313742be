"""augs: a picture of every aug of the study on sample images of the training set."""

from __future__ import annotations

import numpy as np
import torch

from auglens import artifacts, config, figures
from auglens.config import RESEED
from auglens.data.augmentations import Part, augment, draws_anything, parse
from auglens.data.augmentations.schema import active_part
from auglens.own import loading
from auglens.stages import layout

SAMPLES = 10


def samples(labels: artifacts.Array, count: int) -> artifacts.Array:
    """Rows of the first image of each class, then of the second, until there are `count`."""
    turns = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        turns[labels == label] = np.arange(int((labels == label).sum()))
    return np.lexsort((labels, turns))[:count]


def run() -> None:
    settings = config.load()
    prepared = artifacts.load_prepared(layout.SPLITS)
    labels = prepared.labels[prepared.train]
    images = torch.from_numpy(np.ascontiguousarray(prepared.images[prepared.train]))
    rows = samples(labels, SAMPLES)
    if settings.own_augs:  # this stage may come before `plan`, which checks everything
        from auglens.own import checks

        own = loading.load(settings.own)
        for name in settings.own_augs:
            params = settings.aug.parameters.get(name, {})
            checks.check_augmentation(own, name, params, images.shape[-1], images.device)
    made = {}
    for aug in settings.aug.names:
        if aug == RESEED or active_part(parse(aug)):  # it makes no images, or none without a model
            continue
        parts = [Part(name, settings.aug.of(name) or {}) for name in parse(aug)]
        seed = settings.seeds[0] if draws_anything(parts) else None
        found = augment(parts, images, torch.from_numpy(labels), torch.from_numpy(rows), seed=seed, epoch=0)
        made[aug] = (found.images * 255).round().to(torch.uint8).numpy()
    figure = figures.augmentation_sheet(images[rows].numpy(), made)
    artifacts.save_figure(layout.AUGS, figure)
    print(f"augs: {layout.AUGS}")
