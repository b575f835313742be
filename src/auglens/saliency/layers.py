"""Which layer is explained, and how large its map is."""

from __future__ import annotations

import contextlib
import difflib
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from auglens.saliency.finishing import as_size
from auglens.saliency.hooks import Call, frozen, recording
from auglens.saliency.tokens import as_maps, grid_of

FEATURES, LAST_CONV = "features", "last_conv"
SMALLEST, COARSE = 4, 7  # cells along a side: below the first a map is refused, below the second warned about

Size = int | tuple[int, int]


def target_layer(model: nn.Module, layer: str = FEATURES, *, image_size: Size | None = None) -> str:
    """The name of the module whose output is explained, for images of `image_size` pixels.

    `features`: whose output is the last spatial map, the one that the head pools (timm's `forward_features`); of a
    vision transformer the first norm of its last block, the last whose patches all reach the class token;
    `last_conv`: the Conv2d that runs last on a spatial map (EfficientNet's `conv_head`), not one of squeeze
    and excitation or after the pooling; anything else: a module's name (the two words stay words even where a
    module bears such a name). `image_size` defaults to the one that timm states for the model.

    ValueError: no such module, or no map there: neither [N, C, h, w] nor what `tokens.as_maps` makes one of.
    """
    size = _image_size(model, image_size)
    if layer == FEATURES:
        return _features(model, size)[0]
    if layer == LAST_CONV:
        return _last_conv(model, size)
    map_size(model, layer, size)
    return layer


def map_size(model: nn.Module, layer_name: str, image_size: Size) -> tuple[int, int]:
    """(h, w) of the map of the module `layer_name`, in cells, for images of `image_size` pixels.

    ValueError: no such module; it does not run exactly once; what it gives is not a map [N, C, h, w].
    """
    _known(model, layer_name)
    size = _image_size(model, image_size)
    with _tracing(model) as calls:
        model(_blank(model, size))
    outputs = [call.output for call in calls if call.name == layer_name]
    if len(outputs) != 1:
        times = "never runs" if not outputs else f"runs {len(outputs)} times per image"
        raise ValueError(f"maps.layer: {layer_name!r} of {_label(model)} {times}, expected once; use features")
    return _map_size(as_maps(model, outputs[0]), size, f"{layer_name!r} of {_label(model)}")


def check_map_size(model: nn.Module, layer_name: str, image_size: Size) -> tuple[int, int]:
    """`map_size`, where maps of that size can be compared.

    ValueError below 4×4 cells: at 1×1 every finished map is zero. UserWarning below 7×7.
    """
    return _comparable(model, layer_name, _image_size(model, image_size), map_size(model, layer_name, image_size))


def find_layer(model: nn.Module, layer: str, size: tuple[int, int]) -> str:
    """`target_layer` without a run of the model where `layer` names a module: for `checking` what it gives."""
    if layer in (FEATURES, LAST_CONV):
        return target_layer(model, layer, image_size=size)
    _known(model, layer)
    return layer


@contextlib.contextmanager
def checking(model: nn.Module, layer_name: str, size: tuple[int, int]) -> Iterator[None]:
    """`check_map_size` of whatever the module gives inside the block, instead of in a run of its own."""

    def check(_module: nn.Module, _inputs: Any, output: Any) -> None:
        found = _map_size(as_maps(model, output), size, f"{layer_name!r} of {_label(model)}")
        _comparable(model, layer_name, size, found)

    handle = model.get_submodule(layer_name).register_forward_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _known(model: nn.Module, layer_name: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if layer_name not in names:
        near = difflib.get_close_matches(layer_name, names, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "use features, last_conv or a module's name"
        raise ValueError(f"maps.layer: {_label(model)} has no module {layer_name!r}; {hint}")


def _comparable(
    model: nn.Module, layer_name: str, size: tuple[int, int], cells: tuple[int, int]
) -> tuple[int, int]:
    height, width = cells
    found = f"the map of {layer_name!r} of {_label(model)} is {height}×{width} at {_times(size)} pixels"
    fix = "use a larger model.image_size or a smaller model.output_stride"
    if min(height, width) < SMALLEST:
        raise ValueError(f"maps.layer: {found}, expected at least {SMALLEST}×{SMALLEST}; {fix}")
    if min(height, width) < COARSE:
        warnings.warn(f"maps.layer: {found}, coarse below {COARSE}×{COARSE}; {fix}", stacklevel=1)
    return height, width


@contextlib.contextmanager
def _tracing(model: nn.Module) -> Iterator[list[Call]]:
    # Tensors made in inference mode count no versions.
    with torch.inference_mode(False), torch.no_grad(), frozen(model), recording(model) as calls:
        yield calls


def _features(model: nn.Module, size: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Name and map size of the module whose output is what `forward_features` returns."""
    where = f"features of {_label(model)}"
    forward_features: Any = getattr(model, "forward_features", None)
    if forward_features is None:
        raise ValueError(f"maps.layer: {where}: no forward_features, as timm's have; name a module instead")
    with _tracing(model) as calls:
        output = forward_features(_blank(model, size))
    if grid_of(model) is not None:
        norms = [call for call in calls if re.fullmatch(r"blocks\.\d+\.norm1", call.name)]
        if norms:
            return norms[-1].name, _map_size(as_maps(model, norms[-1].output), size, where)
    found = _map_size(as_maps(model, output), size, where)
    makers = [call.name for call in calls if _made(call, output)]
    if not makers:
        raise ValueError(f"maps.layer: {where}: no module's output is the map that the head pools; name a module")
    # A stage, its last block and the block's activation all end with the same tensor: the outermost names it,
    # and of those the first, for identities and dropout only hand it on.
    return min(makers, key=lambda name: name.count(".")), found


def _made(call: Call, output: Tensor) -> bool:
    """Whether the call gave `output` as it now is: not before an in-place activation that came after it."""
    return call.output is output and call.version == output._version


def _last_conv(model: nn.Module, size: tuple[int, int]) -> str:
    if hasattr(model, "forward_features"):
        # At 1×1 nothing tells the map from what is made of it after pooling.
        name, found = _features(model, size)
        if math.prod(found) == 1:
            check_map_size(model, name, size)
    with _tracing(model) as calls:
        model(_blank(model, size))
    convolutions = [call for call in calls if isinstance(call.module, nn.Conv2d)]
    spatial = [call.name for call in convolutions if math.prod(call.output.shape[2:]) > 1]
    if not spatial:
        raise ValueError(f"maps.layer: {_label(model)} runs no Conv2d on a map; name a module or use features")
    return spatial[-1]


def _map_size(output: Any, size: tuple[int, int], where: str) -> tuple[int, int]:
    shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if isinstance(output, Tensor) and output.ndim == 4:
        height, width = output.shape[2:]
        # A map has the image's proportions, up to padding: channels-last maps and other tensors do not.
        if abs(height * size[1] - width * size[0]) <= 4 * abs(size[0] - size[1]):
            return height, width
    raise ValueError(
        f"maps.layer: {where} gives {shape}, expected a map [N, C, h, w]; "
        "choose another model.name or a convolutional layer's name"
    )


def _image_size(model: nn.Module, image_size: Size | None) -> tuple[int, int]:
    if image_size is not None:
        return as_size(image_size, "image_size")
    stated = getattr(model, "default_cfg", None) or {}
    if "input_size" not in stated:
        raise ValueError(f"image_size: {_label(model)} states none; pass the images' size in pixels")
    return as_size(tuple(stated["input_size"][1:]), "image_size")


def _blank(model: nn.Module, size: tuple[int, int]) -> Tensor:
    like = next(model.parameters())
    return torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device)


def _label(model: nn.Module) -> str:
    stated = getattr(model, "default_cfg", None) or {}
    return str(stated.get("architecture") or type(model).__name__)


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
