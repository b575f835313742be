"""How well a model classifies: accuracy, macro precision, recall and F1, ROC AUC. Definitions: docs/metrics.md."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

SCORES = ("accuracy", "precision", "recall", "f1")


class Scores(TypedDict):
    """Fractions in [0, 1], NaN where undefined for every class; `undefined_classes` counts the classes."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    undefined_classes: int


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Counts int64 [C,C]: rows are labels, columns predictions.

    labels, predicted: int [N], class indices in 0..classes−1.
    Raises ValueError on other dtypes, lengths that differ or an index out of range.
    """
    _check_indices("labels", labels, classes)
    _check_indices("predicted", predicted, classes)
    if len(labels) != len(predicted):
        raise ValueError(f"predicted: expected one per label ({len(labels)}), got {len(predicted)}")
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def classification_scores(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> Scores:
    """Accuracy and macro precision, recall and F1 of int [N] labels and predictions.

    A class without a prediction has no precision, one without an image no recall, one without either no F1:
    such a 0/0 is left out of the macro mean (scikit-learn's zero_division=nan), never taken for 0, and
    `undefined_classes` counts the classes that any of the three lacks. No image at all: every score NaN.
    """
    matrix = confusion_matrix(labels, predicted, classes)
    hits, actual, claimed = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _ratio(hits, claimed), _ratio(hits, actual)
    f1 = _ratio(2 * hits, actual + claimed)
    undefined = np.isnan(precision) | np.isnan(recall) | np.isnan(f1)
    return Scores(
        accuracy=float(_ratio(hits.sum(), matrix.sum())),
        precision=_finite_mean(precision),
        recall=_finite_mean(recall),
        f1=_finite_mean(f1),
        undefined_classes=int(undefined.sum()),
    )


def roc_auc(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Area under the ROC curve, in [0, 1]: how often a positive image scores above a negative one, ties one half.

    labels: int [N]; probabilities: float [N,C], or any score that orders images alike. Two classes: of the second
    one. More: the mean over the classes, each against the rest; those without a positive or a negative image are
    left out. NaN where no class is defined, and where a probability is not finite.
    The Mann–Whitney form (Hanley & McNeil, Radiology 143, 1982). ValueError on shapes, dtypes or labels that do
    not fit.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] < 2 or probabilities.dtype.kind != "f":
        raise ValueError(
            f"probabilities: expected floats [N,C] of 2 or more classes, got {probabilities.dtype}"
            f" {list(probabilities.shape)}; pass one column per class"
        )
    classes = probabilities.shape[1]
    _check_indices("labels", labels, classes)
    if len(labels) != len(probabilities):
        raise ValueError(f"probabilities: expected one row per label ({len(labels)}), got {len(probabilities)}")
    if not np.isfinite(probabilities).all():
        return float("nan")
    from scipy.stats import rankdata  # a second that training can do without

    areas = []
    for index in [1] if classes == 2 else range(classes):
        positive = labels == index
        hits = int(positive.sum())
        rest = len(labels) - hits
        wins = rankdata(probabilities[:, index])[positive].sum() - hits * (hits + 1) / 2
        areas.append(wins / (hits * rest) if hits and rest else np.nan)
    return _finite_mean(np.array(areas))


def _check_indices(name: str, values: NDArray[Any], classes: int) -> None:
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name}: expected integers [N], got {values.dtype} {list(values.shape)}")
    if len(values) and (values.min() < 0 or values.max() >= classes):
        found = f"{values.min()}..{values.max()}"
        raise ValueError(f"{name}: expected class indices 0..{classes - 1}, got {found}; check `classes`")


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.true_divide(numerator, denominator)


def _finite_mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
