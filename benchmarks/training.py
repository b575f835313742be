"""An epoch of training, augmentation on: ours, the bare step on ready tensors, and a plain loop over a DataLoader.

`ours` is `fit` over one epoch and a validation of two images: augmentation, resizing, normalising, steps, state.
The limit is the step alone: forward, loss, backward and fused Adam on tensors that are ready, in channels_last,
with the weight gradients that training takes (`auglens.convolution`); the same with torch's own stands beside it.
Equality: the limit's losses and weights must be ours to the last bit; the losses of a literal loop (contiguous
tensors, torch's convolutions and plain Adam) over the same images may differ by rounding. How far its weights are
from ours, as a share of the way that training moved them, is told and not judged: it grows with every step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import THREADS, Contenders, alternate, difference, note, row

CLASSES, SIZE, BATCH, LEARNING_RATE, WEIGHT_DECAY = 10, 64, 32, 1e-3, 1e-5
MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
AFFINE = {"degrees": 20.0, "translate": 0.1, "scale": [0.85, 1.15], "shear": 10.0, "outside": "zeros"}
PEER, LIMIT, LITERAL = "DataLoader and plain loop", "bare step", "literal loop"
TORCHS = "bare step, torch's weight gradients"
# network, output stride, dropout and drop path, originals (as many augmented ones), precision; repetitions and the
# least ratio to the peer. Few images in bf16, which such a processor may only emulate.
SETTINGS: tuple[tuple[tuple[str, int | None, float, int, str], int, float], ...] = (
    (("resnet18", None, 0.0, 160, "fp32"), 5, 1.5),
    (("efficientnet_b0", None, 0.2, 160, "fp32"), 5, 1.5),
    (("test_resnet", 8, 0.0, 320, "fp32"), 5, 1.5),
    (("resnet18", None, 0.0, 2, "bf16"), 3, 2.0),
)
# Of the losses, relative to their mean. Adam divides a gradient by its own size, so that rounding alone can turn
# the steps of weights whose gradient is next to nothing.
TOLERANCE = 0.01


class Setting:
    """The equal start of all contenders: a set of random images, a network's first weights, a recipe."""

    def __init__(
        self, name: str, output_stride: int | None, dropout: float, originals: int, precision: str
    ) -> None:
        from auglens.config import ModelConfig, TrainConfig
        from auglens.data.augmentations import Part
        from auglens.data.views import View
        from auglens.models import build
        from auglens.training import LabelledImages, Recipe

        generator = torch.Generator().manual_seed(7)
        images = torch.randint(0, 256, (originals, 3, 32, 32), generator=generator, dtype=torch.uint8)
        self.data = LabelledImages(images, torch.randint(0, CLASSES, (originals,), generator=generator))
        self.model = build(ModelConfig(name, SIZE, output_stride, dropout, dropout), CLASSES, init_seed=0)
        self.first = {key: tensor.clone() for key, tensor in self.model.state_dict().items()}
        self.view = View(SIZE, MEAN, STD)
        self.recipe = Recipe((Part("affine", AFFINE),), 2, augmentation_seed=1, dropout_seed=2, order_seed=0)
        self.config = TrainConfig(
            epochs=1,
            batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            select="validation_loss",
            threads=THREADS,
            device="cpu",
            precision=precision,
        )

    def ready(self) -> list[tuple[Tensor, Tensor, int]]:
        """What the network sees of an epoch, and the seed of every step's dropout."""
        from auglens import rng
        from auglens.training import batches

        seeds = (rng.derive(2, "dropout", 0, step) % 2**63 for step in range(10**9))
        made = batches(self.data, self.recipe, epoch=0, batch_size=BATCH)
        return [(self.view(batch.images), batch.labels, seed) for batch, seed in zip(made, seeds, strict=False)]

    def loop(self, steps: Iterable[tuple[Tensor, Tensor, int]], optimizer: torch.optim.Optimizer) -> list[Tensor]:
        """Nothing but steps; every one's loss."""
        self.model.load_state_dict(self.first)
        self.model.train()
        losses = []
        for images, labels, seed in steps:
            torch.manual_seed(seed)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bf16"):
                outputs = self.model(images)
            loss = nn.functional.cross_entropy(outputs.float(), labels, reduction="none").mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return losses

    def result(self, losses: list[Tensor]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return torch.stack(losses).numpy(), {k: v.numpy().copy() for k, v in self.model.state_dict().items()}


def _adam(model: nn.Module, fused: bool | None) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=fused)


def contenders(name: str, output_stride: int | None, dropout: float, originals: int, precision: str) -> Contenders:
    from auglens import compat

    compat.import_torchvision()
    from auglens.convolution import quick_gradients
    from auglens.tasks import CLASSIFICATION
    from auglens.training import LabelledImages, fit
    from benchmarks.naive_training import Training

    values = (name, output_stride, dropout, originals, precision)
    mine, bare = Setting(*values), Setting(*values)
    few = LabelledImages(mine.data.images[:2], mine.data.labels[:2])
    options: dict[str, Any] = {"drop_rate": dropout, "drop_path_rate": dropout, "output_stride": output_stride}
    options = {key: value for key, value in options.items() if value}
    peer = Training(
        name, mine.data.images, mine.data.labels, classes=CLASSES, size=SIZE, mean=MEAN, std=STD, batch_size=BATCH,
        learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, bf16=precision == "bf16", **options,
    )  # fmt: skip
    bare.model.to(memory_format=torch.channels_last)
    ready = bare.ready()

    def ours() -> Any:
        losses: list[Tensor] = []

        def loss(*arguments: Any) -> Tensor:
            found = CLASSIFICATION.loss(*arguments)
            losses.append(found.detach())
            return found

        mine.model.load_state_dict(mine.first)
        fit(mine.model, mine.data, few, mine.view, replace(CLASSIFICATION, loss=loss), mine.config, mine.recipe)
        return mine.result(losses)

    def torchs() -> Any:
        return bare.result(bare.loop(ready, _adam(bare.model, fused=True)))

    def step() -> Any:
        with quick_gradients(bare.model):
            return torchs()

    found = {"ours": ours, LIMIT: step, PEER: peer.epoch}
    return found | {TORCHS: torchs} if precision == "fp32" else found


def literal(name: str, output_stride: int | None, dropout: float, originals: int, precision: str) -> Contenders:
    """The same images through contiguous tensors and Adam as it is written down."""
    setting = Setting(name, output_stride, dropout, originals, precision)
    ready = [(images.contiguous(), labels, seed) for images, labels, seed in setting.ready()]

    def run() -> Any:
        return setting.result(setting.loop(ready, _adam(setting.model, fused=False)))

    return {LITERAL: run}


def _apart(mine: dict[str, np.ndarray], other: dict[str, np.ndarray], first: dict[str, Tensor]) -> float:
    """The distance of two trainings' weights, as a share of how far the other moved from the first weights."""
    names = [name for name in first if "running" not in name and "num_batches" not in name]
    gap = sum(float(((mine[name] - other[name]) ** 2).sum()) for name in names)
    return float(np.sqrt(gap / sum(float(((other[name] - first[name].numpy()) ** 2).sum()) for name in names)))


def main() -> bool:
    met = True
    names = ("name", "output_stride", "dropout", "originals", "precision")
    for setting, repetitions, target in SETTINGS:
        arguments = dict(zip(names, setting, strict=True))
        name, output_stride, _, originals, precision = setting
        # Where oneDNN has no kernels for it, torch takes its slowest, and nothing is to be gained.
        kernels = precision == "fp32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        note(f"training: {name}, {precision}")
        module = "benchmarks.training"
        found = alternate(
            module, "contenders", arguments, repetitions=repetitions, tuned=(True, False), only_untuned=(PEER,)
        )
        plain = alternate(module, "literal", arguments, repetitions=0)[LITERAL].result
        losses, weights = found["ours"].result
        bare_losses, bare_weights = found[LIMIT].result
        bits = all(np.array_equal(weights[key], bare_weights[key]) for key in weights)
        apart = {
            "first loss": difference(losses[0], plain[0][0]),
            "losses": difference(losses, plain[0]) / float(losses.mean()),
            "weights": _apart(weights, plain[1], Setting(*setting).first),
        }
        met &= row(
            f"training: {name}, stride {output_stride or 32}, {SIZE} px, batches of {BATCH}, {precision}",
            found,
            items=2 * originals,
            unit="image",
            peers={f"{PEER}, default allocator": target if kernels else 0.0, PEER: 1.0 if kernels else 0.0},
            limit=LIMIT,
            limit_target=0.9,
            apart=max(apart["first loss"], apart["losses"]),
            tolerance=TOLERANCE,
            apart_from_literal_loop=apart,
            kernels_for_precision=kernels,
            bits_of_limit=bits and np.array_equal(losses, bare_losses),
        )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
