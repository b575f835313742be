from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from auglens.metrics import classification_scores, confusion_matrix


def test_by_hand():
    labels, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    assert confusion_matrix(labels, predicted, 3).tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 1]]
    found = classification_scores(labels, predicted, 3)
    assert found["accuracy"] == 4 / 6
    assert found["precision"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found["recall"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found["f1"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found["undefined_classes"] == 0


@pytest.mark.parametrize("seed", range(6))
def test_equals_scikit_learn_with_undefined_classes(seed):
    rng = np.random.default_rng(seed)
    classes = 8
    labels = rng.integers(0, classes - seed % 3, 40).astype(np.int16)  # seeds 1, 2, 4, 5: classes without images
    predicted = rng.integers(seed % 4, classes, 40).astype(np.int16)  # and classes never predicted
    found, options = classification_scores(labels, predicted, classes), {"zero_division": np.nan}
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), average="macro", **options
    )
    assert found["accuracy"] == sklearn_metrics.accuracy_score(labels, predicted)
    assert found["precision"] == pytest.approx(precision, abs=1e-12)
    assert found["recall"] == pytest.approx(recall, abs=1e-12)
    assert found["f1"] == pytest.approx(f1, abs=1e-12)
    oracle = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(confusion_matrix(labels, predicted, classes), oracle)
    missing = (oracle.sum(axis=0) == 0) | (oracle.sum(axis=1) == 0)
    assert found["undefined_classes"] == missing.sum()


def test_a_model_that_says_one_class_only():
    found = classification_scores(np.array([0, 1, 2, 3]), np.zeros(4, dtype=int), 4)
    assert found == {
        "accuracy": 0.25,
        "precision": 0.25,  # of the one class that has a precision
        "recall": 0.25,
        "f1": pytest.approx((2 / 5) / 4),
        "undefined_classes": 3,
    }


def test_no_images():
    none = np.array([], dtype=int)
    found = classification_scores(none, none, 2)
    assert np.isnan([found["accuracy"], found["precision"], found["recall"], found["f1"]]).all()
    assert found["undefined_classes"] == 2


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        (
            np.array([0, 3]),
            np.array([0, 1]),
            "labels: expected class indices 0..2, got 0..3; check `classes`",
        ),
        (
            np.array([0, 1]),
            np.array([-1, 1]),
            "predicted: expected class indices 0..2, got -1..1; check `classes`",
        ),
        (np.array([0, 1]), np.array([0]), "predicted: expected one per label (2), got 1"),
        (np.array([0.0]), np.array([0]), "labels: expected integers [N], got float64 [1]"),
    ],
)
def test_refuses(labels, predicted, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        confusion_matrix(labels, predicted, 3)
    assert str(error.value) == message
