"""Do maps depend on what the network has learnt? Its weights are made random from the head down to the stem.

Source: the cascading randomisation of Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018. How far
each level's maps are from the original's: `auglens.metrics.sanity_check`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auglens.saliency.contract import Method
from auglens.saliency.explanation import Targets, explain
from auglens.saliency.finishing import Floats, finish
from auglens.saliency.methods import find

STEM = "stem"
FEWEST = 5  # groups at the top of a network, below which its stacks of blocks are taken apart


class Level(NamedTuple):
    """One level of the cascade: the group made random last (none: the original), the share in [0, 1] of all
    parameters that are random by now, and each method's finished maps, float [N,H,W]."""

    layer: str | None
    fraction_randomised: float
    maps: dict[str, Floats]


def cascade(model: nn.Module, fresh: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """(group, network) from the head down to the stem, each group of `groups` with the values of `fresh` by then.

    fresh: the same architecture with other initial weights; buffers (a batch norm's statistics) go with their
    group. The network is one working copy, of `model` as it is at this call, and changes with the next step; both
    models stay as they are. ValueError where the architectures differ.
    """
    ours, theirs = _tensors(model), _tensors(fresh)
    for name in dict.fromkeys([*ours, *theirs]):
        one, two = (list(some[name].shape) if name in some else "none" for some in (ours, theirs))
        if one != two:
            raise ValueError(
                f"fresh: expected the model's architecture, got {two} for {name!r} of {one}; build both alike"
            )
    working = copy.deepcopy(model)

    def steps() -> Iterator[tuple[str, nn.Module]]:
        own = _tensors(working)
        for group, names in groups(working).items():
            with torch.no_grad():
                for name in names:
                    own[name].copy_(theirs[name])
            yield group, working

    return steps()


def groups(model: nn.Module) -> dict[str, list[str]]:
    """Names of the parameters and buffers by group, head first; each tensor once, the last group called `stem`.

    A group is a child of the network. One that holds nothing but vectors, as a normalisation does, goes with the
    child before it, whose output it scales. Networks with fewer than five groups have their stacks (`blocks`,
    `stages`, `features`: Sequential or ModuleList of several) taken apart, into one group per member. What stands
    in no child, as a class token, goes with the stem.
    """
    pieces = _pieces(model, "")
    if len(pieces) < FEWEST:
        pieces = [part for piece in pieces for part in _taken_apart(model, piece)]
    group_of = {member: piece[0] for piece in pieces[1:] for member in piece}
    tensors = _tensors(model)
    found: dict[str, list[str]] = {name: [] for name in [*(piece[0] for piece in pieces[:0:-1]), STEM]}
    for name in tensors:
        parts = name.split(".")
        holders = (".".join(parts[:depth]) for depth in range(len(parts), 0, -1))
        found[next((group_of[one] for one in holders if one in group_of), STEM)].append(name)
    seen: set[int] = set()
    for names in found.values():  # a weight that two places share goes with the one nearer to the head
        names[:] = [name for name in names if id(tensors[name]) not in seen]
        seen |= {id(tensors[name]) for name in names}
    return found


def sanity_maps(
    model: nn.Module,
    fresh: nn.Module,
    images: Tensor | Sequence[Tensor],
    *,
    methods: Sequence[str] | Mapping[str, str | Method],
    size: int | tuple[int, int],
    layer: str | None = None,
    targets: Targets = None,
    batch_size: int = 128,
) -> Iterator[Level]:
    """Finished maps of the original, then of each level of the `cascade`, on the model's device.

    images: normalised floats [N,3,H,W] or batches of them, read once per level and method. methods: names, or
    functions by a name. layer, batch_size: as `explain` takes them. size: of the finished maps, in pixels.
    targets: the classes to explain, integers [N]; None = those that the original predicts. All levels explain the
    same classes.
    ValueError: as from `cascade` and `explain`, and without a method.
    """
    if not methods:
        raise ValueError("methods: expected at least one, got none; name some, as ['gradcam']")
    named = methods if isinstance(methods, Mapping) else {name: name for name in methods}
    for method in named.values():
        find(method)  # raises
    steps = cascade(model, fresh)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters(remove_duplicate=False)}
    share = {group: sum(sizes.get(name, 0) for name in names) for group, names in groups(model).items()}

    def found(network: nn.Module, wanted: Targets) -> tuple[dict[str, Floats], NDArray[np.int64]]:
        maps: dict[str, Floats] = {}
        for name, method in named.items():
            explained = explain(network, images, method=method, targets=wanted, layer=layer, batch_size=batch_size)
            maps[name] = finish(explained.raw, size)
        return maps, explained.targets

    def levels() -> Iterator[Level]:
        maps, held = found(model, targets)
        yield Level(None, 0.0, maps)
        random, total = 0, sum(share.values())
        for group, network in steps:
            random += share[group]
            yield Level(group, random / total, found(network, held)[0])

    return levels()


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def _pieces(module: nn.Module, prefix: str) -> list[list[str]]:
    """Names of the children that hold anything, from the stem up, those of vectors alone behind the one before."""
    found: list[list[str]] = []
    for name, child in module.named_children():
        if not _tensors(child):
            continue
        if found and all(parameter.ndim < 2 for parameter in child.parameters()):
            found[-1].append(prefix + name)
        else:
            found.append([prefix + name])
    return found


def _taken_apart(model: nn.Module, piece: list[str]) -> list[list[str]]:
    stack, *behind = piece
    module = model.get_submodule(stack)
    parts = _pieces(module, f"{stack}.") if isinstance(module, nn.Sequential | nn.ModuleList) else []
    return [*parts[:-1], parts[-1] + behind] if len(parts) > 1 else [piece]
