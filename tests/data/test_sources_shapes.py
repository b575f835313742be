from __future__ import annotations

import hashlib

import numpy as np
import pytest

from auglens.config import DataConfig
from auglens.data.sources import load_source, shapes
from auglens.data.split import split


@pytest.fixture(scope="module")
def source():
    return shapes.load(train=400, test=100)


def test_shapes_and_dtypes(source):
    assert (source.images.shape, source.images.dtype) == ((500, 3, 32, 32), np.uint8)
    assert (source.masks.shape, source.masks.dtype) == ((500, 32, 32), np.uint8)
    assert (source.labels.shape, source.labels.dtype) == ((500,), np.int64)
    assert np.array_equal(source.given["train"], np.arange(400))
    assert np.array_equal(source.given["test"], np.arange(400, 500))
    assert len(source.classes) == 10
    assert np.array_equal(np.unique(source.masks), [0, 1])


def test_golden_images():
    """The set is part of every result on it: a change of one grey level is a new data set."""
    digest = hashlib.sha256()
    for part in shapes.PARTS:
        images, masks = shapes.make(part, 0, 20)
        digest.update(images)
        digest.update(masks)
    assert digest.hexdigest() == "7150098db35a7f316aa45400c5a65a4fbb18f0a9959f984f7de1c521a5d17fcf"


def test_classes_are_balanced(source):
    for rows in source.given.values():
        assert len(set(np.bincount(source.labels[rows]))) == 1


def test_an_image_depends_on_its_part_and_row_alone(source, monkeypatch):
    alone = [shapes.make("train", row, 1) for row in (0, 7, 123)]
    for row, (image, mask) in zip((0, 7, 123), alone, strict=True):
        assert np.array_equal(image[0], source.images[row])
        assert np.array_equal(mask[0], source.masks[row])
    monkeypatch.setattr(shapes, "PIXELS", 3 * 32**2)  # three images at a time
    again, masks = shapes.make("test", 0, 20)
    assert np.array_equal(again, source.images[400:420])
    assert np.array_equal(masks, source.masks[400:420])


def test_parts_and_rows_differ(source):
    flat = source.images.reshape(500, -1)
    assert len(np.unique(flat, axis=0)) == 500


def test_global_state_is_untouched():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    shapes.make("train", 0, 3)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_masks_mark_the_pixels_of_the_shape(source):
    """Inside its mask a shape is lighter than its surroundings, and each shape can be seen."""
    grey = source.images.mean(axis=1)
    inside = (grey * source.masks).sum((1, 2)) / source.masks.sum((1, 2))
    outside = (grey * (1 - source.masks)).sum((1, 2)) / (1 - source.masks).sum((1, 2))
    assert np.mean(inside > outside + 15) > 0.98
    share = source.masks.mean((1, 2))
    assert share.min() > 0.015
    assert share.max() < 0.3


def test_without_anything_else_the_mask_is_where_the_shape_was_painted(monkeypatch):
    for name, value in {"TEXTURE": 0.0, "CLUTTER_CONTRAST": 0.0, "OCCLUDED": 0.0, "NOISE": (0, 0)}.items():
        monkeypatch.setattr(shapes, name, value)
    images, masks = shapes.make("train", 0, 50)
    for image, mask in zip(images.astype(float), masks, strict=True):
        edge = mask.astype(bool)
        inner = edge.copy()
        outer = ~edge
        for axis in (0, 1):  # leave out the one pixel along the edge that is mixed
            for step in (-1, 1):
                inner &= np.roll(edge, step, axis)
                outer &= np.roll(~edge, step, axis)
        ground = np.array([channel[outer].mean() for channel in image])
        if inner.any():
            lighter = (image[:, inner] - ground[:, None]).max(axis=0)
            assert np.mean(lighter > 10) > 0.9


def test_masks_match_hand_computed_areas(monkeypatch):
    """A disk of radius r covers π r² of the image, whose area is 4, a square of diagonal 2 r covers 2 r²."""
    still = {"PLACE": 0.16, "SCALE": (0.7, 0.7)}  # so that every shape lies within the image
    for name, value in (still | {"STRETCH": 0.0, "SKEW": 0.0, "OCCLUDED": 0.0}).items():
        monkeypatch.setattr(shapes, name, value)
    _, masks = shapes.make("train", 0, 20, size=128)
    share = masks.mean((1, 2))
    areas = {
        "disk": np.pi * (0.85 * 0.7) ** 2,
        "ring": np.pi * 0.7**2 * (0.94**2 - 0.5**2),
        "square": 2 * 0.7**2,
        "triangle": 3 * np.sqrt(3) / 4 * 0.7**2,
        "cross": (2 * 1.9 * 0.6 - 0.36) * 0.7**2,
        "star": 5 * 0.42 * np.sin(np.pi / 5) * 0.7**2,
        "hexagon": 3 * np.sqrt(3) / 2 * 0.7**2,
        "bar": 2.1 * 0.6 * 0.7**2,
    }
    for name, area in areas.items():
        row = shapes.CLASSES.index(name)
        # pixels of 1/64 along an edge of about 4 units: half of that area at the very most
        np.testing.assert_allclose(share[[row, row + 10]] * 4, area, atol=0.03)


def test_colour_and_place_do_not_tell_the_class():
    """Means per class stay within what chance gives: 4 standard errors over 60 images a class."""
    images, masks = shapes.make("train", 0, 600)
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=2).reshape(600, 3)
    rows, columns = np.mgrid[:32, :32]
    labels = np.arange(600) % 10
    symmetric = np.isin(labels, [0, 1, 2, 4, 6, 7])  # the centre of the others is not their middle
    centre = np.stack([(masks * axis).sum((1, 2)) / masks.sum((1, 2)) for axis in (rows, columns)], axis=1)
    for values, used in ((corners, labels >= 0), (centre, symmetric)):
        for label in np.unique(labels[used]):
            own = values[(labels == label) & used]
            error = values[used].std(axis=0) / np.sqrt(len(own))
            assert np.all(np.abs(own.mean(axis=0) - values[used].mean(axis=0)) < 4 * error)


def test_sizes_show_the_same_scene(source):
    images, masks = shapes.make("train", 0, 10, size=64)
    small = masks.reshape(10, 32, 2, 32, 2).mean(axis=(2, 4)) >= 0.5
    assert images.shape == (10, 3, 64, 64)
    assert np.mean(small == source.masks[:10]) > 0.98


def test_load_source_makes_what_the_parameters_say():
    config = DataConfig("shapes", "src/auglens/data/sources/shapes.py", 32, 60, 30, 0.2, 0)
    source = load_source(config)
    assert len(source.images) == 90
    assert source.content_sha256 == load_source(config).content_sha256
    result = split(source.labels, source.given, validation_fraction=0.2, seed=0, classes=source.classes)
    assert (len(result.train), len(result.validation), len(result.test)) == (48, 12, 30)


def test_content_knows_every_pixel():
    first, other = shapes.load(train=20, test=10), shapes.load(train=20, test=20)
    assert first.content_sha256 != other.content_sha256


def test_no_images_asked_for():
    with pytest.raises(
        ValueError,
        match=r"^parameter data.test: expected the number of shapes to make, got 0; set it above 0$",
    ):
        shapes.load(train=10, test=0)


def test_fewer_images_than_classes():
    source = shapes.load(train=8, test=10)
    with pytest.raises(ValueError, match="class 'crescent' has 1 images, none of them in train"):
        split(source.labels, source.given, validation_fraction=0.2, seed=0, classes=source.classes)
