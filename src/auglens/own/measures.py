"""The further metrics of a study, built-in ones and one's own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auglens.metrics import FURTHER
from auglens.metrics import compare_further as built_in
from auglens.own.source import function

_one_at_a_time = threading.Lock()  # what a user writes need not be ready for several threads


def compare_further(
    reference: NDArray[Any],
    other: NDArray[Any],
    reference_raw: NDArray[Any],
    other_raw: NDArray[Any],
    names: Sequence[str],
) -> dict[str, NDArray[np.float64]]:
    """`auglens.metrics.compare_further`, where `names` may be one's own: those see the finished maps alone."""
    known = [name for name in names if name in FURTHER]
    values = built_in(reference, other, reference_raw, other_raw, known)
    with _one_at_a_time:
        values |= {name: function(name)(reference, other) for name in names if name not in values}
    return {name: values[name] for name in names}
