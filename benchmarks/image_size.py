"""Cost over the side of an image: a step and an explanation of EfficientNet-B0, the seven metrics of a pair.

    python -m benchmarks.image_size

Per image, in milliseconds, medians; images are resized from 32 pixels on the way, as a study of CIFAR-10 does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.timing import alternate, machine, note, report

SIDES = (64, 96, 128, 160, 224)
MODEL, BATCH, PAIRS = "efficientnet_b0", 16, 32


def contenders(side: int) -> dict[str, Callable[[], Any]]:
    from auglens import compat

    compat.import_torchvision()
    from auglens.config import ModelConfig, TrainConfig
    from auglens.data.augmentations import Part
    from auglens.data.views import View, to_unit
    from auglens.metrics import compare_maps
    from auglens.models import build
    from auglens.saliency import explain, finish, target_layer
    from auglens.saliency.finishing import repeated_edges
    from auglens.tasks import CLASSIFICATION
    from auglens.training import LabelledImages, Recipe, fit

    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2 * BATCH, 3, 32, 32), dtype=np.uint8))
    data = LabelledImages(images, torch.arange(2 * BATCH) % 10)
    view = View(side, [0.491, 0.482, 0.447], [0.247, 0.243, 0.262])
    stride = 16 if side < 224 else 32
    model = build(ModelConfig(MODEL, side, stride, 0.0, 0.0), 10, init_seed=0)
    config = TrainConfig(
        epochs=1, batch_size=BATCH, learning_rate=1e-3, weight_decay=1e-5, select="validation_loss", threads=2,
        device="cpu", precision="fp32",
    )  # fmt: skip
    recipe = Recipe((Part("identity", {}),), 2, augmentation_seed=1, dropout_seed=2, order_seed=0)
    few = LabelledImages(images[:2], data.labels[:2])
    layer = target_layer(model, "features", image_size=side)
    cells = explain(model, view(to_unit(images)), layer=layer).raw.shape[1:]
    raw = np.maximum(rng.standard_normal((2, PAIRS, *cells)), 0).astype(np.float32)
    edges = repeated_edges((cells[0], cells[1]), side)

    def pairs() -> Any:
        return compare_maps(finish(raw[0], side), finish(raw[1], side), edges=edges)

    return {
        "train": lambda: fit(model, data, few, view, CLASSIFICATION, config, recipe).epoch,
        "explain": lambda: explain(model, view(to_unit(images)), layer=layer, batch_size=BATCH).raw,
        "compare": pairs,
    }


def main() -> None:
    for side in SIDES:
        note(f"image_size: {side} px")
        found = alternate("benchmarks.image_size", "contenders", {"side": side})
        items = {"train": 4 * BATCH, "explain": 2 * BATCH, "compare": PAIRS}
        report(
            "cost by image size", model=MODEL, side=side, stride=16 if side < 224 else 32,
            ms_per_image={name: timed.median / items[name] * 1e3 for name, timed in found.items()},
            spread={name: max(timed.seconds) / min(timed.seconds) for name, timed in found.items()},
            machine=machine(),
        )  # fmt: skip


if __name__ == "__main__":
    main()
