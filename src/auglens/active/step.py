"""One step: the model as it is now → new images in the second half of the training set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auglens import rng
from auglens.active.changes import CHANGES, WORDS, Shown
from auglens.active.windows import at_pixels, stands_out
from auglens.batch_size import is_out_of_memory
from auglens.data.augmentations.mixing import partners
from auglens.data.augmentations.schema import Part, known
from auglens.data.views import View, to_unit
from auglens.saliency import explain, target_layer
from auglens.saliency.foreground import explain_foreground, foreground_layer
from auglens.saliency.hooks import frozen
from auglens.tasks import Task

CHUNK = 256  # images changed at once
LARGEST = 128  # images explained at once
ROUNDING = 1e-9  # of a product such as 0.07 · 100, which is a little more than 7


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
        earlier = before.rows.cpu() if keep and before is not None else self.rows
        kept = int((~torch.isin(earlier, self.rows)).sum())
        wrong = f", {self.wrong} wrong" if self.wrong > 0 else ""
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
    params, memory = part.params, memory or Memory()
    layer = (foreground_layer if task.segments else target_layer)(model, layer, image_size=view.image_size)
    rows, wrong = _considered(model, data, view, task, part, memory, seed=seed, epoch=epoch)
    if len(rows):
        memory.say(f"step after epoch {epoch}: explaining {len(rows):,} images by {params['method']}")
    chosen, fields = [], []
    for cut in _cuts(len(rows)):
        some = rows[cut]
        drawn, partner = _drawn(data, part, some, seed=seed, epoch=epoch)
        maps = explained(model, data, view, task, some if partner is None else partner, params, layer, memory)
        found, good = _changed(data, view, part, some, partner, maps, drawn)
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
    model: nn.Module, data: Training, view: View, task: Task, part: Part, memory: Memory,
    *, seed: int | None, epoch: int,
) -> tuple[Tensor, int]:  # fmt: skip
    """(rows int64 [K] ascending, how many are wrong or −1): all or the wrong ones, of them ⌈fraction · n⌉
    drawn."""
    device, params = data.labels.device, part.params
    rows, wrong = torch.arange(len(data.labels), device=device), -1
    if params["images"] == "wrong":
        rows = wrong_rows(model, data, view, task, memory)
        wrong = len(rows)
    if params["fraction"] < 1 and len(rows):
        if seed is None:
            raise ValueError(f"{part.name}: draws some of the images; pass a seed, not None")
        drawn = rng.uniforms(
            seed=seed, stream="augmentation/fraction", epoch=epoch, rows=rows.cpu().numpy(), width=1
        )[:, 0]
        count = int(np.ceil(params["fraction"] * len(rows) - ROUNDING))
        rows = rows[torch.from_numpy(np.sort(np.argsort(drawn, kind="stable")[:count])).to(device)]
    return rows, wrong


def wrong_rows(model: nn.Module, data: Training, view: View, task: Task, memory: Memory | None = None) -> Tensor:
    """int64 [K]: the training images that the model, in evaluation mode, has wrong. ValueError for a
    segmentation."""
    if task.segments:
        raise ValueError(
            "images: expected all for a segmentation, since no mask is simply wrong, got wrong; set all"
        )

    def right(some: Tensor) -> Tensor:
        with torch.no_grad():
            return task.accuracy(model(view(to_unit(data.images[some]))), data.labels[some])

    with frozen(model):
        every = torch.arange(len(data.labels), device=data.labels.device)
        found = _in_batches(every, right, memory or Memory(), ("predict", "predicting", ""))
    return (found < 1).nonzero()[:, 0]


def explained(
    model: nn.Module, data: Training, view: View, task: Task, rows: Tensor, params: Any, layer: str, memory: Memory
) -> Tensor:
    """Raw maps of the training images `rows` at their pixels, float32 [K,H,W]."""
    height, width = data.images.shape[2:]

    def maps(some: Tensor) -> Tensor:
        raw = _explain(model, data, view, task, some, params, layer)
        return at_pixels(torch.from_numpy(raw).to(data.images.device), height, width)

    return _in_batches(rows, maps, memory, ("explain", "explaining", f" by {params['method']}"))


def _in_batches(
    rows: Tensor, apply: Callable[[Tensor], Tensor], memory: Memory, doing: tuple[str, str, str]
) -> Tensor:
    """What `apply` makes of `rows`, some at a time. Where memory runs out it goes on with half as many; another
    number at once changes results by rounding alone. ValueError where memory does not suffice for one."""
    parts: list[Tensor] = []
    at = 0
    while at < len(rows):
        some, found = rows[at : at + memory.batch_size], None
        try:
            found = apply(some)
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not is_out_of_memory(error):
                raise
        if found is not None:
            parts.append(found)
            at += len(some)
            continue
        # Here nothing holds the tensors of the failed try any more.
        if len(some) == 1:
            raise ValueError(
                f"active step: memory does not suffice to {doing[0]} one image{doing[2]}; use another method, a"
                " smaller model.image_size or train.device=cpu"
            )
        memory.batch_size = len(some) // 2
        if rows.device.type == "cuda":
            torch.cuda.empty_cache()
        memory.say(f"memory ran out {doing[1]} {len(some)} images at once: going on with {memory.batch_size}")
    return torch.cat(parts)


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


def _drawn(
    data: Training, part: Part, rows: Tensor, *, seed: int | None, epoch: int
) -> tuple[np.ndarray, Tensor | None]:
    """(uniform draws float64 [B, WORDS − 1], partners int64 [B] where the aug pastes from some)."""
    if not known()[part.name].mixes:
        return np.zeros((len(rows), WORDS - 1)), None
    if seed is None:
        raise ValueError(f"{part.name}: draws partners; pass a seed, not None")
    numbers = rows.cpu().numpy()
    drawn = rng.uniforms(seed=seed, stream=f"augmentation/{part.name}", epoch=epoch, rows=numbers, width=WORDS)
    return drawn[:, 1:], torch.from_numpy(partners(drawn[:, 0], numbers, len(data.labels))).to(rows.device)


def _changed(
    data: Training, view: View, part: Part, rows: Tensor, partner: Tensor | None, maps: Tensor, drawn: np.ndarray
) -> tuple[dict[str, Tensor], Tensor]:
    """(what was made of the images that could be changed, which those are: bool [B]). maps: the partners' where
    there are some, else the images' own."""

    def shown(some: Tensor) -> Shown:
        masks = None if data.masks is None else data.masks[some] != 0
        return Shown(data.images[some], maps, masks)

    good = stands_out(maps)
    other = None if partner is None else shown(partner)
    found = CHANGES[part.name](shown(rows), other, drawn, view.mean, part.params)
    bits = np.packbits(found.where[good].flatten(1).cpu().numpy(), axis=1)
    labels = data.labels[rows if partner is None else partner]
    made = {"images": found.images[good], "where": torch.from_numpy(bits), "partner_labels": labels[good]}
    made["partner_weight"] = found.partner_weight[good]
    if found.masks is not None:
        made["masks"] = found.masks[good]
    return made, good
