"""Where a map is greatest: against every window summed by itself in whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.active import oracles
from torch.nn import functional

from auglens.active.windows import at_pixels, greatest_windows, inside, scaled, stands_out

Maps = NDArray[np.float32]


def found(maps: Maps, size: int) -> list[tuple[int, int]]:
    answer = greatest_windows(torch.from_numpy(maps), size)
    assert answer.dtype == torch.int64
    assert answer.shape == (len(maps), 2)
    return [(int(top), int(left)) for top, left in answer]


def by_hand(maps: Maps, size: int) -> list[tuple[int, int]]:
    return [oracles.greatest_window(one, size) for one in maps]


def as_map(*lines: list[float]) -> Maps:
    return np.array([lines], dtype=np.float32)


def test_windows_of_a_map_by_hand() -> None:
    maps = as_map([0, 1, 0], [0, 0, 0], [0, 5, 6])
    assert found(maps, 1) == [(2, 2)]
    assert found(maps, 2) == [(1, 1)]
    assert found(maps, 3) == [(0, 0)]
    assert found(as_map([9, 0, 4], [0, 0, 4], [0, 0, 4]), 2) == [(0, 0)]
    assert found(as_map([7, 0, 4], [0, 0, 4], [0, 0, 4]), 2) == [(0, 1)]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12, -1.0])
@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_random_maps(size: int, scale: float, shift: float) -> None:
    drawn = np.random.default_rng(int(size)).random((12, 9, 13))
    maps = ((drawn + shift) * scale).astype(np.float32)
    assert found(maps, size) == by_hand(maps, size)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("top", [1, 2, 3, 5, 6, 7, 11, 200])
@pytest.mark.parametrize("unit", [1, 3e-12, 7e11])
def test_maps_of_few_whole_numbers_whose_windows_are_often_equal(size: int, top: int, unit: float) -> None:
    """`unit` rounds to a float32, whose multiples up to 8 times are exact: so are the ties."""
    drawn = np.random.default_rng(top).integers(0, min(top, 8) + 1, (20, 7, 8))
    if top > 8:
        drawn[drawn == 8] = top  # one value far from the others
        unit = 1
    maps = drawn.astype(np.float32) * np.float32(unit)
    hand = by_hand(maps, size)
    assert found(maps, size) == hand
    negative = -maps
    assert found(negative, size) == by_hand(negative, size)


def test_ties_do_happen_there() -> None:
    """What the test above is worth: another rule for equal windows would give another answer."""
    maps = np.random.default_rng(3).integers(0, 4, (20, 7, 8)).astype(np.float32)
    last = [oracles.greatest_window(one[::-1, ::-1], 2) for one in maps]
    last = [(7 - 2 - top, 8 - 2 - left) for top, left in last]
    assert sum(one != two for one, two in zip(last, by_hand(maps, 2), strict=True)) >= 3


def test_different_pixels_of_equal_sums_are_a_tie() -> None:
    """1 + 2 + 1 + 2 and 0 + 3 + 3 + 0: equal, though not one value is the same."""
    maps = as_map([1, 2, 0, 0, 3], [1, 2, 0, 3, 0], [0, 0, 0, 0, 0])
    assert found(maps, 2) == [(0, 0)]
    assert found(maps[:, :, ::-1].copy(), 2) == [(0, 0)]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_one_hot_maps_and_plateaus(size: int) -> None:
    one_hot = np.zeros((30, 5, 6), dtype=np.float32)
    for index in range(30):
        one_hot[index, index // 6, index % 6] = 1e-3 * (index + 1)
    assert found(one_hot, size) == by_hand(one_hot, size)
    plateaus = np.full((4, 9, 9), 0.1, dtype=np.float32)
    plateaus[0, 1:7, 2:8] = 0.7
    plateaus[1, :, 4:] = 0.3
    plateaus[2, 5:] = -0.2
    plateaus[3, 3:6, 3:6], plateaus[3, 6:9, 6:9] = 0.9, 0.9
    assert found(plateaus, size) == by_hand(plateaus, size)


@pytest.mark.parametrize("outlier", [1e5, -1e5])
def test_one_pixel_far_from_the_others_hides_none_of_them(outlier: float) -> None:
    maps = np.random.default_rng(4).random((10, 8, 8)).astype(np.float32)
    maps[:, 3, 5] = outlier
    assert found(maps, 3) == by_hand(maps, 3)


def test_a_window_as_large_as_the_image_and_one_that_is_larger() -> None:
    maps = np.random.default_rng(1).random((2, 4, 6)).astype(np.float32)
    assert found(maps, 4) == by_hand(maps, 4)
    with pytest.raises(ValueError, match="window") as caught:
        greatest_windows(torch.from_numpy(maps), 5)
    assert str(caught.value) == (
        "window: expected 1 to 4 pixels, the side of the images, got 5; lower aug.ada.window"
    )


def test_a_map_alone_and_in_a_batch_has_the_same_window() -> None:
    generator = np.random.default_rng(8)
    maps = generator.integers(0, 3, (16, 10, 10)).astype(np.float32)
    maps[::2] = generator.random((8, 10, 10)) * np.logspace(-12, 12, 8)[:, None, None]
    together = found(maps, 4)
    assert [found(one[None], 4)[0] for one in maps] == together
    assert found(maps[::-1].copy(), 4) == together[::-1]


def test_maps_are_left_as_they_were() -> None:
    maps = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    before = maps.clone()
    greatest_windows(maps, 3)
    scaled(maps)
    stands_out(maps)
    at_pixels(maps, 16, 16).add_(1)
    assert torch.equal(maps, before)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_pixels_of_a_window(size: int) -> None:
    corners = [(0, 0), (2, 1), (5 - size, 7 - size)]
    expected = np.zeros((3, 5, 7), dtype=bool)
    for index, (top, left) in enumerate(corners):
        for y in range(5):
            for x in range(7):
                expected[index, y, x] = top <= y < top + size and left <= x < left + size
    pixels = inside(torch.tensor(corners), size, 5, 7)
    assert pixels.dtype == torch.bool
    assert np.array_equal(pixels.numpy(), expected)


@pytest.mark.parametrize(
    ("raw", "size"), [((7, 7), (32, 32)), ((4, 5), (9, 6)), ((56, 56), (32, 32)), ((9, 7), (4, 5))]
)
def test_maps_brought_to_pixels_against_a_literal_bilinear(raw: tuple[int, int], size: tuple[int, int]) -> None:
    maps = np.random.default_rng(2).normal(size=(3, *raw)).astype(np.float32)
    made = at_pixels(torch.from_numpy(maps), *size)
    assert made.dtype == torch.float32
    expected = np.stack([oracles.resized(one, *size) for one in maps])
    # float32 sums of at most 5 × 5 products of numbers below 4
    np.testing.assert_allclose(made.numpy(), expected, atol=2e-6, rtol=0)


def test_bilinear_by_hand() -> None:
    made = at_pixels(torch.tensor([[[0.0, 4.0]]]), 1, 4)
    assert made.tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    # 4 → 2: triangles two pixels wide to either side, cut at the edge: weights 3, 3, 1 of 7
    made = at_pixels(torch.tensor([[[7.0, 0.0, 0.0, 14.0]]]), 1, 2)
    np.testing.assert_allclose(made.numpy(), [[[3.0, 6.0]]], atol=1e-5)


def test_maps_that_are_at_pixels_already_are_not_changed() -> None:
    maps = torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(1))
    assert torch.equal(at_pixels(maps, 6, 9), maps)


def test_doubles_become_floats() -> None:
    assert at_pixels(torch.rand(1, 3, 3, dtype=torch.float64), 6, 6).dtype == torch.float32
    assert at_pixels(torch.rand(1, 3, 3, dtype=torch.float64), 3, 3).dtype == torch.float32


def test_maps_that_stand_out() -> None:
    maps = torch.full((10, 4, 4), 0.3)
    maps[1, 2, 2] = float(np.nextafter(np.float32(0.3), np.float32(1)))
    maps[2] = 0
    maps[2, 0, 0] = -0.0
    maps[3, 1, 1] = float("nan")
    maps[4, 1, 1] = float("inf")
    maps[5, 1, 1] = -float("inf")
    maps[6] = float("nan")
    maps[7] = float("inf")
    maps[8] = 1e12
    maps[9] = 0
    maps[9, 3, 3] = 1e-12
    answer = stands_out(maps)
    assert answer.dtype == torch.bool
    assert answer.tolist() == [False, True, False, False, False, False, False, False, False, True]


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12, -3.0])
def test_maps_scaled_to_the_unit_range(scale: float) -> None:
    maps = ((np.random.default_rng(5).random((6, 7, 5)) - 0.3) * scale).astype(np.float32)
    made = scaled(torch.from_numpy(maps))
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.numpy(), np.stack([oracles.unit(one) for one in maps]), atol=3e-7, rtol=0)
    assert made.amin((1, 2)).tolist() == [0.0] * 6
    assert made.amax((1, 2)).tolist() == [1.0] * 6
    for index, one in enumerate(maps):
        assert torch.equal(scaled(torch.from_numpy(one[None]))[0], made[index])


def test_a_scaled_map_is_scaled_to_itself() -> None:
    maps = scaled(torch.rand(4, 6, 6, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(scaled(maps), maps)


def test_windows_are_those_of_an_average_pooling() -> None:
    """A second oracle, for larger maps: torch's pooling in float64, where no two windows are nearly equal."""
    maps = torch.rand(8, 40, 33, generator=torch.Generator().manual_seed(7))
    pooled = functional.avg_pool2d(maps.double()[:, None], 12, stride=1)[:, 0]
    flat = pooled.flatten(1).argmax(1)
    expected = torch.stack([flat // pooled.shape[2], flat % pooled.shape[2]], dim=1)
    assert torch.equal(greatest_windows(maps, 12), expected)
