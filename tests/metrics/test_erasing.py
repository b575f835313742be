"""The robustness set: its grid by hand and literally, its rows against a set that is made, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auglens.metrics.erasing import grid, over_grid

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(1, 256, (11, 3, 10, 7), dtype=np.uint8)  # no pixel is black before it is erased
WEIGHTS = RNG.integers(0, 1000, (3, 10, 7))


def evaluate(images: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
    """What stands for a network: every pixel counts, and so does which image it is."""
    total = (images.astype(np.int64) * WEIGHTS).sum((1, 2, 3))
    return {
        "predicted": ((total // 1000 + places) % 3).astype(np.int16),
        "score": total / 7 + places,
        "black": (images == 0).all(1).sum((1, 2)).astype(np.int32),
    }


def by_hand_erased(image: np.ndarray, size: int) -> list[tuple[int, int, np.ndarray]]:
    """Algorithm 2, literally: the image, then a copy per cell."""
    found = [(-1, -1, image.copy())]
    for i in range(0, image.shape[1], size):
        for j in range(0, image.shape[2], size):
            copy = image.copy()
            for y in range(i, i + size):
                for x in range(j, j + size):
                    if y < image.shape[1] and x < image.shape[2]:
                        copy[:, y, x] = 0
            found.append((i // size, j // size, copy))
    return found


def test_a_grid_by_hand() -> None:
    assert grid(4, 4, 2).tolist() == [[0, 2, 0, 2], [0, 2, 2, 4], [2, 4, 0, 2], [2, 4, 2, 4]]
    assert grid(3, 5, 2).tolist() == [
        [0, 2, 0, 2], [0, 2, 2, 4], [0, 2, 4, 5],
        [2, 3, 0, 2], [2, 3, 2, 4], [2, 3, 4, 5],
    ]  # fmt: skip
    assert grid(6, 6, 6).tolist() == [[0, 6, 0, 6]]
    assert grid(3, 5, 2).dtype == np.int64


@pytest.mark.parametrize(("height", "width"), [(32, 32), (10, 7), (1, 9)])
def test_the_cells_of_a_grid_cover_every_pixel_once(height: int, width: int) -> None:
    for size in range(1, min(height, width) + 1):
        covered = np.zeros((height, width), dtype=int)
        for top, bottom, left, right in grid(height, width, size):
            covered[top:bottom, left:right] += 1
        assert (covered == 1).all()
        assert len(grid(height, width, size)) == -(-height // size) * -(-width // size)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_rows_are_those_of_a_set_that_is_made(size: int) -> None:
    found = over_grid(evaluate, IMAGES, size, batch_size=4)
    made = [(n, *one) for n, image in enumerate(IMAGES) for one in by_hand_erased(image, size)]
    pixels, places = np.stack([one[3] for one in made]), np.array([one[0] for one in made])
    expected = evaluate(pixels, places)
    whole = {n: expected["predicted"][place] for place, (n, row, *_) in enumerate(made) if row == -1}
    assert list(found) == ["image", "row", "column", "predicted", "score", "black", "consistent"]
    assert [found[name].tolist() for name in ("image", "row", "column")] == [
        [one[at] for one in made] for at in range(3)
    ]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    consistent = [value == whole[n] for n, value in zip(places, expected["predicted"], strict=True)]
    assert found["consistent"].tolist() == consistent
    assert 0 < np.mean(consistent) < 1
    assert found["consistent"][found["row"] == -1].all()


def test_dtypes() -> None:
    found = over_grid(evaluate, IMAGES, 4)
    assert {name: values.dtype.name for name, values in found.items()} == {
        "image": "int32", "row": "int16", "column": "int16",
        "predicted": "int16", "score": "float64", "black": "int32", "consistent": "bool",
    }  # fmt: skip


def test_the_erased_pixels_are_black_in_all_channels_and_the_others_untouched() -> None:
    found = over_grid(evaluate, IMAGES, 4)
    one = found["image"] == 3
    assert found["black"][one].tolist() == [
        0,
        16,
        12,
        16,
        12,
        8,
        6,
    ]  # 10 × 7: rows of 4, 4 and 2, columns of 4 and 3


@pytest.mark.parametrize("batch_size", [1, 2, 5, 11, 256])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    one, other = over_grid(evaluate, IMAGES, 3), over_grid(evaluate, IMAGES, 3, batch_size=batch_size)
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].dtype == other[name].dtype


def test_only_a_batch_is_held_and_all_are_counted() -> None:
    sizes, counted = [], []

    def seen(images: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        assert (images.dtype, places.dtype) == (np.uint8, np.int64)
        sizes.append(len(images))
        return {"place": places}

    found = over_grid(seen, IMAGES, 5, batch_size=4, on_images=counted.append)  # 2 × 2 cells
    assert sizes == [*[4] * 10, *[3] * 5]
    assert counted == sizes
    np.testing.assert_array_equal(found["place"], found["image"])
    assert "consistent" not in found


def test_a_memmap_is_read_and_never_written(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    before = (tmp_path / "images.npy").read_bytes()
    expected = over_grid(evaluate, IMAGES.copy(), 3)
    writable = np.load(tmp_path / "images.npy", mmap_mode="r+")
    for images in (writable, np.load(tmp_path / "images.npy", mmap_mode="r")):
        found = over_grid(evaluate, images, 3, batch_size=4)
        np.testing.assert_array_equal(found["score"], expected["score"])
    writable.flush()
    assert (tmp_path / "images.npy").read_bytes() == before
    kept = IMAGES.copy()
    over_grid(evaluate, kept, 3, batch_size=11)
    np.testing.assert_array_equal(kept, IMAGES)


def test_what_is_kept_is_not_what_the_next_call_overwrites() -> None:
    """A buffer that `evaluate` gives out again and again is copied."""
    buffer = np.zeros(len(IMAGES))

    def reused(images: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        buffer[:] = evaluate(images, places)["score"]
        return {"score": buffer}

    expected = over_grid(evaluate, IMAGES, 5)["score"]
    np.testing.assert_array_equal(over_grid(reused, IMAGES, 5)["score"], expected)


def test_undefined_scores_stay_undefined() -> None:
    def undefined(images: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        return {"hausdorff": np.where((images == 0).any((1, 2, 3)), np.inf, np.nan)}

    found = over_grid(undefined, IMAGES, 7)
    assert np.isnan(found["hausdorff"][found["row"] == -1]).all()
    assert np.isposinf(found["hausdorff"][found["row"] >= 0]).all()


FIX = "set a square that fits into an image"


@pytest.mark.parametrize(
    ("height", "width", "size", "message"),
    [
        (32, 32, 40, f"robustness.size: expected 1 to 32 pixels, the side of the images, got 40; {FIX}"),
        (32, 32, 0, f"robustness.size: expected 1 to 32 pixels, the side of the images, got 0; {FIX}"),
        (48, 32, 33, f"robustness.size: expected 1 to 32 pixels, the shorter side of the images, got 33; {FIX}"),
    ],
)
def test_a_square_that_does_not_fit_is_refused(height: int, width: int, size: int, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        grid(height, width, size)
    assert str(error.value) == message
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        over_grid(evaluate, np.zeros((2, 3, height, width), dtype=np.uint8), size)
    assert str(error.value) == message


PIXELS = "images: expected uint8 [N,3,H,W] of 1 or more, got"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES / 255}, f"{PIXELS} float64 [11, 3, 10, 7]; pass pixels from 0 to 255"),
        ({"images": IMAGES[:, :1]}, f"{PIXELS} uint8 [11, 1, 10, 7]; pass pixels from 0 to 255"),
        ({"images": IMAGES[:0]}, f"{PIXELS} uint8 [0, 3, 10, 7]; pass pixels from 0 to 255"),
        ({"batch_size": 0}, "batch_size: expected 1 or more images, got 0; 256 is the default"),
        (
            {"evaluate": lambda images, places: {"dice": np.zeros((len(images), 2))}},
            "evaluate: expected 'dice' of shape [11], got [11, 2]; give one value per image",
        ),
        (
            {"evaluate": lambda images, places: {"row": places}},
            "evaluate: 'row' is a column of this table already; give yours another name",
        ),
        (
            {"evaluate": lambda images, places: {"consistent": places}},
            "evaluate: 'consistent' is a column of this table already; give yours another name",
        ),
        (
            {"evaluate": lambda images, places: {"dice" if images.all() else "iou": places}},
            "evaluate: expected the columns of its first call, dice, got iou; give the same every time",
        ),
        (
            {"evaluate": lambda images, places: {"dice": places} if places[0] < 4 else {}, "batch_size": 4},
            "evaluate: expected the columns of its first call, dice, got none; give the same every time",
        ),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    given = {"evaluate": evaluate, "images": IMAGES, "size": 5} | changes
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        over_grid(**given)
    assert str(error.value) == message
