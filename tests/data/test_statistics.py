from __future__ import annotations

import numpy as np
import pytest

from auglens.data.statistics import channel_statistics


def test_by_hand():
    images = np.zeros((2, 3, 1, 1), np.uint8)
    images[1] = [[[255]], [[51]], [[102]]]
    mean, std = channel_statistics(images, np.array([0, 1]))
    np.testing.assert_allclose(mean, [0.5, 0.1, 0.2], rtol=1e-15)
    np.testing.assert_allclose(std, [0.5, 0.1, 0.2], rtol=1e-15)


def test_against_numpy_in_float64(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 9, 7), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = np.arange(0, 70, 2)
    mean, std = channel_statistics(mapped, rows, chunk=8)
    direct = images[rows].astype(np.float64) / 255
    # numpy sums pairwise in float64: about 1e-15 a sum
    np.testing.assert_allclose(mean, direct.mean(axis=(0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(std, direct.std(axis=(0, 2, 3)), rtol=1e-13)
    assert mean.dtype == std.dtype == np.float64


def test_neither_chunk_nor_order_changes_a_bit_and_other_rows_do_not_count():
    images = np.random.default_rng(1).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    rows = np.arange(40)
    first = channel_statistics(images, rows)
    images[40:] = 0
    second = channel_statistics(images, rows[::-1].copy(), chunk=7)
    assert np.array_equal(first, second)


def test_brightest_images_do_not_overflow():
    images = np.full((300, 3, 32, 32), 255, np.uint8)
    images[0] = 254
    mean, std = channel_statistics(images, np.arange(300))
    share = 1 / 300
    np.testing.assert_allclose(mean, (255 - share) / 255, rtol=1e-14)
    np.testing.assert_allclose(std, np.sqrt(share * (1 - share)) / 255, rtol=1e-12)


def test_a_constant_channel_is_refused():
    images = np.random.default_rng(2).integers(0, 256, (4, 3, 5, 5), dtype=np.uint8)
    images[:, 1] = 7
    with pytest.raises(ValueError, match="channel 1") as error:
        channel_statistics(images, np.arange(4))
    assert str(error.value) == (
        "statistics: channel 1 is 7 in every training image and cannot be normalised; check the source's images"
    )


def test_no_image_is_refused():
    with pytest.raises(
        ValueError, match=r"^statistics: expected at least one training image, got 0; check the split$"
    ):
        channel_statistics(np.zeros((2, 3, 4, 4), np.uint8), np.empty(0, np.int64))
