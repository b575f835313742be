"""Predicted mask against mask: by hand, against scipy, scikit-image, scikit-learn and a literal form, and 0/0."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, gaussian_filter
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance
from sklearn.metrics import confusion_matrix

from auglens.metrics import SEGMENTATION, segmentation
from auglens.metrics.segmentation import border

EMPTY, FULL = np.zeros((1, 6, 9), bool), np.ones((1, 6, 9), bool)


def box(rows, columns, shape=(6, 9)):
    mask = np.zeros((1, *shape), bool)
    mask[0, slice(*rows), slice(*columns)] = True
    return mask


def scores(predicted, masks):
    found = segmentation(predicted, masks)
    assert tuple(found) == SEGMENTATION
    assert all(values.shape == (1,) and values.dtype == np.float64 for values in found.values())
    return {name: float(values[0]) for name, values in found.items()}


def same(found, expected):
    assert list(found) == list(expected)
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))  # NaN equals NaN


def expect(dice, hausdorff, sensitivity, specificity, precision):
    return dict(zip(SEGMENTATION, (dice, hausdorff, sensitivity, specificity, precision), strict=True))


def test_by_hand():
    """12 pixels of 54 predicted, 8 true, 4 shared. From (1, 1) to (2, 3) it is √5, from (2, 6) to (2, 4) 2."""
    found = scores(box((1, 4), (1, 5)), box((2, 4), (3, 7)))
    same(found, expect(2 * 4 / (12 + 8), 5**0.5, 4 / 8, (54 - 12 - 8 + 4) / (54 - 8), 4 / 12))


def test_equal_masks_are_perfect():
    same(scores(box((1, 4), (1, 5)), box((1, 4), (1, 5))), expect(1, 0, 1, 1, 1))


def test_masks_without_a_common_pixel():
    """From (0, 0) to the nearest, (4, 5), it is √41; as far as from (5, 5) to (0, 1)."""
    same(scores(box((0, 1), (0, 2)), box((4, 6), (5, 6))), expect(0, 41**0.5, 0, 50 / 52, 0))


@pytest.mark.parametrize("turned", [False, True])
def test_the_larger_of_the_directed_distances_counts(turned):
    """The second lies in the first, which is five columns longer: 0 one way and 5 the other."""
    both = box((2, 3), (0, 9)), box((2, 3), (0, 4))
    assert scores(*(both[::-1] if turned else both))["hausdorff"] == 5.0


def test_a_single_pixel():
    pixel = box((2, 3), (4, 5))
    same(scores(pixel, pixel), expect(1, 0, 1, 1, 1))
    same(scores(pixel, box((5, 6), (8, 9))), expect(0, 5, 0, 52 / 53, 0))
    same(scores(pixel, box((0, 6), (4, 5))), expect(2 / 7, 3, 1 / 6, 1, 1))


def test_what_is_empty_is_undefined():
    some = box((1, 4), (1, 5))
    same(scores(EMPTY, some), expect(0, np.nan, 0, 1, np.nan))
    same(scores(some, EMPTY), expect(0, np.nan, np.nan, 42 / 54, 0))
    same(scores(EMPTY, EMPTY), expect(np.nan, np.nan, np.nan, 1, np.nan))


def test_a_full_mask_has_no_specificity_and_its_border_is_the_edge_of_the_image():
    same(scores(FULL, FULL), expect(1, 0, 1, np.nan, 1))
    same(scores(EMPTY, FULL), expect(0, np.nan, 0, np.nan, np.nan))
    same(scores(FULL, EMPTY), expect(0, np.nan, np.nan, 0, 0))
    inner = box((1, 5), (1, 8))  # from its second ring a corner of the image is √2 away
    same(scores(inner, FULL), expect(56 / 82, 2**0.5, 28 / 54, np.nan, 1))
    same(scores(FULL, inner), expect(56 / 82, 2**0.5, 1, 0, 28 / 54))


def test_undefined_in_one_image_leaves_the_others_alone():
    found = segmentation(np.concatenate([EMPTY, FULL]), np.concatenate([EMPTY, FULL]))
    assert {name: np.isnan(values).tolist() for name, values in found.items()} == {
        **{name: [True, False] for name in SEGMENTATION},
        "specificity": [False, True],
    }


def test_distances_are_between_borders_not_masks():
    """A missed hole is as far from the other border as it lies deep; as sets of pixels the masks are 1 apart."""
    full, hole = np.ones((1, 21, 21), bool), np.ones((1, 21, 21), bool)
    hole[0, 10, 10] = False  # the four pixels around it are nine from the image's edge
    assert scores(full, hole)["hausdorff"] == 9.0
    assert hausdorff_distance(full[0], hole[0]) == 1.0


def blobs(generator, count, sigma, share, shape):
    fields = np.stack([gaussian_filter(generator.normal(size=shape), sigma) for _ in range(count)])
    return fields > np.quantile(fields, 1 - share, axis=(1, 2), keepdims=True)


def pairs(kind, count=12, shape=(40, 57)):
    """Predictions and masks that are not empty, of many kinds of borders."""
    generator = np.random.default_rng(5)
    masks = blobs(generator, count, 3.0, 0.2, shape)
    if kind == "noise":
        return generator.random((count, *shape)) > 0.5, generator.random((count, *shape)) > 0.8
    if kind == "blobs":
        return blobs(generator, count, 2.0, 0.3, shape), masks
    if kind == "noise against blobs":
        return blobs(generator, count, 0.6, 0.3, shape), masks
    if kind == "dilated":
        return np.stack([binary_dilation(mask, iterations=2) for mask in masks]), masks
    if kind == "holes":
        return ~blobs(generator, count, 1.0, 0.02, shape), ~masks
    if kind == "one far pixel":
        masks[:, :9, -9:] = False
        predicted = masks.copy()
        predicted[:, 0, -1] = True
        return predicted, masks
    lines = np.zeros((count, *shape), bool)
    lines[np.arange(count), np.arange(count)] = True
    return lines, lines[::-1]


KINDS = ["noise", "blobs", "noise against blobs", "dilated", "holes", "one far pixel", "lines"]


@pytest.mark.parametrize("kind", KINDS)
def test_hausdorff_is_that_of_scipy_and_scikit_image_on_the_border_pixels(kind):
    """Equal to the last bit: all of them take the root of the same whole number."""
    predicted, masks = pairs(kind)
    found = segmentation(predicted, masks)["hausdorff"]
    assert (found > 0).all()
    for value, p, m in zip(found, predicted, masks, strict=True):
        p, m = p ^ binary_erosion(p), m ^ binary_erosion(m)
        points = np.argwhere(p), np.argwhere(m)
        assert value == hausdorff_distance(p, m)
        assert value == max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
        assert value == max(distance_transform_edt(~m)[p].max(), distance_transform_edt(~p)[m].max())


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 3), (2, 9), (11, 6)])
def test_the_border_is_a_literal_form_and_what_erosion_takes_off(shape):
    generator = np.random.default_rng(6)
    for _ in range(50):
        mask = generator.random(shape) > generator.random() * 0.5
        expected = np.zeros(shape, bool)
        for y, x in np.argwhere(mask):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [0 <= a < shape[0] and 0 <= b < shape[1] and mask[a, b] for a, b in around]
            expected[y, x] = not all(inside)
        before = mask.copy()
        np.testing.assert_array_equal(border(mask), expected)
        np.testing.assert_array_equal(border(mask), mask ^ binary_erosion(mask))
        np.testing.assert_array_equal(mask, before)


def by_confusion(predicted, mask):
    """scikit-learn's counts."""
    (tn, fp), (fn, tp) = confusion_matrix(mask.ravel(), predicted.ravel(), labels=[False, True]).tolist()
    with np.errstate(invalid="ignore"):
        return np.array([2 * tp, tp, tn, tp]) / np.array([2 * tp + fp + fn, tp + fn, tn + fp, tp + fp])


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_those_of_scikit_learns_confusion_matrix(kind):
    """Equal to the last bit: quotients of the same whole numbers."""
    predicted, masks = pairs(kind)
    found = segmentation(predicted, masks)
    shares = np.stack([found[name] for name in ("dice", "sensitivity", "specificity", "precision")], axis=1)
    expected = np.stack([by_confusion(p, m) for p, m in zip(predicted, masks, strict=True)])
    np.testing.assert_array_equal(shares, expected)
    assert ((shares >= 0) & (shares <= 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_turned_around(kind):
    """dice and hausdorff are symmetric; sensitivity and precision change places."""
    predicted, masks = pairs(kind)
    found, turned = segmentation(predicted, masks), segmentation(masks, predicted)
    for name, other in {"dice": "dice", "hausdorff": "hausdorff", "sensitivity": "precision"}.items():
        assert found[name].tobytes() == turned[other].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_neither_mirror_nor_turn_matter(kind):
    predicted, masks = pairs(kind)
    found = segmentation(predicted, masks)
    for change in (lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: np.swapaxes(x, 1, 2)):
        turned = segmentation(change(predicted), change(masks))
        assert all(values.tobytes() == turned[name].tobytes() for name, values in found.items())


def test_neither_order_nor_batch_nor_threads_matter():
    """More images than a thread takes in one turn, empty ones and full ones among them."""
    predicted, masks = (np.concatenate(parts) for parts in zip(*(pairs(k, 20) for k in KINDS), strict=True))
    predicted[3], masks[7], predicted[11], masks[11], masks[13] = False, False, False, False, True
    assert predicted.size > 1 << 18
    found = segmentation(predicted, masks, threads=1)
    turned = segmentation(predicted[::-1], masks[::-1], threads=3)
    single = [segmentation(predicted[n : n + 1], masks[n : n + 1]) for n in range(len(masks))]
    for name, values in found.items():
        assert values.tobytes() == turned[name][::-1].tobytes()
        assert values.tobytes() == np.concatenate([one[name] for one in single]).tobytes()


def test_no_images_have_no_values_and_input_stays_as_it_is():
    assert all(values.shape == (0,) for values in segmentation(EMPTY[:0], EMPTY[:0]).values())
    predicted, masks = pairs("blobs")
    before = predicted.tobytes(), masks.tobytes()
    predicted.flags.writeable = masks.flags.writeable = False
    segmentation(predicted, masks)
    assert (predicted.tobytes(), masks.tobytes()) == before


@pytest.mark.parametrize(
    ("predicted", "masks", "threads", "message"),
    [
        (EMPTY, EMPTY[0], None, "masks: expected [N,H,W] with H and W at least 1, got shape [6, 9]; pass one "
         "mask per image, masks[None] if there is one image"),
        (EMPTY, EMPTY[:, :0], None, "masks: expected [N,H,W] with H and W at least 1, got shape [1, 0, 9]; pass "
         "one mask per image, masks[None] if there is one image"),
        (EMPTY[:, 1:], EMPTY, None, "predicted: expected one per mask, [1, 6, 9], got [1, 5, 9]; predict at the "
         "masks' size"),
        (EMPTY[0], EMPTY, None, "predicted: expected one per mask, [1, 6, 9], got [6, 9]; predict at the masks' "
         "size"),
        (EMPTY + 0.0, EMPTY, None, "predicted: expected bool, got float64; compare with a threshold, as "
         "predicted > 0.5"),
        (EMPTY, EMPTY.astype(np.uint8), None, "masks: expected bool, got uint8; compare with a threshold, as "
         "masks > 0"),
        (EMPTY, EMPTY, 0, "threads: expected 1 or more, got 0; leave it out for one per core"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(predicted, masks, threads, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        segmentation(predicted, masks, threads=threads)
