from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auglens.data.split import quotas, split

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def parts(labels, fixed=None, *, fraction=0.2, seed=0, **kwargs):
    return split(labels, fixed or {}, validation_fraction=fraction, seed=seed, **kwargs)


def counts(labels, rows):
    return np.bincount(labels[rows], minlength=3).tolist()


def test_quotas_by_hand():
    # 10 % of 15 + 14 + 11 = 4 images: shares 1.5, 1.4, 1.1 → 1 each, and the one left goes to the first
    assert quotas([15, 14, 11], 0.1) == [2, 1, 1]
    # 25 % of 6 + 7 + 7 = 5: shares 1.5, 1.75, 1.75 → the two larger remainders
    assert quotas([6, 7, 7], 0.25) == [1, 2, 2]
    # equal remainders: the earlier class
    assert quotas([5, 5, 5, 5], 0.1) == [1, 1, 1, 1]
    assert quotas([15, 15], 0.1) == [2, 1]
    # small classes give one and keep one, whatever their share
    assert quotas([2, 98], 0.01) == [1, 1]
    assert quotas([2, 98], 0.9) == [1, 89]
    assert quotas([1, 0, 99], 0.1) == [0, 0, 10]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(20, 400), min_size=2, max_size=8), st.floats(0.05, 0.5))
def test_quotas_stay_within_one_of_the_share_and_sum_to_the_whole(counts, fraction):
    taken = quotas(counts, fraction)
    assert sum(taken) == round(sum(fraction * count for count in counts))
    assert all(abs(k - fraction * count) < 1 for k, count in zip(taken, counts, strict=True))


def test_nothing_given_draws_test_then_validation():
    result = parts(LABELS)
    assert counts(LABELS, result.test) == [10, 6, 4]
    assert counts(LABELS, result.validation) == [8, 5, 3]  # of 40, 24, 16: shares 8, 4.8, 3.2
    assert counts(LABELS, result.train) == [32, 19, 13]


def test_parts_are_ascending_int64_and_cover_everything_once():
    result = parts(LABELS)
    rows = [result.train, result.validation, result.test]
    assert all(part.dtype == np.int64 and np.all(np.diff(part) > 0) for part in rows)
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(100))


def test_given_test_is_kept_and_validation_comes_from_train():
    rows = np.random.default_rng(1).permutation(100)
    result = parts(LABELS, {"train": rows[:70], "test": rows[70:]})
    assert np.array_equal(result.test, np.sort(rows[70:]))
    assert np.array_equal(np.sort(np.concatenate([result.train, result.validation])), np.sort(rows[:70]))


def test_given_validation_is_kept_and_the_seed_then_changes_nothing():
    rows = np.random.default_rng(1).permutation(100)
    fixed = {"train": rows[:50], "validation": rows[50:70], "test": rows[70:]}
    for seed in (0, 1):
        result = parts(LABELS, fixed, seed=seed)
        assert np.array_equal(result.train, np.sort(rows[:50]))
        assert np.array_equal(result.validation, np.sort(rows[50:70]))


def test_seed_is_used_and_global_state_untouched():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = parts(LABELS), parts(LABELS), parts(LABELS, seed=1)
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.validation, other.validation)
    assert not np.array_equal(first.test, other.test)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_golden_split():
    """The same on every machine and numpy: Philox's words, not a Generator's methods, decide."""
    assert parts(np.arange(12) % 2, fraction=0.34).test.tolist() == [0, 2, 9, 11]


def test_a_class_is_drawn_independently_of_the_others_and_a_larger_fraction_is_a_superset():
    relabelled = np.where(LABELS == 2, 1, LABELS)
    fixed = {"train": np.arange(100)}
    small, large = parts(LABELS, fixed, fraction=0.1), parts(LABELS, fixed, fraction=0.3)
    assert set(small.test) < set(large.test)
    other = parts(relabelled, fixed, fraction=0.1)
    assert np.array_equal(small.test[LABELS[small.test] == 0], other.test[relabelled[other.test] == 0])


@pytest.mark.parametrize(
    ("labels", "fixed", "message"),
    [
        (
            [1, 1, 1, 1],
            {},
            "data: expected images of at least two classes, got only 'dog'; add images of another class",
        ),
        (
            [],
            {},
            "data: expected images of at least two classes, got no image; add images of another class",
        ),
        (
            [0, 0, 0, 1, 1],
            {},
            "data: class 'dog' has 2 images, none of them in validation; every class needs one in each of "
            "train, validation and test: add images of it or leave the class out",
        ),
        (
            [0, 0, 0, 1, 1, 1],
            {"train": [0, 1, 3, 4, 5], "test": [2]},
            "data: class 'dog' has 3 images, none of them in test; every class needs one in each of train, "
            "validation and test: add images of it or leave the class out",
        ),
        (
            [0, 1, 0, 1],
            {"holdout": [0]},
            "given split: expected train, validation or test, got 'holdout'; rename it",
        ),
        ([0, 1, 0, 1], {"train": [0, 4]}, "given split: expected rows 0 to 3, got 0 to 4; correct them"),
        (
            [0, 1, 0, 1],
            {"train": [0, 1], "test": [1, 2]},
            "given split: an image is in it twice; put each into one of train, validation and test",
        ),
    ],
)
def test_refusals(labels, fixed, message):
    rows = {name: np.array(values, np.int64) for name, values in fixed.items()}
    with pytest.raises(ValueError, match=r"^(data|given split): ") as error:
        parts(np.array(labels, np.int64), rows, classes=("cat", "dog"))
    assert str(error.value) == message


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"^parameter data.split_seed: expected 0 or more, got -1; correct it$"):
        parts(LABELS, seed=-1)
