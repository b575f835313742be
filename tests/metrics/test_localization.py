"""Map against mask: by hand, against scikit-image and a literal form, and what cannot be scored."""

from __future__ import annotations

import re

import numpy as np
import pytest
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from auglens.metrics import FLOORS, LOCALIZATION, floor_maps, localization, localization_floors
from auglens.metrics.localization import otsu
from auglens.saliency.finishing import finish


def square(rows, columns, size=8):
    mask = np.zeros((1, size, size), bool)
    mask[0, slice(*rows), slice(*columns)] = True
    return mask


def scores(maps, masks):
    return {name: float(values[0]) for name, values in localization(maps, masks).items()}


def test_a_map_that_is_the_mask_scores_one():
    mask = square((2, 5), (1, 7))
    assert scores(mask.astype(np.float32), mask) == dict.fromkeys(LOCALIZATION, 1.0)


def test_the_complement_scores_zero_in_all_but_the_box():
    mask = square((2, 5), (1, 7))
    found = scores((~mask).astype(float), mask)
    assert found == {"iou_area": 0.0, "iou_box": 18 / 64, "pointing_game": 0.0, "energy": 0.0}


def test_by_hand():
    """Pixels of 0.9, 0.8, 0.1 and 0: Otsu keeps two. The mask has the second, the third and one more."""
    maps = np.zeros((1, 4, 4))
    maps[0, 0, 0], maps[0, 0, 1], maps[0, 3, 3] = 0.9, 0.8, 0.1
    masks = np.zeros((1, 4, 4), bool)
    masks[0, 0, 1], masks[0, 3, 3], masks[0, 0, 2] = True, True, True
    found = scores(maps, masks)
    assert found["iou_area"] == 1 / 4
    assert found["iou_box"] == 1 / (2 + 12 - 1)  # 1×2 and 4×3 cells share one
    assert found["pointing_game"] == 0.0
    assert found["energy"] == pytest.approx(0.5)


def test_largest_pixels_that_tie_share_the_point():
    maps = np.zeros((1, 4, 4))
    maps[0, 0] = 1.0
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :, 0] = True
    assert scores(maps, masks)["pointing_game"] == 0.25


@pytest.mark.parametrize(
    "maps",
    [np.zeros((1, 8, 8)), np.full((1, 8, 8), np.nan), np.where(square((0, 1), (0, 1)), np.inf, 0.5)],
    ids=["zero", "nan", "infinite"],
)
def test_a_map_of_nothing_scores_nan(maps):
    assert all(np.isnan(value) for value in scores(maps, square((0, 4), (0, 4))).values())


def test_an_empty_mask_scores_nan_and_no_other_image_does():
    masks = np.concatenate([square((0, 0), (0, 0)), square((0, 4), (0, 4))])
    maps = np.random.default_rng(0).random((2, 8, 8))
    for values in localization(maps, masks).values():
        assert np.isnan(values).tolist() == [True, False]


def test_a_constant_map_is_the_whole_image():
    mask = square((0, 4), (0, 2))
    assert scores(np.full((1, 8, 8), 0.5), mask) == dict.fromkeys(LOCALIZATION, 8 / 64)


def literal(pixels, mask):
    """Pixel by pixel, the boxes by scikit-image."""
    threshold = threshold_otsu(pixels)
    both = either = inside = whole = 0.0
    for p, m in zip(pixels.ravel(), mask.ravel(), strict=True):
        both += p > threshold and m
        either += p > threshold or m
        inside += p if m else 0.0
        whole += p
    boxes = []
    for region in (pixels > threshold, mask):
        top, left, bottom, right = regionprops(region.astype(int))[0].bbox
        box = np.zeros_like(mask)
        box[top:bottom, left:right] = True
        boxes.append(box)
    box_iou = (boxes[0] & boxes[1]).sum() / (boxes[0] | boxes[1]).sum()
    return both / either, box_iou, float(mask.ravel()[pixels.argmax()]), inside / whole


@pytest.mark.parametrize("kind", ["finished", "ties", "noise"])
def test_equals_a_literal_form_with_scikit_images_threshold(kind):
    generator = np.random.default_rng(1)
    if kind == "finished":
        maps = finish(generator.random((12, 7, 7)).astype(np.float64), 32)
    elif kind == "ties":
        maps = generator.integers(0, 5, (12, 32, 32)) / 4
        maps[:, 3, 4] = 1.5  # one largest pixel
    else:
        maps = generator.random((12, 32, 32)) ** 4
    masks = finish(generator.random((12, 5, 5)), 32) > 0.6
    found = localization(maps, masks)
    expected = np.array([literal(*pair) for pair in zip(maps, masks, strict=True)])
    np.testing.assert_allclose(np.stack(list(found.values()), axis=1), expected, rtol=1e-12)
    assert (label(masks[0]) > 0).any()


def test_otsu_is_scikit_images():
    generator = np.random.default_rng(2)
    for values in (generator.random(999), generator.normal(size=500) ** 2, np.array([0.0, 1.0]), np.arange(9.0)):
        assert otsu(values) == threshold_otsu(values)


def test_neither_order_nor_threads_nor_type_matter():
    generator = np.random.default_rng(3)
    maps, masks = finish(generator.random((40, 7, 7), np.float32), 64), generator.random((40, 64, 64)) > 0.7
    found = localization(maps, masks, threads=1)
    turned = localization(maps[::-1].astype(np.float64), masks[::-1], threads=3)
    for name, values in found.items():
        assert values.tobytes() == turned[name][::-1].tobytes()


def test_floors():
    """Of a mask in the middle a quarter as wide as the image the centre knows more than all ones and random."""
    masks = np.repeat(square((12, 20), (12, 20), 32), 200, axis=0)
    floors = localization_floors(masks, seed=0)
    assert set(floors) == {f"{floor}_{score}" for floor in FLOORS for score in LOCALIZATION}
    share = 64 / 1024
    for score in LOCALIZATION:
        assert set(floors[f"ones_{score}"]) == {share}
    assert floors["centre_energy"].mean() > 2 * share
    assert floors["centre_pointing_game"].mean() == 1.0
    assert floors["random_energy"].mean() == pytest.approx(share, rel=0.1)
    assert floors["random_pointing_game"].mean() == pytest.approx(share, abs=0.06)
    again = localization_floors(masks, seed=0)
    assert all(again[name].tobytes() == values.tobytes() for name, values in floors.items())
    assert localization_floors(masks, seed=1)["random_energy"].tolist() != floors["random_energy"].tolist()


def test_floor_maps_are_those_behind_the_floors():
    masks = np.random.default_rng(4).random((30, 29, 35)) > 0.7
    maps = floor_maps(30, (29, 35), seed=3)
    assert list(maps) == list(FLOORS)
    expected = {f"{name}_{k}": v for name in maps for k, v in localization(maps[name], masks).items()}
    found = localization_floors(masks, seed=3)
    assert list(found) == list(expected)
    assert all(found[name].tobytes() == values.tobytes() for name, values in expected.items())


def test_floor_maps_by_hand():
    ones, centre, random = floor_maps(4, (5, 9), seed=0).values()
    assert ones.shape == centre.shape == random.shape == (4, 5, 9)
    assert (ones == 1).all()
    for y in range(5):
        for x in range(9):  # the corners lie two standard deviations from the middle along each side
            distance = (4 * (y / 4 - 0.5)) ** 2 + (4 * (x / 8 - 0.5)) ** 2
            assert centre[:, y, x] == pytest.approx(np.exp(-distance / 2), abs=1e-12)
    cells = np.random.Generator(np.random.Philox(0)).random((4, 7, 7), np.float32)
    assert random.tobytes() == finish(cells, (5, 9)).tobytes()
    assert all(len(maps) == 0 for maps in floor_maps(0, (5, 9), seed=0).values())
    message = "floor_maps: expected maps of 1 × 1 and more, got 2 of 0 × 9; pass (H, W)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        floor_maps(2, (0, 9), seed=0)


MAPS, MASKS = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (MAPS, MASKS[:1], "masks: expected one per map, [2, 4, 4], got [1, 4, 4]; resize them to the maps' size"),
        (MAPS, MASKS + 0.0, "masks: expected bool, got float64; compare with a threshold, as masks > 0"),
        (MAPS[0], MASKS, "maps: expected maps [N,H,W] with H and W at least 1, got shape [4, 4]"),
        (MAPS - 1, ~MASKS, "maps: expected finished maps of 0 and more, got -1; pass them through `finish`"),
    ],
)
def test_what_does_not_fit_is_refused(maps, masks, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        localization(maps, masks)
