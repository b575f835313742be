"""What quicker arithmetic changes: accuracy and maps after training on real CIFAR-10, beside what a seed changes.

    python -m benchmarks.rounding [--seeds 3] [--epochs 4] [--bf16-seeds 1]

`test_resnet` at 64 px, stride 8, 1,500 images and their affine copies, explained on 500 test images. Per seed
(initial weights and order) it is trained with torch's weight gradients, with those of `auglens.convolution`, which
round otherwise, and in bf16. A row compares each training with torch's of the same seed; the last one compares
torch's trainings of different seeds: a difference below that is less than what any study averages over.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.data import cifar_layout, read
from benchmarks.timing import THREADS, machine, note, report

TRAIN, TEST, SIZE = 1500, 500, 64
TORCH, OURS, BF16 = "torch's weight gradients", "ours", "bf16"


class Trained(NamedTuple):
    accuracy: float  # on the test images
    loss: float
    logits: np.ndarray  # float32 [N, classes]
    maps: np.ndarray  # finished, float32 [N, 64, 64]


def train(kind: str, seed: int, epochs: int, data: dict[str, torch.Tensor]) -> Trained:
    from auglens.config import ModelConfig, TrainConfig
    from auglens.data.augmentations import Part
    from auglens.data.views import View, to_unit
    from auglens.device import deterministic
    from auglens.models import build
    from auglens.saliency import explain, finish
    from auglens.tasks import CLASSIFICATION
    from auglens.training import LabelledImages, Recipe, evaluate, fit

    affine = {"degrees": 20.0, "translate": 0.1, "scale": [0.85, 1.15], "shear": 10.0, "outside": "zeros"}
    recipe = Recipe((Part("affine", affine),), 2, augmentation_seed=seed, dropout_seed=seed, order_seed=seed)
    config = TrainConfig(
        epochs=epochs, batch_size=32, learning_rate=1e-3, weight_decay=1e-5, select="validation_loss",
        threads=THREADS, device="cpu", precision="bf16" if kind == BF16 else "fp32",
    )  # fmt: skip
    view = View(SIZE, [0.491, 0.482, 0.447], [0.247, 0.243, 0.262])
    test = LabelledImages(data["test"], data["test_labels"])
    few = LabelledImages(test.images[:100], test.labels[:100])
    gradients = patch("auglens.training.quick_gradients", lambda model: contextlib.nullcontext())
    with deterministic(THREADS), gradients if kind == TORCH else contextlib.nullcontext():
        model = build(ModelConfig("test_resnet", SIZE, 8, 0.0, 0.0), 10, init_seed=seed)
        fit(model, LabelledImages(data["train"], data["train_labels"]), few, view, CLASSIFICATION, config, recipe)
        scores = evaluate(model, test, view, CLASSIFICATION)
        found = explain(model, view(to_unit(test.images)), batch_size=125)
    return Trained(scores["accuracy"], scores["loss"], found.logits, finish(found.raw, SIZE))


def apart(one: Trained, other: Trained) -> dict[str, float]:
    """Means over the test images of the map metrics, and what became of accuracy and predictions."""
    from auglens.metrics import class_kld, compare_maps, softmax

    found = {name: float(np.nanmean(values)) for name, values in compare_maps(other.maps, one.maps).items()}
    found["class_kld"] = float(class_kld(softmax(other.logits), softmax(one.logits)).mean())
    same = one.logits.argmax(1) == other.logits.argmax(1)
    return {"accuracy": one.accuracy - other.accuracy, "same_prediction": float(same.mean())} | found


def summary(pairs: list[dict[str, float]]) -> dict[str, list[float]]:
    """Of each value the mean over pairs and the largest distance from it."""
    found = {}
    for name in pairs[0]:
        values = np.array([pair[name] for pair in pairs])
        found[name] = [float(values.mean()), float(np.abs(values - values.mean()).max())]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bf16-seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    from auglens import compat

    compat.tune_allocator()
    compat.import_torchvision()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kind = cifar_layout(folder / "cifar-10-batches-py", train=TRAIN, test=TEST)
        data: dict[str, torch.Tensor] = {}
        parts = [read(folder, f"data_batch_{k}") for k in range(1, 6)]
        for name, (pixels, labels) in {
            "train": [np.concatenate(one) for one in zip(*parts, strict=True)], "test": read(folder, "test_batch"),
        }.items():  # fmt: skip
            data[name] = torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy())
            data[f"{name}_labels"] = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    trained: dict[str, list[Trained]] = {}
    for kind_of, seeds in ((TORCH, given.seeds), (OURS, given.seeds), (BF16, given.bf16_seeds)):
        for seed in range(seeds):
            note(f"rounding: {kind_of}, seed {seed}")
            trained.setdefault(kind_of, []).append(train(kind_of, seed, given.epochs, data))
    rows = {
        kind_of: [apart(one, trained[TORCH][seed]) for seed, one in enumerate(trained[kind_of])]
        for kind_of in (OURS, BF16)
        if kind_of in trained
    }
    rows["another seed"] = [apart(one, other) for one, other in combinations(trained[TORCH], 2)]
    for label, pairs in rows.items():
        report(
            f"rounding: {label}, against torch's weight gradients in float32",
            n=len(pairs), unit="pair of models", data=kind, epochs=given.epochs,
            mean_and_largest_deviation=summary(pairs),
            accuracies={kind_of: [one.accuracy for one in found] for kind_of, found in trained.items()},
            machine=machine(),
        )  # fmt: skip


if __name__ == "__main__":
    main()
