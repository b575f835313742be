"""The one shuffle of protocol A."""

from __future__ import annotations

import numpy as np
import pytest

from auglens.data.order import epoch_order


@pytest.mark.parametrize("n", [1, 2, 45, 1000])
def test_both_halves_are_shuffled_together_each_position_once(n: int) -> None:
    order = epoch_order(n, seed=3, halves=2)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(2 * n))


def test_the_reference_keeps_the_shared_order_of_the_originals() -> None:
    both = epoch_order(200, seed=3, halves=2)
    alone = epoch_order(200, seed=3, halves=1)
    assert alone.tolist() == [value for value in both.tolist() if value < 200]
    assert sorted(alone.tolist()) == list(range(200))


def test_originals_and_augmented_images_are_mixed_all_over() -> None:
    second = epoch_order(5000, seed=3, halves=2) >= 5000
    assert abs(second.reshape(10, 1000).mean(axis=1) - 0.5).max() < 5 * 0.5 / 1000**0.5  # five deviations


def test_the_seed_decides_the_order() -> None:
    assert np.array_equal(epoch_order(200, seed=3, halves=2), epoch_order(200, seed=3, halves=2))
    assert not np.array_equal(epoch_order(200, seed=3, halves=2), epoch_order(200, seed=4, halves=2))


def test_the_global_generator_is_neither_used_nor_changed() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one
    epoch_order(10, seed=0, halves=2)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002 - the global one


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="epoch_order") as caught:
        epoch_order(0, seed=0, halves=2)
    assert str(caught.value) == ("epoch_order: expected n of 1 or more training images, got 0; check the split")
    with pytest.raises(ValueError, match="epoch_order") as caught:
        epoch_order(5, seed=0, halves=3)
    assert str(caught.value) == (
        "epoch_order: expected halves of 1 (originals) or 2 (and their augmented images), got 3"
    )
