"""Tokens and channels-last tensors as maps: vision transformers through timm's own description of their grid."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def as_maps(model: nn.Module, output: Any) -> Any:
    """A layer's output as maps [B, K, h, w]: tokens [B, N, K] without those of no place, channels-last turned.

    Whatever else comes as it is.
    """
    if not isinstance(output, Tensor):
        return output
    if output.ndim == 4 and getattr(model, "output_fmt", None) == "NHWC":
        return output.permute(0, 3, 1, 2)
    grid = grid_of(model)
    if output.ndim != 3 or grid is None:
        return output
    height, width = grid
    places = output.shape[1] - prefix_of(model)
    if places != height * width:
        return output
    return output[:, prefix_of(model) :].transpose(1, 2).unflatten(2, (height, width))


def grid_of(model: nn.Module) -> tuple[int, int] | None:
    """(rows, columns) of a transformer's patches, or None of another network."""
    embed: Any = getattr(model, "patch_embed", None)
    grid = getattr(embed, "grid_size", None)
    return None if grid is None or not hasattr(model, "num_prefix_tokens") else (int(grid[0]), int(grid[1]))


def prefix_of(model: nn.Module) -> int:
    """How many tokens before the patches belong to no place: class and register tokens."""
    return int(getattr(model, "num_prefix_tokens", 0))
