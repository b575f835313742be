"""What is asked of a function of one's own when the study starts, before anything is trained.

Every check runs the function on small made inputs and raises a ValueError of one line that names file, function
and rule. A function that passes on them may still fail on others: a stage then stops with its traceback.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from auglens import rng
from auglens.config import Config
from auglens.device import deterministic, find_device
from auglens.own.loading import Own
from auglens.saliency.contract import Found
from auglens.saliency.hooks import frozen
from auglens.saliency.layers import SMALLEST

BATCH = 6
# A convolution may round differently for another batch: far below a grey level (0.004) of an image, and below
# what a map shows.
IMAGE_TOLERANCE, MAP_TOLERANCE, METRIC_TOLERANCE = 1e-5, 1e-3, 1e-9


class Rules:
    """The rules for one function: `path: kind name: rule`."""

    def __init__(self, own: Own, name: str) -> None:
        self.declared = own.source.declared[name]
        self.function: Callable[..., Any] = own.functions[name]
        self.where = f"{own.source.path}: {self.declared.kind} {name}"

    def refuse(self, rule: str) -> NoReturn:
        raise ValueError(f"{self.where}: {rule} (see docs/own.md)")

    def require(self, ok: bool, rule: str) -> None:
        if not ok:
            self.refuse(rule)

    def call(self, *arguments: Any) -> Any:
        """The function's result; refused where it raises or moves a global random generator."""
        with self.untouched():
            try:
                return self.function(*arguments)
            except Exception as error:
                self.refuse(f"raised {type(error).__name__}: {' '.join(str(error).split())}")

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
        before = _generators()
        try:
            yield
            self.require(
                _generators() == before, "draws from a global random generator; use the words that it is handed"
            )
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_rng_state(states[2])


def _generators() -> tuple[object, ...]:
    legacy: Any = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (legacy[1].tobytes(), *legacy[2:]), torch.get_rng_state().numpy().tobytes()


def _told(value: object) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


def _images(size: int, device: torch.device) -> Tensor:
    """float32 [BATCH,3,size,size] in [0, 1]: grey levels as photographs have, any values, one black, one white."""
    images = torch.rand((BATCH, 3, size, size), generator=rng.torch_generator(0, "own/images"))
    images[:2] = (images[:2] * 255).round() / 255
    images[-2], images[-1] = 0.0, 1.0
    return images.to(device)


def check(own: Own, settings: Config, model: nn.Module, layer: str, pixels: int) -> tuple[int, int] | None:
    """Everything that a study uses of one's own, on the device that trains. model: the study's network; pixels:
    side of the data's images. Returns the sides of the map method's raw maps, where it is one's own."""
    model.to(find_device(settings.train.device))
    used, seen = settings.own_names, settings.model.image_size
    with deterministic(settings.train.threads):
        for name in settings.own_augs:
            params = settings.aug.parameters.get(name, {})
            check_augmentation(own, name, params, pixels, next(model.parameters()).device)
        for name in settings.measure.further:
            if name in used:
                check_metric(own, name, seen)
        if settings.maps.method in used:
            return check_map_method(own, settings.maps.method, model, layer, seen)
    return None


def check_augmentation(own: Own, name: str, params: Any, size: int, device: torch.device) -> None:
    """size: pixels, the data's own. Shape, dtype, range, determinism, independence of the batch."""
    rules = Rules(own, name)
    width = rules.declared.words
    words = rng.words(seed=0, stream="own/words", epoch=0, rows=np.arange(BATCH), width=width)
    images = _images(size, device)

    def made(rows: slice) -> Tensor:
        given, drawn = images[rows].clone(), words[rows].copy()
        found = rules.call(given, drawn, params)
        expected = f"float32 {list(given.shape)} on {given.device}"
        right = isinstance(found, Tensor) and (found.dtype, found.shape) == (torch.float32, given.shape)
        rules.require(right and found.device == given.device, f"expected {expected}, got {_told(found)}")
        rules.require(not found.requires_grad, "its images ask for a gradient; wrap it in torch.no_grad()")
        rules.require(bool(found.isfinite().all()), "its images hold NaN or an infinity")
        low, high = float(found.min()), float(found.max())
        rules.require(
            low >= 0 and high <= 1, f"expected values in [0, 1], got {low:.3g} to {high:.3g}; clamp them"
        )
        rules.require(torch.equal(given, images[rows]), "modifies the images that it is handed; work on a copy")
        rules.require(np.array_equal(drawn, words[rows]), "modifies the words that it is handed; work on a copy")
        return found

    whole = made(slice(None))
    rules.require(torch.equal(whole, made(slice(None))), "gives other images for equal images and words")
    for row in range(BATCH):
        alone = made(slice(row, row + 1))
        same = torch.allclose(whole[row : row + 1], alone, rtol=0, atol=IMAGE_TOLERANCE)
        rules.require(same, "an image depends on the others of its batch; treat each by itself")


def check_map_method(own: Own, name: str, model: nn.Module, layer: str, size: int) -> tuple[int, int]:
    """The side lengths of its raw maps, on the study's network and `size` pixels, for both kinds of target."""
    rules = Rules(own, name)
    device = next(model.parameters()).device
    images = torch.randn((3, 3, size, size), generator=rng.torch_generator(0, "own/inputs")).to(device)
    with frozen(model), torch.no_grad():
        logits = model(images)
        before = _state(model)

        def found(rows: slice, targets: Tensor | None) -> Found:
            given = images[rows].clone()
            with torch.enable_grad():
                made = rules.call(model, layer, given, None if targets is None else targets[rows].clone())
            rules.require(isinstance(made, tuple) and len(made) == 3, "expected Found(raw, logits, targets)")
            raw, scores, classes = made
            n = len(given)
            right = isinstance(raw, Tensor) and raw.dtype == torch.float32 and raw.ndim == 3 and len(raw) == n
            rules.require(right, f"raw: expected float32 [{n}, h, w], got {_told(raw)}")
            sides = "×".join(map(str, raw.shape[1:]))
            rules.require(min(raw.shape[1:]) >= SMALLEST, f"raw: expected at least 4×4 cells, got {sides}")
            rules.require(bool(raw.isfinite().all()), "raw: holds NaN or an infinity")
            expected = logits[rows]
            right = isinstance(scores, Tensor) and (scores.dtype, scores.shape) == (torch.float32, expected.shape)
            rules.require(right, f"logits: expected float32 {list(expected.shape)}, got {_told(scores)}")
            near = torch.allclose(scores, expected, rtol=MAP_TOLERANCE, atol=1e-4)
            rules.require(near, "logits: expected the model's own")
            asked = scores.argmax(1) if targets is None else targets[rows]
            right = isinstance(classes, Tensor) and classes.dtype == torch.int64 and torch.equal(classes, asked)
            rules.require(right, "targets: expected, as int64, the classes given, else those predicted")
            attached = raw.requires_grad or scores.requires_grad
            rules.require(not attached, "its maps ask for a gradient; detach them")
            rules.require(torch.equal(given, images[rows]), "modifies the images that it is handed")
            unchanged = _same(_state(model), before)
            rules.require(unchanged, "changes the model; leave it as it was, hooks and .grad too")
            return Found(raw, scores, classes)

        others = logits.argmin(1)
        for targets in (None, others):
            whole, again = found(slice(None), targets), found(slice(None), targets)
            rules.require(torch.equal(whole.raw, again.raw), "gives other maps for equal images")
            scale = max(float(whole.raw.abs().max()), 1e-12)
            for row in range(len(images)):
                alone = found(slice(row, row + 1), targets).raw
                same = alone.shape[1:] == whole.raw.shape[1:]
                off = float((whole.raw[row] - alone[0]).abs().max()) if same else float("inf")
                rules.require(off <= MAP_TOLERANCE * scale, "a map depends on the others of its batch")
    return int(whole.raw.shape[1]), int(whole.raw.shape[2])


def _state(model: nn.Module) -> list[Any]:
    tensors = [(value.clone(), value.requires_grad) for value in model.state_dict(keep_vars=True).values()]
    hooks = [
        len(getattr(module, kind))
        for module in model.modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    ]
    modes = [module.training for module in model.modules()]
    return [tensors, hooks, modes, [parameter.grad is None for parameter in model.parameters()]]


def _same(one: list[Any], other: list[Any]) -> bool:
    tensors = zip(one[0], other[0], strict=True)
    return one[1:] == other[1:] and all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in tensors)


def check_metric(own: Own, name: str, size: int) -> None:
    """On finished maps of `size` pixels: shape, dtype, determinism, direction, independence of the batch."""
    rules = Rules(own, name)
    generator = rng.numpy_generator(0, "own/maps")
    maps, others = (generator.random((BATCH, size, size), dtype=np.float32) for _ in range(2))
    others[-1] = 0.0  # a constant map

    def values(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        given = one.copy(), two.copy()
        with np.errstate(all="ignore"):
            found = rules.call(*given)
        right = isinstance(found, np.ndarray) and found.dtype == np.float64 and found.shape == (len(one),)
        rules.require(right, f"expected float64 [{len(one)}], got {_told(found)}")
        kept = np.array_equal(given[0], one) and np.array_equal(given[1], two)
        rules.require(kept, "modifies the maps that it is handed; work on a copy")
        return found

    whole = values(maps, others)
    rules.require(np.array_equal(whole, values(maps, others), equal_nan=True), "gives other values for equal maps")
    rules.require(bool(np.isfinite(whole[:-1]).all()), "is not finite for two ordinary maps")
    rules.require(not np.isinf(whole).any(), "is infinite for a constant map; give NaN where it is undefined")
    for row in range(BATCH):
        alone = values(maps[row : row + 1], others[row : row + 1])
        near = np.allclose(whole[row], alone, rtol=METRIC_TOLERANCE, atol=METRIC_TOLERANCE, equal_nan=True)
        rules.require(near, "a value depends on the other maps of its batch; treat each pair by itself")
    itself = values(maps, maps)
    rules.require(bool(np.isfinite(itself).all()), "is not finite for a map and itself")
    sign = 1 if rules.declared.higher_is_closer else -1
    closer = bool((sign * (itself - whole)[:-1] >= 0).all())
    flag = rules.declared.higher_is_closer
    rules.require(closer, f"higher_is_closer={flag}, but a map is further from itself than from another")
