"""Any timm classifier, made from a seed, and a checkpoint put into it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from auglens import compat

if TYPE_CHECKING:
    from auglens.config import ModelConfig

# timm's name of a setting → ours and the value that asks for nothing
_OPTIONS: dict[str, tuple[str, str]] = {
    "drop_rate": ("dropout", "0"),
    "drop_path_rate": ("drop_path", "0"),
    "output_stride": ("output_stride", "null"),
}


def build(config: ModelConfig, classes: int, *, init_seed: int) -> nn.Module:
    """A classifier on the CPU in training mode: float32 [N, 3, H, W] → logits float32 [N, classes].

    Equal (config, classes, init_seed) give byte-equal weights; the global generators stay as they were and
    nothing is downloaded. `dropout`, `drop_path` and `output_stride` reach the networks that have them.

    ValueError: an unknown name; fewer than two classes; a setting that the network cannot follow.
    """
    compat.import_timm()
    import timm

    if not timm.is_model(config.name):
        raise ValueError(_unknown(config.name, timm.list_models()))
    if classes < 2:
        raise ValueError(f"classes: expected at least 2, got {classes}; check the labels of the data")
    options: dict[str, Any] = {
        "drop_rate": config.dropout,
        "drop_path_rate": config.drop_path,
        "output_stride": config.output_stride,
        "img_size": config.image_size,  # taken by networks whose weights depend on it
    }
    while True:
        try:
            # The CPU's generator alone: `torch.manual_seed` would seed those of the GPUs too.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(init_seed)
                return timm.create_model(config.name, pretrained=False, num_classes=classes, **options)
        except TypeError as error:
            # timm's constructors refuse by name what they do not know: once more without it.
            refused = [name for name in options if re.search(rf"unexpected keyword .*\b{name}\b", str(error))]
            if not refused:
                raise
            for name in refused:
                value = options.pop(name)
                if value and name in _OPTIONS:
                    raise ValueError(_unsupported(name, value, config.name)) from None
        except (AssertionError, NotImplementedError):
            if config.output_stride is None:
                raise
            raise ValueError(_unsupported("output_stride", config.output_stride, config.name)) from None


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a checkpoint's tensors into `model`; all of them or, on an error, none.

    ValueError: another architecture's checkpoint, naming the first tensor that differs.
    """
    expected = model.state_dict()
    fix = "it is another architecture's: set model.* to what it was trained with, or train this model"
    for name, tensor in expected.items():
        shape = list(tensor.shape)
        if name not in state:
            raise ValueError(f"checkpoint: no tensor {name!r}, expected {shape}; {fix}")
        if list(state[name].shape) != shape:
            raise ValueError(f"checkpoint: tensor {name!r} is {list(state[name].shape)}, expected {shape}; {fix}")
    surplus = next((name for name in state if name not in expected), None)
    if surplus is not None:
        raise ValueError(f"checkpoint: tensor {surplus!r} is not in the model; {fix}")
    model.load_state_dict(dict(state))


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
    return f"model.name: expected a timm model, got {name!r}; {hint}"


def _unsupported(option: str, value: object, name: str) -> str:
    ours, neutral = _OPTIONS[option]
    return f"model.{ours}: {value} is not supported by {name}; use {neutral} or another model.name"
