"""An augmentation, a map method or a metric of one's own: how a Python file of the project declares them.

    from auglens.own import Number, augmentation, map_method, metric

    @augmentation(definition="…", knobs={"threshold": Number("intensity", 0, 1)})
    def solarize(images, words, params): ...

The parameter `own` names the file. What stands in a decorator is read from the file's text, not run, so that the
parameters can be checked without importing anything of the user's: literals alone. docs/own.md is the guide,
examples/own.py a complete example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from auglens.data.knobs import Choice, Number, Odd, Range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from auglens.saliency.contract import Method

    Kernel = Callable[[Tensor, NDArray[np.uint64], Mapping[str, Any]], Tensor]
    Metric = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]

__all__ = ["Choice", "Number", "Odd", "Range", "augmentation", "map_method", "metric"]

KernelT = TypeVar("KernelT", bound="Kernel")
MethodT = TypeVar("MethodT", bound="Method")
MetricT = TypeVar("MetricT", bound="Metric")


def augmentation(
    *, definition: str, knobs: Mapping[str, Number | Choice] | None = None, words: int = 0
) -> Callable[[KernelT], KernelT]:
    """An aug: images float32 [B,C,H,W] in [0, 1], words uint64 [B,words], params → images like them.

    definition: what it does, for the report. knobs: its parameters (`aug.<name>.<knob>`) with unit and range.
    words: 64-bit words of randomness per image; an aug with none gives one model for all seeds.
    """
    return lambda function: function


def map_method(*, definition: str) -> Callable[[MethodT], MethodT]:
    """A way of explaining: (model, layer, images [B,3,H,W], targets int64 [B] or None) →
    (raw float32 [B,h,w], logits float32 [B,C], targets int64 [B]), as `auglens.saliency.contract.Method`."""
    return lambda function: function


def metric(*, definition: str, higher_is_closer: bool) -> Callable[[MetricT], MetricT]:
    """A metric: finished maps reference, other float32 [N,H,W] in [0, 1] → float64 [N].

    higher_is_closer: whether maps are more alike where it is higher, which the statistics must know.
    """
    return lambda function: function
