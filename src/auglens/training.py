"""The training loop: one fixed order, no reshuffling, the best epoch kept, its state a value.

Equal arguments give byte-equal weights on the same kind of machine with the same number of threads, whether or
not the training was interrupted between two epochs: `State` holds all that the next epoch depends on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from auglens import rng
from auglens.config import TrainConfig
from auglens.convolution import quick_gradients
from auglens.data.augmentations import Part, augment
from auglens.data.order import epoch_order
from auglens.data.views import View, to_unit
from auglens.device import deterministic
from auglens.models import penalty
from auglens.tasks import Batch, Task

BLOCK = 1024  # images augmented at once: an augmented image does not depend on its batch, so large blocks are free
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class LabelledImages:
    """images: uint8 [N,3,H,W]; labels: int64 [N]; both on the device that trains."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> LabelledImages:
        return LabelledImages(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Recipe:
    """What a cell does besides the settings that all cells share."""

    parts: tuple[Part, ...]
    halves: int  # 2: originals and one augmented image of each; 1: originals alone
    augmentation_seed: int | None
    dropout_seed: int | None
    order_seed: int


@dataclass(frozen=True)
class State:
    """Everything between two epochs. epoch: epochs done; best: the best epoch's tensors; history: a row each;
    seconds: wall time so far, which decides nothing and belongs in no output.
    """

    epoch: int = 0
    model: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0


def batches(data: LabelledImages, recipe: Recipe, *, epoch: int, batch_size: int) -> Iterator[Batch]:
    """The batches of one epoch in the fixed order, at the data's own resolution, float32 in [0, 1].

    What must wait for a GPU (indices made on the processor, the look whether labels are mixed) is done once per
    block, never per batch.
    """
    n = len(data.labels)
    order = torch.from_numpy(epoch_order(n, seed=recipe.order_seed, halves=recipe.halves))
    step = max(batch_size, BLOCK // batch_size * batch_size)
    for start in range(0, len(order), step):
        positions = order[start : start + step].to(data.labels.device)
        rows = positions % n
        images, labels, partner = to_unit(data.images[rows]), data.labels[rows], None
        if recipe.halves == 2:
            second = (positions >= n).nonzero().squeeze(1)
            made = augment(
                recipe.parts,
                data.images,
                data.labels,
                rows[second],
                seed=recipe.augmentation_seed,
                epoch=epoch,
            )
            images[second] = made.images
            labels[second] = made.labels
            if bool(made.partner_weight.any()):
                partner = labels.clone(), torch.zeros(len(rows), device=labels.device)
                partner[0][second], partner[1][second] = made.partner_labels, made.partner_weight
        for at in range(0, len(rows), batch_size):
            cut = slice(at, at + batch_size)
            mixed = None if partner is None else (partner[0][cut], partner[1][cut])
            yield Batch(images[cut], labels[cut], mixed)


@torch.inference_mode()
def evaluate(model: nn.Module, data: LabelledImages, view: View, task: Task) -> dict[str, float]:
    """Mean of every score of the task over `data`, the model in evaluation mode."""
    model.eval()
    totals: dict[str, Tensor] = {}
    for start in range(0, len(data.labels), EVALUATION_BATCH):
        cut = slice(start, start + EVALUATION_BATCH)
        scores = task.scores(model(view(to_unit(data.images[cut]))), data.labels[cut])
        for name, values in scores.items():
            totals[name] = totals[name] + values.sum() if name in totals else values.sum()
    return {name: total.item() / len(data.labels) for name, total in totals.items()}


@torch.inference_mode()
def watch(model: nn.Module, data: LabelledImages, view: View, task: Task) -> dict[str, float]:
    """The task's overall scores of `data`, the model in evaluation mode."""
    model.eval()
    parts = data.images.split(EVALUATION_BATCH)
    return task.overall(torch.cat([model(view(to_unit(part))) for part in parts]), data.labels)


def penalties(model: nn.Module, config: TrainConfig) -> Tensor | None:
    """What a step minimises besides the task's loss: a bottleneck's β·KL and λ·Σ|w|. None where neither is on."""
    found = penalty(model)
    if config.weight_decay_l1:
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        l1 = config.weight_decay_l1 * torch.stack([weight.abs().sum() for weight in weights]).sum()
        found = l1 if found is None else found + l1
    return found


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: LabelledImages,
    recipe: Recipe,
    view: View,
    task: Task,
    config: TrainConfig,
    epoch: int,
    on_images: Callable[[int], None],
) -> dict[str, float]:
    device = data.labels.device
    model.train()
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    right = torch.zeros((), dtype=torch.float64, device=device)
    extra_sum: Tensor | None = None
    count = 0
    seed = recipe.dropout_seed if recipe.dropout_seed is not None else 0
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        for step, batch in enumerate(batches(data, recipe, epoch=epoch, batch_size=config.batch_size)):
            torch.manual_seed(rng.derive(seed, "dropout", epoch, step) % 2**63)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                outputs = model(view(batch.images))
            loss = task.loss(outputs.float(), batch)
            extra = penalties(model, config)
            (loss if extra is None else loss + extra).backward()
            optimizer.step()
            size = len(batch.labels)
            loss_sum += loss.detach() * size
            if extra is not None:
                added = extra.detach().double() * size
                extra_sum = added if extra_sum is None else extra_sum + added
            right += task.accuracy(outputs.detach(), batch.labels).sum()
            count += size
            on_images(size)
    loss_mean = (loss_sum / count).item()
    row = {"train_loss": loss_mean, "train_accuracy": (right / count).item()}
    if extra_sum is not None:
        row["train_penalty"] = (extra_sum / count).item()
    total = loss_mean + row.get("train_penalty", 0.0)
    if not math.isfinite(total):
        raise ValueError(
            f"training: the loss became {total} in epoch {epoch + 1}; lower train.learning_rate"
            f" (now {config.learning_rate:g}) or check the images"
        )
    return row


def _better(config: TrainConfig, row: dict[str, float], best: dict[str, float]) -> bool:
    """Strictly better, so that of equal epochs the first is kept."""
    if config.select == "validation_loss":
        return row["validation_loss"] < best["validation_loss"]
    return row["validation_accuracy"] > best["validation_accuracy"]


def fit(
    model: nn.Module,
    train: LabelledImages,
    validation: LabelledImages,
    view: View,
    task: Task,
    config: TrainConfig,
    recipe: Recipe,
    *,
    state: State | None = None,
    test: LabelledImages | None = None,
    on_epoch: Callable[[State], None] = lambda state: None,
    on_images: Callable[[int], None] = lambda count: None,
) -> State:
    """Train `model` for `config.epochs` epochs, going on from `state` where one is given.

    on_epoch is called with the state after every epoch (save it, show it); on_images with the size of every
    batch. test: scored after every epoch where `config.watch_test` asks for it; it chooses nothing. Returns the
    last state; `best` holds the tensors of the best epoch. ValueError on a non-finite loss.
    """
    if config.watch_test and test is None:
        raise ValueError(
            "test: expected the test images, for train.watch_test is true; pass them or set it to false"
        )
    started = time.perf_counter()
    device = train.labels.device
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = state or State()
    before = state.seconds
    with deterministic(config.threads, fill=False), quick_gradients(model):
        optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        if state.epoch:
            model.load_state_dict(state.model)
            optimizer.load_state_dict(state.optimizer)
        for epoch in range(state.epoch, config.epochs):
            row: dict[str, float] = {"epoch": epoch + 1}
            row |= _train_epoch(model, optimizer, train, recipe, view, task, config, epoch, on_images)
            row |= {f"validation_{k}": v for k, v in evaluate(model, validation, view, task).items()}
            if config.watch_test and test is not None:
                row |= {f"test_{k}": v for k, v in watch(model, test, view, task).items()}
            now = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
            best = not state.history or _better(config, row, state.history[state.best_epoch - 1])
            state = replace(
                state,
                epoch=epoch + 1,
                model=now,
                optimizer=optimizer.state_dict(),
                best=now if best else state.best,
                best_epoch=epoch + 1 if best else state.best_epoch,
                history=(*state.history, row),
                seconds=before + time.perf_counter() - started,
            )
            on_epoch(state)
    return state
