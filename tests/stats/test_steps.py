"""Do steps choose the same pixels: by hand, against loops over single pixels, invariants, what is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from auglens.stats import step_counts, window_iou

Steps = dict[tuple[str, int], dict[int, tuple[np.ndarray, np.ndarray]]]
NAN = float("nan")


def chose(images: Mapping[int, str]) -> tuple[np.ndarray, np.ndarray]:
    """image → its 2 × 3 pixels as 0 and 1, row after row."""
    masks = [[bit == "1" for bit in bits] for bits in images.values()]
    return np.array(list(images), dtype=np.int64), np.array(masks, dtype=bool).reshape(len(images), 2, 3)


HAND: Steps = {
    # image 3 overlaps in 1 of 3, image 5 in 2 of 2, image 6 in 0 of 6; image 8 is of one only, 9 has no pixel
    ("ada", 0): {
        4: chose({3: "110000", 5: "000011", 6: "111000", 8: "111111", 9: "000000"}),
        6: chose({3: "111111"}),
    },
    ("cam", 0): {
        4: chose({2: "111111", 3: "011000", 5: "000011", 6: "000111", 9: "000000"}),
        6: chose({4: "111111"}),
    },
    ("ada", 1): {4: chose({3: "000001", 5: "000001", 9: "100000"})},
    ("cam", 1): {4: chose({3: "111111"})},
    ("cam", 2): {4: chose({3: "000000"})},
}


def rows_of(table: pd.DataFrame) -> dict[tuple[int, str, str], tuple[float, ...]]:
    return {
        (row["epoch"], row["aug_a"], row["aug_b"]): (row["iou"], row["images"], row["undefined"], row["seeds"])
        for row in table.to_dict("records")
    }


def test_window_iou_by_hand() -> None:
    found = window_iou(HAND)
    assert list(found.columns) == ["step", "epoch", "aug_a", "aug_b", "iou", "images", "undefined", "seeds"]
    assert [(row["step"], row["epoch"]) for row in found.to_dict("records")] == [(1, 4)] * 3 + [(2, 6)] * 3
    of_seed_0, of_seed_1 = (1 / 3 + 1 + 0) / 3, 1 / 6
    cams = 2 / 6  # seeds 0 and 1; 0 and 2 meet in image 3 at 0 of 2, 1 and 2 at 0 of 6
    expected = {
        # seeds 0 and 1: image 3 has 0 of 3, image 5 1 of 2, image 9 0 of 1
        (4, "ada", "ada"): ((0 + 0.5 + 0) / 3, 3, 0, 2),
        # every model counts alike, however many images it has
        (4, "ada", "cam"): ((of_seed_0 + of_seed_1) / 2, 4, 1, 2),
        (4, "cam", "cam"): ((cams + 0 + 0) / 3, 3, 0, 3),
        (6, "ada", "ada"): (NAN, 0, 0, 0),  # one seed
        (6, "ada", "cam"): (NAN, 0, 0, 0),  # no image in common
        (6, "cam", "cam"): (NAN, 0, 0, 0),
    }
    assert list(rows_of(found)) == list(expected)
    for key, values in expected.items():
        assert rows_of(found)[key] == pytest.approx(values, nan_ok=True), key


def test_an_empty_union_is_counted_and_does_not_pull_the_mean() -> None:
    empty = {n: "000000" for n in range(5)}
    steps = {("ada", 0): {1: chose({**empty, 7: "110000"})}, ("cam", 0): {1: chose({**empty, 7: "100000"})}}
    assert rows_of(window_iou(steps))[1, "ada", "cam"] == (0.5, 1, 5, 1)
    nothing = {("ada", 0): {1: chose(empty)}, ("cam", 0): {1: chose(empty)}}
    assert rows_of(window_iou(nothing))[1, "ada", "cam"] == pytest.approx((NAN, 0, 5, 0), nan_ok=True)


def test_a_single_seed_has_no_floor_and_is_not_compared_with_itself() -> None:
    one = {("ada", 7): {1: chose({0: "110000"})}}
    found = rows_of(window_iou(one))
    assert list(found) == [(1, "ada", "ada")]
    assert found[1, "ada", "ada"] == pytest.approx((NAN, 0, 0, 0), nan_ok=True)


def test_models_of_other_seeds_are_no_pair() -> None:
    found = rows_of(window_iou({("ada", 0): {1: chose({0: "110000"})}, ("cam", 1): {1: chose({0: "110000"})}}))
    assert found[1, "ada", "cam"] == pytest.approx((NAN, 0, 0, 0), nan_ok=True)


def test_a_step_that_changed_nothing_shares_nothing() -> None:
    none = (np.zeros(0, dtype=np.int64), np.zeros((0, 2, 3), dtype=bool))
    found = rows_of(window_iou({("ada", 0): {1: none}, ("cam", 0): {1: chose({0: "110000"})}}))
    assert found[1, "ada", "cam"] == pytest.approx((NAN, 0, 0, 0), nan_ok=True)


def test_steps_are_matched_by_epoch_and_numbered_over_the_study() -> None:
    same = chose({0: "110000"})
    found = window_iou({("ada", 0): {40: same, 2: same}, ("cam", 0): {40: same, 9: same}, ("none", 0): {}})
    told = [(row["step"], row["epoch"], row["aug_a"], row["aug_b"]) for row in found.to_dict("records")]
    assert told == [
        (1, 2, "ada", "ada"),
        (2, 9, "cam", "cam"),
        (3, 40, "ada", "ada"),
        (3, 40, "ada", "cam"),
        (3, 40, "cam", "cam"),
    ]
    assert found["iou"].tolist() == pytest.approx([NAN, NAN, NAN, 1, NAN], nan_ok=True)


def test_without_steps_there_are_no_rows() -> None:
    for steps in ({}, {("ada", 0): {}}):
        found = window_iou(steps)
        assert len(found) == 0
        assert found.dtypes.to_dict() == window_iou(HAND).dtypes.to_dict()


def drawn(seed: int, height: int, width: int) -> Steps:
    """Augs of one to three seeds, steps at some of the epochs, some of the images, some masks empty."""
    rng = np.random.default_rng(seed)
    steps: Steps = {}
    for aug, seeds in (("ada", (0, 1, 2)), ("cam", (0, 2)), ("proxy", (1,)), ("mix", (3, 1))):
        for model in seeds:
            made = {}
            for epoch in rng.choice([2, 4, 8, 16], 3, replace=False):
                rows = rng.choice(12, rng.integers(0, 12), replace=False).astype(np.int64)
                masks = rng.random((len(rows), height, width)) < rng.choice([0, 0.02, 0.5, 1], (len(rows), 1, 1))
                made[int(epoch)] = (rows, masks)
            steps[aug, model] = made
    return steps


def by_loops(steps: Steps, epoch: int, a: str, b: str) -> tuple[float, int, int, int]:
    """Every two models, every two images, every pixel, in plain numbers."""
    means, seeds, images, undefined = [], set(), 0, 0
    for (aug_one, one), made_one in steps.items():
        for (aug_two, two), made_two in steps.items():
            wanted = one < two if a == b else one == two
            if (aug_one, aug_two) != (a, b) or not wanted or epoch not in made_one or epoch not in made_two:
                continue
            ious = []
            for image, mask in zip(*made_one[epoch], strict=True):
                for other, its_mask in zip(*made_two[epoch], strict=True):
                    if image != other:
                        continue
                    both = either = 0
                    for y in range(mask.shape[0]):
                        for x in range(mask.shape[1]):
                            both += bool(mask[y, x]) and bool(its_mask[y, x])
                            either += bool(mask[y, x]) or bool(its_mask[y, x])
                    if either:
                        ious.append(both / either)
                    else:
                        undefined += 1
            images += len(ious)
            if ious:
                means.append(math.fsum(ious) / len(ious))
                seeds |= {one, two}
    return (math.fsum(means) / len(means) if means else NAN), images, undefined, len(seeds)


# Sizes around the 64 pixels of a word: less than a byte, not whole words, one word, some words.
@pytest.mark.parametrize(("height", "width"), [(1, 5), (7, 11), (8, 8), (9, 16)])
def test_equals_loops_over_pixels(height: int, width: int) -> None:
    defined = undefined = 0
    for seed in range(3):
        steps = drawn(seed, height, width)
        found = rows_of(window_iou(steps))
        augs = ["ada", "cam", "proxy", "mix"]
        have = {(aug, epoch) for (aug, _), made in steps.items() for epoch in made}
        pairs = {
            (epoch, a, b)
            for epoch in (2, 4, 8, 16)
            for n, a in enumerate(augs)
            for b in augs[n:]
            if {(a, epoch), (b, epoch)} <= have
        }
        assert set(found) == pairs
        for key, values in found.items():
            assert values == pytest.approx(by_loops(steps, *key), nan_ok=True, abs=1e-12), key
            defined, undefined = defined + math.isfinite(values[0]), undefined + int(values[2])
    assert defined > 20
    assert undefined > 0


def test_the_order_of_images_changes_no_number() -> None:
    steps, rng = drawn(5, 6, 6), np.random.default_rng(0)
    mixed: Steps = {}
    for cell, made in steps.items():
        mixed[cell] = {}
        for epoch, (rows, masks) in made.items():
            order = rng.permutation(len(rows))
            mixed[cell][epoch] = (rows[order], masks[order])
    pd.testing.assert_frame_equal(window_iou(steps), window_iou(mixed), check_exact=True)


def test_the_order_of_augs_and_seeds_changes_no_number() -> None:
    steps = drawn(6, 6, 6)
    one = rows_of(window_iou(steps))
    two = rows_of(window_iou(dict(reversed(steps.items()))))
    assert len(one) == len(two)
    for (epoch, a, b), values in one.items():
        turned = two.get((epoch, a, b), two.get((epoch, b, a)))
        assert turned == pytest.approx(values, nan_ok=True, abs=1e-15)


def test_equal_windows_have_1_and_disjoint_ones_0() -> None:
    masks = np.random.default_rng(0).random((9, 20, 20)) < 0.3
    masks[:, 0, :2] = [True, False]  # neither a mask nor its negative is empty
    rows = np.arange(9)
    steps = {("ada", 0): {1: (rows, masks)}, ("same", 0): {1: (rows, masks)}, ("rest", 0): {1: (rows, ~masks)}}
    found = rows_of(window_iou(steps))
    assert found[1, "ada", "same"] == (1.0, 9, 0, 1)
    assert found[1, "ada", "rest"] == (0.0, 9, 0, 1)


@pytest.mark.parametrize(
    ("rows", "changed", "got"),
    [
        (np.arange(2), np.zeros((3, 4, 4), bool), "rows int64 [2] and changed bool [3, 4, 4]"),
        (np.arange(3), np.zeros((3, 16), bool), "rows int64 [3] and changed bool [3, 16]"),
        (np.arange(3)[None], np.zeros((1, 4, 4), bool), "rows int64 [1, 3] and changed bool [1, 4, 4]"),
        (np.arange(3), np.zeros((3, 4, 4), np.uint8), "rows int64 [3] and changed uint8 [3, 4, 4]"),
        (np.arange(3.0), np.zeros((3, 4, 4), bool), "rows float64 [3] and changed bool [3, 4, 4]"),
    ],
)
def test_other_shapes_and_dtypes_are_refused(rows: np.ndarray, changed: np.ndarray, got: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        window_iou({("ada", 3): {5: (rows, changed)}})
    assert str(error.value) == (
        f"steps: expected rows int64 [M] and changed bool [M,H,W], got {got} of ada-3 at epoch 5; "
        "give one mask per image"
    )


def test_an_image_twice_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        window_iou({("ada", 3): {5: (np.array([4, 2, 4]), np.zeros((3, 4, 4), bool))}})
    assert str(error.value) == (
        "steps: expected each image once in rows, got image 4 more than once of ada-3 at epoch 5; merge its masks"
    )


def test_images_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        window_iou({
            ("ada", 0): {5: (np.arange(3), np.zeros((3, 4, 4), bool))},
            ("cam", 1): {5: (np.arange(3), np.zeros((3, 2, 8), bool))},
        })  # fmt: skip
    assert str(error.value) == (
        "steps: expected images of one size at epoch 5, got 4 x 4 of ada-0, 2 x 8 of cam-1; "
        "compare cells trained on the same data"
    )


REPORTS = [
    {"aug": "proxy_attention", "seed": 1, "steps": [
        {"epoch": 8, "made": 3, "flat": 1, "wrong": 4, "considered": 40},
        {"epoch": 4, "made": 5, "flat": 0, "wrong": 9, "considered": 41},
    ]},
    {"aug": "affine", "seed": 0},
    {"aug": "reference", "seed": 0, "steps": []},
    {"aug": "ada", "seed": 0, "steps": [
        {"epoch": 4, "made": 50, "flat": 2, "wrong": None, "considered": 52, "seconds": 3.5},
    ]},
]  # fmt: skip


def test_step_counts_by_hand() -> None:
    found = step_counts(REPORTS)
    assert list(found.columns) == ["aug", "seed", "step", "epoch", "made", "flat", "wrong", "considered"]
    assert found.astype(object).where(found.notna(), None).to_numpy().tolist() == [
        ["proxy_attention", 1, 1, 4, 5, 0, 9, 41],
        ["proxy_attention", 1, 2, 8, 3, 1, 4, 40],
        ["ada", 0, 1, 4, 50, 2, None, 52],
    ]
    assert found["made"].sum() == 58
    assert {str(kind) for kind in found.dtypes.iloc[1:4]} == {"int64"}
    assert {str(kind) for kind in found.dtypes.iloc[4:]} == {"Int64"}


def test_step_counts_of_no_steps_keep_their_types() -> None:
    none = step_counts(REPORTS[1:3])
    assert len(none) == 0
    assert none.dtypes.to_dict() == step_counts(REPORTS).dtypes.to_dict()


def test_a_step_without_a_count_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        step_counts([{"aug": "ada", "seed": 2, "steps": [{"epoch": 4, "made": 50, "considered": 52}]}])
    assert str(error.value) == (
        "reports: expected epoch, made, flat, wrong, considered in every step, got epoch, made, considered in one "
        "of ada-2; add flat, wrong (None where it has no meaning)"
    )
