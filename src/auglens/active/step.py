"""One step: the model as it is now → new images in the second half of the training set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auglens import rng
from auglens.active.changes import WORDS, Shown, change_of
from auglens.active.windows import at_pixels, stands_out
from auglens.data.augmentations.mixing import partners
from auglens.data.augmentations.schema import Part, known
from auglens.data.knobs import Spec
from auglens.data.views import View, to_unit
from auglens.saliency import explain
from auglens.saliency.foreground import explain_foreground
from auglens.tasks import Task

CHUNK = 256  # images changed at once
LARGEST = 128  # images explained at once


@dataclass(frozen=True)
class Made:
    """What stands in the second half in place of copies: uint8 images [M,3,H,W] of the training images `rows`,
    int64 [M], ascending; masks bool [M,H,W] or None; partner_labels int64 [M], partner_weight float32 [M] in [0,
    1]."""

    rows: Tensor
    images: Tensor
    partner_labels: Tensor
    partner_weight: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """What a step did. epoch: epochs done before it; wrong: training images that the model had wrong, −1 where
    nobody asked; considered: how many were explained for a change; flat: of those, maps that say nothing;
    rows: int64 [K], what was made in this step; where: packed bits uint8 [K, ⌈H·W/8⌉], the pixels chosen."""

    epoch: int
    wrong: int
    considered: int
    flat: int
    rows: Tensor
    where: Tensor

    def told(self, before: Made | None, keep: bool) -> str:
        kept = len(before.rows) if keep and before is not None else 0
        wrong = f", {self.wrong} wrong" if self.wrong >= 0 else ""
        flat = f", {self.flat} with a map that says nothing, left as they are" if self.flat else ""
        rest = f"; {kept} of earlier steps stay where none is new" if kept else ""
        none = (
            "no training image is wrong: nothing to make" if self.wrong == 0 else f"{len(self.rows)} images made"
        )
        return f"step after epoch {self.epoch}: {none}{wrong}{flat}{rest}"


@dataclass(frozen=True)
class Training:
    """The training images that a step works on, all on one device. images: uint8 [N,3,H,W]; labels: int64 [N];
    masks: uint8 or bool [N,H,W] or None."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None = None


@dataclass
class Memory:
    """How many images are explained at once: halved whenever memory runs out, and kept so."""

    batch_size: int = LARGEST
    say: Callable[[str], None] = field(default=lambda text: None)


def make(
    model: nn.Module,
    data: Training,
    view: View,
    task: Task,
    part: Part,
    *,
    layer: str,
    seed: int | None,
    epoch: int,
    before: Made | None = None,
    memory: Memory | None = None,
) -> tuple[Made, Step]:
    """The images of one step, and what it did; the model is left as it was.

    layer: what `target_layer` takes. seed: as of `augment`. epoch: epochs done, from 1. before: what stood there.
    Equal arguments give equal bytes. An image whose map is constant or not finite is left out and counted.
    ValueError where the parameters do not fit the data, and where memory does not suffice for one image.
    """
    params, spec, memory = part.params, known()[part.name], memory or Memory()
    rows, wrong = _considered(model, data, view, task, part, seed=seed, epoch=epoch)
    height, width = data.images.shape[2:]
    looked = torch.arange(len(data.labels), device=rows.device) if spec.mixes else rows
    maps = torch.zeros(0, height, width, device=data.images.device)
    if len(rows):
        memory.say(f"step after epoch {epoch}: explaining {len(looked):,} images by {params['method']}")
        maps = explained(model, data, view, task, looked, params, layer=layer, memory=memory)
    chosen, fields = [], []
    for cut in _cuts(len(rows)):
        some = rows[cut]
        found, good = _changed(data, view, part, spec, some, maps, cut, seed=seed, epoch=epoch)
        chosen.append(some[good])
        fields.append(found)
    made_rows = torch.cat([*chosen, rows[:0]])
    step = Step(
        epoch, wrong, len(rows), len(rows) - len(made_rows), made_rows.cpu(), _joined(fields, "where", data)
    )
    now = Made(
        made_rows,
        _joined(fields, "images", data),
        _joined(fields, "partner_labels", data),
        _joined(fields, "partner_weight", data),
        None if data.masks is None else _joined(fields, "masks", data),
    )
    return (merge(before, now) if params["keep"] and before is not None else now), step


def merge(before: Made, now: Made) -> Made:
    """Both steps' images; where both made one of the same row, the new one."""
    kept = ~torch.isin(before.rows, now.rows)
    rows = torch.cat([before.rows[kept], now.rows])
    order = rows.argsort()

    def both(name: str) -> Tensor | None:
        old, new = getattr(before, name), getattr(now, name)
        return None if old is None else torch.cat([old[kept], new])[order]

    return Made(rows[order], **{name: both(name) for name in Made.__dataclass_fields__ if name != "rows"})  # type: ignore[arg-type]


def _cuts(count: int) -> Iterator[slice]:
    return (slice(at, min(at + CHUNK, count)) for at in range(0, count, CHUNK))


def _joined(fields: Sequence[dict[str, Tensor]], name: str, data: Training) -> Tensor:
    if fields:
        return torch.cat([one[name] for one in fields])
    n, (height, width) = 0, data.images.shape[2:]
    empty: dict[str, Any] = {
        "images": ((n, *data.images.shape[1:]), torch.uint8),
        "masks": ((n, height, width), torch.bool),
        "where": ((n, -(-height * width // 8)), torch.uint8),
        "partner_labels": ((n,), torch.int64),
        "partner_weight": ((n,), torch.float32),
    }
    shape, dtype = empty[name]
    return torch.zeros(shape, dtype=dtype, device="cpu" if name == "where" else data.images.device)


def _considered(
    model: nn.Module, data: Training, view: View, task: Task, part: Part, *, seed: int | None, epoch: int
) -> tuple[Tensor, int]:
    """(rows int64 [K] ascending, how many are wrong or −1): all or the wrong ones, of them ⌈fraction · n⌉
    drawn."""
    device, params = data.labels.device, part.params
    rows, wrong = torch.arange(len(data.labels), device=device), -1
    if params["images"] == "wrong":
        rows = wrong_rows(model, data, view, task)
        wrong = len(rows)
    if params["fraction"] < 1 and len(rows):
        if seed is None:
            raise ValueError(f"{part.name}: draws some of the images; pass a seed, not None")
        drawn = rng.uniforms(
            seed=seed, stream=f"augmentation/{part.name}/fraction", epoch=epoch, rows=rows.cpu().numpy(), width=1
        )[:, 0]
        count = int(np.ceil(params["fraction"] * len(rows)))
        rows = rows[torch.from_numpy(np.sort(np.argsort(drawn, kind="stable")[:count])).to(device)]
    return rows, wrong


@torch.inference_mode()
def wrong_rows(model: nn.Module, data: Training, view: View, task: Task) -> Tensor:
    """int64 [K]: the training images that the model, in evaluation mode, has wrong."""
    training = model.training
    model.eval()
    try:
        right = [
            task.accuracy(model(view(to_unit(data.images[cut]))), data.labels[cut])
            for cut in _cuts(len(data.labels))
        ]
    finally:
        model.train(training)
    return (torch.cat(right) < 1).nonzero()[:, 0].clone()


def explained(
    model: nn.Module,
    data: Training,
    view: View,
    task: Task,
    rows: Tensor,
    params: Any,
    *,
    layer: str,
    memory: Memory,
) -> Tensor:
    """Raw maps of the training images `rows` at their pixels, float32 [K,H,W]. Where memory runs out it goes on
    with half as many images at once; another number of images at once changes maps by rounding alone."""
    parts: list[Tensor] = []
    height, width = data.images.shape[2:]
    at = 0
    while at < len(rows):
        some = rows[at : at + memory.batch_size]
        try:
            raw = _explain(model, data, view, task, some, params, layer)
            parts.append(at_pixels(torch.from_numpy(raw).to(data.images.device), height, width))
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not out_of_memory(error):
                raise
            if len(some) == 1:
                raise ValueError(
                    f"active step: memory does not suffice to explain one image by {params['method']};"
                    " use another method, a smaller model.image_size or train.device=cpu"
                ) from None
            memory.batch_size = len(some) // 2
            if data.images.device.type == "cuda":
                torch.cuda.empty_cache()
            memory.say(f"memory ran out explaining {len(some)} images at once: going on with {memory.batch_size}")
            continue
        at += len(some)
    return torch.cat(parts)


def out_of_memory(error: BaseException) -> bool:
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in told


def _explain(
    model: nn.Module, data: Training, view: View, task: Task, rows: Tensor, params: Any, layer: str
) -> np.ndarray:
    images = view(to_unit(data.images[rows]))
    how: dict[str, Any] = {"method": params["method"], "layer": layer, "batch_size": len(rows)}
    if task.segments:
        masks = view.masks(data.masks[rows]) if params["target"] == "label" and data.masks is not None else None
        return explain_foreground(model, [(images, masks)], **how).raw
    targets = data.labels[rows] if params["target"] == "label" else None
    return explain(model, images, targets=targets, **how).raw


def _changed(
    data: Training, view: View, part: Part, spec: Spec, rows: Tensor, maps: Tensor, cut: slice,
    *, seed: int | None, epoch: int,
) -> tuple[dict[str, Tensor], Tensor]:  # fmt: skip
    """(what was made of the images that could be changed, which those are: bool [B])."""

    def shown(some: Tensor, of: Tensor) -> Shown:
        masks = None if data.masks is None else data.masks[some] != 0
        return Shown(data.images[some], of, data.labels[some], masks)

    own = maps[rows] if spec.mixes else maps[cut]
    partner, other = None, rows
    drawn = np.zeros((len(rows), WORDS))
    if spec.mixes:
        if seed is None:
            raise ValueError(f"{part.name}: draws partners; pass a seed, not None")
        drawn = rng.uniforms(
            seed=seed, stream=f"augmentation/{part.name}", epoch=epoch, rows=rows.cpu().numpy(), width=WORDS
        )
        other = torch.from_numpy(partners(drawn[:, 0], rows.cpu().numpy(), len(data.labels))).to(rows.device)
        own = maps[other]
        partner = shown(other, own)
    good = stands_out(own)
    found = change_of(part.name)(shown(rows, own), partner, drawn[:, 1:], view.mean, part.params)
    bits = np.packbits(found.where[good].flatten(1).cpu().numpy(), axis=1)
    made = {
        "images": found.images[good],
        "where": torch.from_numpy(bits),
        "partner_labels": data.labels[other][good],
    }
    made["partner_weight"] = found.partner_weight[good]
    if found.masks is not None:
        made["masks"] = found.masks[good]
    return made, good
