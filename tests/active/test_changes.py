"""What is done to the pixels that a map points at: by hand, and pixel by pixel in float64."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.active import oracles
from tests.active.oracles import parameters
from torch import Tensor

from auglens.active import changes
from auglens.active.changes import Changed, Shown

MEAN = (0.2, 0.4, 0.7)  # 51, 102 and 178.5, but for rounding: no test relies on the last


def shown(count: int = 6, height: int = 20, width: int = 24, *, seed: int = 0, masked: bool = True) -> Shown:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)
    maps = torch.rand(count, height, width, generator=generator)
    masks = torch.rand(count, height, width, generator=generator) < 0.3
    return Shown(images, maps, masks if masked else None)


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, changes.WORDS - 1))


def changed(name: str, given: Shown, partner: Shown | None, words: np.ndarray, params: dict[str, Any]) -> Changed:
    """What it makes, after what holds of every change."""
    before = [None if one is None else one.clone() for one in parts_of(given)]
    made = changes.CHANGES[name](given, partner, words, MEAN, params)
    for one, two in zip(before, parts_of(given), strict=True):
        assert (one is None and two is None) or torch.equal(one, two)  # what was given is left as it was
    assert made.images.dtype == torch.uint8
    assert made.images.shape == given.images.shape
    assert made.where.dtype == torch.bool
    assert made.where.shape == given.maps.shape
    assert made.partner_weight.dtype == torch.float32
    assert made.partner_weight.shape == (len(given.images),)
    assert (made.masks is None) == (given.masks is None)
    if made.masks is not None:
        assert made.masks.dtype == torch.bool
    return made


def parts_of(given: Shown) -> list[Tensor | None]:
    return [given.images, given.maps, given.masks]


def test_names_and_their_changes() -> None:
    assert changes.CHANGES["ada"] is changes.erase_window
    assert changes.CHANGES["ada_guided_gradcam"] is changes.erase_window
    assert changes.CHANGES["proxy_attention"] is changes.weaken
    assert changes.CHANGES["saliencymix"] is changes.paste_peak
    assert changes.CHANGES["attentive_cutmix"] is changes.paste_cells


def test_an_erased_window_by_hand() -> None:
    images = torch.arange(1, 28, dtype=torch.uint8).view(1, 3, 3, 3)
    maps = torch.tensor([[[0.0, 1, 2], [0, 5, 4], [0, 0, 1]]])  # the upper right window: 12
    masks = torch.zeros(1, 3, 3, dtype=torch.bool)
    masks[0, 1, 1] = masks[0, 2, 0] = True
    given = Shown(images, maps, masks)
    made = changed("ada", given, None, drawn(1), parameters("ada", window=2))
    assert made.images[0, 0].tolist() == [[1, 0, 0], [4, 5, 0], [7, 8, 9]]
    assert made.images[0, 2].tolist() == [[19, 0, 0], [22, 23, 0], [25, 26, 27]]
    made = changed("ada", given, None, drawn(1), parameters("ada", window=2, spare=False))
    assert made.images[0, 0].tolist() == [[1, 0, 0], [4, 0, 0], [7, 8, 9]]


@pytest.mark.parametrize("window", [1, 5, 12, 20])
@pytest.mark.parametrize("spare", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_erased_windows_pixel_by_pixel(window: int, spare: bool, masked: bool, fill: str) -> None:
    given = shown(masked=masked)
    made = changed("ada", given, None, drawn(6), parameters("ada", window=window, spare=spare, fill=fill))
    for index in range(6):
        corner = oracles.greatest_window(given.maps[index].numpy(), window)
        stays = given.masks[index].numpy() if spare and given.masks is not None else None
        image = given.images[index].numpy()
        # No pixel stays 1 where it is set to 0, so that the pixels set are seen.
        expected = oracles.erased(image, corner, window, stays, 0)
        where = oracles.erased(np.ones_like(image), corner, window, stays, 0)[0] == 0
        if fill == "mean":
            expected[:, where] = np.array([51, 102, 0], dtype=np.uint8)[:, None]
            assert set(np.unique(made.images[index, 2].numpy()[where])) <= {178, 179}
            assert np.array_equal(made.images[index, :2].numpy(), expected[:2])
            assert np.array_equal(made.images[index, 2].numpy()[~where], image[2][~where])
        else:
            assert np.array_equal(made.images[index].numpy(), expected)
        assert np.array_equal(made.where[index].numpy(), where)
    assert made.partner_weight.tolist() == [0.0] * 6
    if given.masks is not None:
        assert torch.equal(made.masks, given.masks)


def test_a_window_wholly_of_the_object_is_left() -> None:
    given = shown(2)
    given = Shown(given.images, given.maps, torch.ones_like(given.masks))
    made = changed("ada", given, None, drawn(2), parameters("ada", window=7))
    assert torch.equal(made.images, given.images)


def test_weakened_pixels_by_hand() -> None:
    maps = torch.tensor([[[0.0, 0.5], [0.75, 1.0]]])
    images = torch.tensor(
        [[[100, 200], [201, 254]], [[0, 1], [3, 8]], [[255, 255], [255, 255]]], dtype=torch.uint8
    )
    given = Shown(images[None], maps, None)
    made = changed("proxy_attention", given, None, drawn(1), parameters("proxy_attention"))
    # 0.5 · 0.5 · 200 = 50; 0.5 · 0.75 · 201 = 75.4; 0.5 · 254 = 127; 0.25, 1.1 and 4; 63.75, 95.6 and 127.5
    assert made.images[0, 0].tolist() == [[100, 50], [75, 127]]
    assert made.images[0, 1].tolist() == [[0, 0], [1, 4]]
    assert made.images[0, 2].tolist() == [[255, 64], [96, 128]]
    assert made.where[0].tolist() == [[False, True], [True, True]]
    assert made.partner_weight.tolist() == [0.0]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-9, 0.0), (40.0, -7.0)])
def test_weakened_pixels_one_by_one(threshold: float, weight: float, scale: float, shift: float) -> None:
    """Raw maps of any range: the finished one is what is multiplied by."""
    given = shown()
    given = Shown(given.images, given.maps * scale + shift, given.masks)
    params = parameters("proxy_attention", threshold=threshold, image_weight=weight)
    made = changed("proxy_attention", given, None, drawn(6), params)
    for index in range(6):
        values = oracles.unit(given.maps[index].numpy())
        exact, where = oracles.weakened(given.images[index].numpy(), values, threshold, weight)
        assert np.array_equal(made.where[index].numpy(), where)
        got = made.images[index].numpy()
        assert np.array_equal(got[:, ~where], given.images[index].numpy()[:, ~where])
        assert np.abs(got - exact).max() <= 0.5 + 1e-4  # the nearest grey level, but for a float32's rounding
        assert where.any()
    assert torch.equal(made.masks, given.masks)


@pytest.mark.parametrize("alpha", [1.0, 0.3, 4.0])
@pytest.mark.parametrize("label", ["mixed", "source"])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("sides", [(20, 24), (15, 15), (9, 31)])
def test_patches_around_the_partners_peak(alpha: float, label: str, masked: bool, sides: tuple[int, int]) -> None:
    height, width = sides
    given, partner = (shown(12, height, width, seed=seed, masked=masked) for seed in (1, 2))
    ties = torch.randint(0, 3, partner.maps.shape, generator=torch.Generator().manual_seed(3)).float()
    ties[:6] = partner.maps[:6]
    partner = Shown(partner.images, ties, partner.masks)
    words = drawn(12, seed=5)
    made = changed("saliencymix", given, partner, words, parameters("saliencymix", alpha=alpha, label=label))
    shares = stats.beta.ppf(words[:, 0], alpha, alpha)
    areas = []
    for index in range(12):
        centre = oracles.peak(partner.maps[index].numpy())
        top, bottom, left, right = oracles.box_around(centre, float(shares[index]), height, width)
        expected = given.images[index].clone()
        expected[:, top:bottom, left:right] = partner.images[index, :, top:bottom, left:right]
        assert torch.equal(made.images[index], expected)
        where = torch.zeros(height, width, dtype=torch.bool)
        where[top:bottom, left:right] = True
        assert torch.equal(made.where[index], where)
        areas.append((bottom - top) * (right - left))
        if masked:
            mask = given.masks[index].clone()
            mask[top:bottom, left:right] = partner.masks[index, top:bottom, left:right]
            assert torch.equal(made.masks[index], mask)
    assert len(set(areas)) > 5
    expected_weights = np.array(areas) / (height * width) if label == "mixed" else np.zeros(12)
    np.testing.assert_allclose(made.partner_weight.numpy(), expected_weights, rtol=1e-6)


def test_only_the_share_of_the_patch_is_drawn() -> None:
    """Its place is the peak's: the words after the first change nothing."""
    given, partner = shown(seed=1), shown(seed=2)
    words = drawn(6, seed=5)
    one = changed("saliencymix", given, partner, words, parameters("saliencymix"))
    words[:, 1:] = drawn(6, seed=6)[:, 1:]
    assert torch.equal(changed("saliencymix", given, partner, words, parameters("saliencymix")).images, one.images)
    words[:, 0] = drawn(6, seed=6)[:, 0]
    assert not torch.equal(
        changed("saliencymix", given, partner, words, parameters("saliencymix")).images, one.images
    )


def cells_by_hand(values: np.ndarray, grid: int, cells: int) -> np.ndarray:
    """bool [H,W]: a pixel is of the cell in which its centre lies."""
    row_of, column_of = (
        np.array([math.floor(Fraction(2 * at + 1, 2 * side) * grid) for at in range(side)])
        for side in values.shape
    )
    exact = oracles.whole_numbers(values)
    means = []
    for i in range(grid):
        for j in range(grid):
            cell = (row_of == i)[:, None] & (column_of == j)
            pixels = exact[cell].tolist()
            means.append((Fraction(sum(pixels), len(pixels)), cell))
    # Python sorts stably: of equal means the first by rows stays first.
    chosen = sorted(means, key=lambda one: -one[0])[:cells]
    where = np.zeros(values.shape, dtype=bool)
    for _, cell in chosen:
        where |= cell
    return where


@pytest.mark.parametrize(
    ("sides", "grid"), [((28, 28), 7), ((20, 24), 4), ((32, 32), 7), ((15, 23), 4), ((9, 9), 1)]
)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("label", ["mixed", "source"])
def test_pasted_cells(sides: tuple[int, int], grid: int, tied: bool, label: str) -> None:
    given, partner = (shown(5, *sides, seed=seed) for seed in (1, 2))
    if tied:
        coarse = torch.randint(0, 2, (5, *sides), generator=torch.Generator().manual_seed(3)).float()
        coarse[1:, :] = (torch.arange(sides[0])[:, None] >= torch.arange(sides[1])).float()
        coarse[2] = 1 - coarse[2]
        coarse[3, :] = torch.arange(sides[1]) // 9  # whole columns alike
        partner = Shown(partner.images, coarse, partner.masks)
    for cells in {1, min(6, grid * grid), grid * grid}:
        params = parameters("attentive_cutmix", grid=grid, cells=cells, label=label)
        made = changed("attentive_cutmix", given, partner, drawn(5), params)
        for index in range(5):
            where = torch.from_numpy(cells_by_hand(partner.maps[index].numpy(), grid, cells))
            assert torch.equal(made.where[index], where)
            assert torch.equal(made.images[index][:, where], partner.images[index][:, where])
            assert torch.equal(made.images[index][:, ~where], given.images[index][:, ~where])
            assert torch.equal(made.masks[index], torch.where(where, partner.masks[index], given.masks[index]))
            weight = float(where.double().mean()) if label == "mixed" else 0.0
            assert float(made.partner_weight[index]) == pytest.approx(weight, rel=1e-6)


def test_pasted_cells_by_hand() -> None:
    images, others = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.full((1, 3, 4, 4), 9, dtype=torch.uint8)
    maps = torch.tensor([[[8.0, 0, 1, 1], [0, 0, 1, 1], [3, 3, 2, 2], [3, 3, 2, 2]]])  # means 2, 1, 3, 2
    given = Shown(images, torch.zeros(1, 4, 4), None)
    partner = Shown(others, maps, None)
    params = parameters("attentive_cutmix", grid=2, cells=2)
    made = changed("attentive_cutmix", given, partner, drawn(1), params)
    assert made.images[0, 1].tolist() == [[9, 9, 0, 0], [9, 9, 0, 0], [9, 9, 0, 0], [9, 9, 0, 0]]
    assert made.partner_weight.tolist() == [0.5]
    params = parameters("attentive_cutmix", grid=2, cells=3)
    made = changed("attentive_cutmix", given, partner, drawn(1), params)
    assert made.images[0, 1].tolist() == [[9, 9, 0, 0], [9, 9, 0, 0], [9, 9, 9, 9], [9, 9, 9, 9]]


@pytest.mark.parametrize("name", ["ada", "proxy_attention", "saliencymix", "attentive_cutmix"])
def test_an_image_alone_and_in_a_batch_is_changed_alike(name: str) -> None:
    given, partner, words = shown(seed=1), shown(seed=2), drawn(6)
    together = changed(name, given, partner, words, parameters(name))
    for index in range(6):
        one, other = (
            Shown(*(part if part is None else part[index : index + 1] for part in parts_of(both)))
            for both in (given, partner)
        )
        alone = changed(name, one, other, words[index : index + 1], parameters(name))
        assert torch.equal(alone.images[0], together.images[index])
        assert torch.equal(alone.masks[0], together.masks[index])
        assert torch.equal(alone.where[0], together.where[index])
        assert alone.partner_weight[0] == together.partner_weight[index]
