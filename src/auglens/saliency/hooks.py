"""Context managers that look into a model and leave it as they found it, whatever happens inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One run of a submodule: its name, itself, its output, and that tensor's in-place version by then."""

    name: str
    module: nn.Module
    output: Any
    version: int


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no parameter asking for a gradient; each module and parameter as it was after that."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)


@contextlib.contextmanager
def recording(model: nn.Module) -> Iterator[list[Call]]:
    """The calls of all submodules, in the order in which they end."""
    calls: list[Call] = []

    def hook(name: str, module: nn.Module) -> Any:
        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls.append(Call(name, module, output, output._version if isinstance(output, Tensor) else 0))

        return module.register_forward_hook(record)

    handles: list[Any] = []
    try:
        for name, module in model.named_modules():
            if name:
                handles.append(hook(name, module))
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def cut_at(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Detach the graph at `layer`: its outputs become leaves that ask for a gradient, listed as they come.

    With the parameters frozen, autograd then covers the way from the layer to the logits, nothing before it.
    The network goes on with a copy: an in-place activation after the layer would write into the leaf.
    """
    leaves: list[Tensor] = []

    def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_(True)
        leaves.append(leaf)
        return leaf.clone()

    handle = model.get_submodule(layer).register_forward_hook(replace)
    try:
        yield leaves
    finally:
        handle.remove()


@contextlib.contextmanager
def outputs_at(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """What the layer gives, call by call, as it was before anything changed it in place."""
    outputs: list[Tensor] = []
    hook = lambda _module, _inputs, output: outputs.append(output.clone())  # noqa: E731
    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        yield outputs
    finally:
        handle.remove()
