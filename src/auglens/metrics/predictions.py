"""Prediction against prediction, per image: softmax and Class-KLD. Definitions: docs/metrics.md."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# float64's machine epsilon (numpy.finfo(float).eps): the smallest step that 1 + ε still shows.
KLD_EPS = 2.220446049250313e-16
# How far a row may sum from 1: float32 probabilities of a thousand classes stay well inside.
SUM_TOLERANCE = 1e-4


def softmax(logits: NDArray[Any]) -> Floats:
    """Class probabilities: float64 [N,C] from logits [N,C] of any float type; a row with a NaN gives NaN.

    Computed in float64, each row shifted by its maximum, so that large logits do not overflow.
    """
    _check_matrix("logits", logits)
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def class_kld(reference: NDArray[Any], other: NDArray[Any], eps: float = KLD_EPS) -> Floats:
    """Class-KLD of `other` from `reference`: Σ Q log(ε + Q/(ε+P)) over the classes, in nats; float64 [N].

    reference (P), other (Q): probabilities float [N,C], rows that sum to 1; eps: ε in (0, 1).
    Not symmetric. A NaN in either row gives NaN; equal rows give 0 up to ε.
    Raises ValueError on shapes that differ or rows that are no probabilities.
    Source: section 5.1 of the augmentation study, which takes it from Bylinskii et al. 2018.
    """
    if not 0 < eps < 1:
        raise ValueError(f"eps: expected a value in (0, 1), got {eps:g}; the default is {KLD_EPS:g}")
    _check_probabilities("reference", reference)
    _check_probabilities("other", other)
    if reference.shape != other.shape:
        shapes = f"{list(other.shape)} against the reference's {list(reference.shape)}"
        raise ValueError(f"other: expected the reference's shape, got {shapes}; predict the same images with both")
    p, q = reference.astype(np.float64), other.astype(np.float64)
    return np.asarray((q * np.log(eps + q / (eps + p))).sum(axis=1))


def _check_matrix(name: str, values: NDArray[Any]) -> None:
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{name}: expected [N,C] with C at least 1, got shape {list(values.shape)}")
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{name}: expected floating-point values, got {values.dtype}")


def _check_probabilities(name: str, values: NDArray[Any]) -> None:
    _check_matrix(name, values)
    sums = values.sum(axis=1, dtype=np.float64)
    wrong = (values < 0).any(axis=1) | (np.abs(sums - 1) > SUM_TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{name}: expected probabilities, row {row} sums to {sums[row]:.6g} with minimum"
            f" {values[row].min():.6g}; pass softmax(logits)"
        )
