from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from auglens.metrics import KLD_EPS, class_kld, softmax


def literal_kld(p, q, eps):
    return sum(b * math.log(eps + b / (eps + a)) for a, b in zip(p, q, strict=True))


def test_softmax_equals_scipys_and_does_not_overflow():
    logits = np.random.default_rng(0).normal(0, 300, (50, 10)).astype(np.float32)
    found = softmax(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, special.softmax(logits.astype(np.float64), axis=1), rtol=1e-12, atol=0)
    assert softmax(np.array([[0.0, math.log(3)]])).tolist() == [[0.25, 0.75]]
    assert np.isnan(softmax(np.array([[0.0, np.nan]]))).all()
    assert logits.max() > 700  # beyond what exp can take unshifted


def test_class_kld_by_hand_and_word_for_word():
    # P = (1/2, 1/2), Q = (3/4, 1/4): 3/4 log 3/2 + 1/4 log 1/2
    found = class_kld(np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]]))
    assert found[0] == pytest.approx(0.75 * math.log(1.5) - 0.25 * math.log(2), abs=1e-12)
    rng = np.random.default_rng(1)
    p, q = softmax(rng.normal(0, 8, (40, 10))), softmax(rng.normal(0, 8, (40, 10)))
    for eps in (KLD_EPS, 1e-7):
        expected = [literal_kld(a, b, eps) for a, b in zip(p, q, strict=True)]
        np.testing.assert_allclose(class_kld(p, q, eps), expected, rtol=0, atol=1e-9)
    # without ε it is scipy's relative entropy; ε only shows where a probability comes near it
    p, q = softmax(rng.normal(0, 2, (40, 10))), softmax(rng.normal(0, 2, (40, 10)))
    np.testing.assert_allclose(class_kld(p, q), special.rel_entr(q, p).sum(axis=1), rtol=0, atol=1e-9)


def test_class_kld_is_directed_and_zero_on_itself():
    sure, open_ = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    assert class_kld(sure, open_)[0] == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5 / KLD_EPS))
    assert class_kld(open_, sure)[0] == pytest.approx(math.log(2))
    p = softmax(np.random.default_rng(2).normal(0, 3, (20, 10)))
    np.testing.assert_allclose(class_kld(p, p), 0, atol=1e-14)


def test_class_kld_bounds_at_certainty():
    found = class_kld(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    assert found[0] == pytest.approx(math.log(1 / KLD_EPS))  # the largest value there is: about 36.04


def test_a_nan_row_gives_nan_and_leaves_the_others():
    p = np.array([[0.5, 0.5], [np.nan, np.nan], [0.5, 0.5]])
    q = np.array([[0.5, 0.5], [0.5, 0.5], [np.nan, 0.5]])
    np.testing.assert_array_equal(np.isnan(class_kld(p, q)), [False, True, True])


@pytest.mark.parametrize(
    ("p", "q", "eps", "message"),
    [
        (np.ones((1, 1)), np.array([[0.5, 0.6]]), KLD_EPS,
         "other: expected probabilities, row 0 sums to 1.1 with minimum 0.5; pass softmax(logits)"),
        (np.array([[0.5, 0.5], [-1.0, 2.0]]), np.array([[0.5, 0.5]] * 2), KLD_EPS,
         "reference: expected probabilities, row 1 sums to 1 with minimum -1; pass softmax(logits)"),
        (np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]] * 2), KLD_EPS,
         "other: expected the reference's shape, got [2, 2] against the reference's [1, 2]; "
         "predict the same images with both"),
        (np.ones(3), np.ones(3), KLD_EPS, "reference: expected [N,C] with C at least 1, got shape [3]"),
        (np.ones((1, 1), dtype=int), np.ones((1, 1)), KLD_EPS,
         "reference: expected floating-point values, got int64"),
        (np.ones((1, 1)), np.ones((1, 1)), 0.0,
         "eps: expected a value in (0, 1), got 0; the default is 2.22045e-16"),
    ],
)  # fmt: skip
def test_refuses(p, q, eps, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        class_kld(p, q, eps)
    assert str(error.value) == message
