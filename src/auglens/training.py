"""The training loop: one fixed order, no reshuffling, the best epoch kept, its state a value.

Equal arguments give byte-equal weights on the same kind of machine with the same number of threads, whether or
not the training was interrupted between two epochs: `State` holds all that the next epoch depends on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from auglens import rng
from auglens.active import specs as active
from auglens.active.step import LARGEST, Made, Memory, Step, Training, make
from auglens.batches import LabelledImages, Recipe, batches
from auglens.config import TrainConfig
from auglens.convolution import quick_gradients
from auglens.data.views import View, to_unit
from auglens.device import deterministic
from auglens.models import penalty
from auglens.tasks import Task

EVALUATION_BATCH, SEGMENTED_AT_ONCE = 256, 16


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
    made: Made | None = None  # what a saliency-driven aug put into the second half
    steps: tuple[Step, ...] = ()  # and what it did so far
    explained_at_once: int = LARGEST  # images; fewer where memory ran out
    device: str = "cpu"  # kind of device that came this far


@torch.inference_mode()
def evaluate(model: nn.Module, data: LabelledImages, view: View, task: Task) -> dict[str, float]:
    """Mean of every score of the task over the images of `data` where it is defined, the model in evaluation
    mode."""
    model.eval()
    totals: dict[str, Tensor] = {}
    undefined: dict[str, Tensor] = {}
    for cut in _evaluated(data, task):
        scores = task.scores(model(view(to_unit(data.images[cut]))), data.truth(task, view, cut))
        for name, values in scores.items():
            missing = values.isnan() if task.segments else torch.zeros((), dtype=torch.int64)
            total, lost = (values.nansum() if task.segments else values.sum()), missing.sum()
            totals[name] = totals[name] + total if name in totals else total
            undefined[name] = undefined[name] + lost if name in undefined else lost
    count = len(data.labels)
    return {
        name: total.item() / left if (left := count - int(undefined[name])) else math.nan
        for name, total in totals.items()
    }


def _evaluated(data: LabelledImages, task: Task) -> list[slice]:
    at_once = SEGMENTED_AT_ONCE if task.segments else EVALUATION_BATCH
    return [slice(start, start + at_once) for start in range(0, len(data.labels), at_once)]


@torch.inference_mode()
def watch(model: nn.Module, data: LabelledImages, view: View, task: Task) -> dict[str, float]:
    """The task's overall scores of `data`, the model in evaluation mode."""
    if task.overall is None:
        return {name: value for name, value in evaluate(model, data, view, task).items() if name != "loss"}
    model.eval()
    cuts = _evaluated(data, task)
    outputs = torch.cat([model(view(to_unit(data.images[cut]))) for cut in cuts])
    return task.overall(outputs, data.truth(task, view, slice(None)))


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
    made: Made | None,
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
        found = batches(data, recipe, epoch=epoch, batch_size=config.batch_size, made=made, masked=task.segments)
        for step, batch in enumerate(found):
            torch.manual_seed(rng.derive(seed, "dropout", epoch, step) % 2**63)
            optimizer.zero_grad(set_to_none=True)
            if batch.masks is not None:
                batch = replace(batch, masks=view.masks(batch.masks))
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
            truth = batch.labels if batch.masks is None else batch.masks
            right += task.accuracy(outputs.detach(), truth).sum()
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
    now, then = row[config.select], best[config.select]
    if math.isnan(then):
        return not math.isnan(now)
    return now < then if config.select == "validation_loss" else now > then


def _further(task: Task) -> tuple[str, ...]:
    return ("dice",) if task.segments else ()


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
    say: Callable[[str], None] = lambda text: None,
) -> State:
    """Train `model` for `config.epochs` epochs, going on from `state` where one is given.

    on_epoch is called with the state after every epoch (save it, show it); on_images with the size of every
    batch; say with what a saliency-driven aug has to tell. test: scored after every epoch where
    `config.watch_test` asks for it; it chooses nothing. Returns the last state; `best` holds the tensors of the
    best epoch: of a saliency-driven aug of those after its first step, before which it is no aug of its own.
    ValueError on a non-finite loss.
    """
    if config.watch_test and test is None:
        raise ValueError(
            "test: expected the test images, for train.watch_test is true; pass them or set it to false"
        )
    started = time.perf_counter()
    device = train.labels.device
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = state or State()
    before, memory = state.seconds, Memory(state.explained_at_once, say)
    if config.select not in (names := [f"validation_{name}" for name in ("accuracy", "loss", *_further(task))]):
        raise ValueError(
            f"train.select: expected one of {', '.join(names)} for a {task.name}, got {config.select}; correct it"
        )
    with deterministic(config.threads, fill=False), quick_gradients(model):
        optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        if state.epoch:
            model.load_state_dict(state.model)
            optimizer.load_state_dict(state.optimizer)
        part = recipe.active
        for epoch in range(state.epoch, config.epochs):
            row: dict[str, float] = {"epoch": epoch + 1}
            first = part is not None and epoch == active.first_step(part.params["steps"])
            if part is not None and active.due(part.params["steps"], epoch):
                made, step = make(
                    model, Training(train.images, train.labels, train.masks), view, task, part, layer=recipe.layer,
                    seed=recipe.augmentation_seed, epoch=epoch, before=state.made, memory=memory,
                )  # fmt: skip
                say(step.told(state.made, part.params["keep"]))
                state = replace(state, made=made, steps=(*state.steps, step))
            row |= _train_epoch(model, optimizer, train, recipe, view, task, config, epoch, state.made, on_images)
            row |= {f"validation_{k}": v for k, v in evaluate(model, validation, view, task).items()}
            if config.watch_test and test is not None:
                row |= {f"test_{k}": v for k, v in watch(model, test, view, task).items()}
            now = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
            best = first or not state.history or _better(config, row, state.history[state.best_epoch - 1])
            state = replace(
                state,
                epoch=epoch + 1,
                model=now,
                optimizer=optimizer.state_dict(),
                best=now if best else state.best,
                best_epoch=epoch + 1 if best else state.best_epoch,
                history=(*state.history, row),
                explained_at_once=memory.batch_size,
                device=device.type,
                seconds=before + time.perf_counter() - started,
            )
            on_epoch(state)
    return state
