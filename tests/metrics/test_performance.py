from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from auglens.metrics import classification_scores, confusion_matrix, roc_auc


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


def two_columns(scores):
    return np.stack([1 - np.asarray(scores), scores], axis=1)


def test_roc_auc_by_hand():
    """Positives 0.4 and 0.9 against negatives 0.1, 0.4 and 0.6: of six pairs four are won and one is a tie."""
    labels = np.array([0, 1, 0, 0, 1])
    assert roc_auc(labels, two_columns([0.1, 0.4, 0.4, 0.6, 0.9])) == pytest.approx(4.5 / 6)
    assert roc_auc(labels, two_columns([0.1, 0.8, 0.3, 0.2, 0.9])) == 1.0
    assert roc_auc(labels, two_columns([0.5] * 5)) == 0.5


@pytest.mark.parametrize("levels", [None, 4], ids=["random", "ties"])
def test_roc_auc_is_scikit_learns(levels):
    generator = np.random.default_rng(6)
    for classes in (2, 3, 7):
        labels = generator.integers(0, classes, 200).astype(np.int16)
        scores = generator.random((200, classes)) + 0.3 * np.eye(classes)[labels]
        probabilities = scores / scores.sum(1, keepdims=True) if levels is None else scores.round(0) / 8
        if levels is not None:
            probabilities[:, 0] = 1 - probabilities[:, 1:].sum(1)  # scikit-learn wants rows that add up to 1
        given = {"y_score": probabilities[:, 1]} if classes == 2 else {"y_score": probabilities}
        more = {} if classes == 2 else {"multi_class": "ovr", "average": "macro"}
        expected = sklearn_metrics.roc_auc_score(labels, **given, **more)
        assert roc_auc(labels, probabilities) == pytest.approx(expected, abs=1e-12)
        assert 0.5 < expected < 1


def test_roc_auc_leaves_out_classes_that_have_none():
    generator = np.random.default_rng(7)
    labels, probabilities = generator.choice([0, 3], 50), generator.random((50, 4))
    single = [sklearn_metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 3)]
    assert roc_auc(labels, probabilities) == pytest.approx(np.mean(single), abs=1e-12)


def test_roc_auc_without_a_pair_is_nan():
    assert np.isnan(roc_auc(np.array([1, 1]), two_columns([0.2, 0.3])))
    assert np.isnan(roc_auc(np.array([2, 2]), np.full((2, 3), 1 / 3)))
    assert np.isnan(roc_auc(np.array([], dtype=int), np.zeros((0, 3))))
    assert np.isnan(roc_auc(np.array([0, 1]), two_columns([0.2, np.nan])))


def test_roc_auc_turns_with_the_scores_and_not_with_their_scale():
    generator = np.random.default_rng(8)
    labels, probabilities = generator.integers(0, 2, 90), two_columns(generator.integers(0, 9, 90) / 8)
    found = roc_auc(labels, probabilities)
    assert roc_auc(labels, 1 - probabilities) == pytest.approx(1 - found, abs=1e-12)
    assert roc_auc(labels, np.exp(probabilities.astype(np.float32))) == found
    turned = generator.permutation(90)
    assert roc_auc(labels[turned], probabilities[turned]) == found


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (
            np.array([0, 1]),
            np.zeros((2, 1)),
            "probabilities: expected floats [N,C] of 2 or more classes, got float64 [2, 1];"
            " pass one column per class",
        ),
        (np.array([0, 1]), np.zeros((3, 2)), "probabilities: expected one row per label (2), got 3"),
        (np.array([0, 2]), np.zeros((2, 2)), "labels: expected class indices 0..1, got 0..2; check `classes`"),
    ],
)
def test_roc_auc_refuses(labels, probabilities, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        roc_auc(labels, probabilities)
    assert str(error.value) == message
