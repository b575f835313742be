from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auglens.stats import average_seeds, degenerate_counts, distinct_replicates, flag_maps, metrics_of

METRICS = ("mad", "pearson")


def rows(*values: tuple[str, int, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["aug", "seed", "image", "mad", "pearson"])


def test_mean_over_finite_seeds_with_their_number():
    table = rows(
        ("reference", 0, 0, np.nan, np.nan),
        ("elastic", 0, 1, 0.1, np.nan),
        ("elastic", 1, 1, 0.3, np.nan),
        ("elastic", 0, 0, 0.5, 1.0),
        ("elastic", 1, 0, np.nan, np.inf),
        ("affine", 0, 0, 0.25, 0.5),
    )
    found = average_seeds(table, METRICS)
    expected = pd.DataFrame(
        {
            "aug": ["elastic", "elastic", "affine"],  # in the table's order
            "image": [0, 1, 0],
            "mad": [0.5, 0.2, 0.25],
            "mad_seeds": [1, 2, 1],
            "pearson": [1.0, np.nan, 0.5],
            "pearson_seeds": [1, 0, 1],
        }
    )
    pd.testing.assert_frame_equal(found, expected)
    assert metrics_of(found) == ["mad", "pearson"]


def test_means_do_not_depend_on_the_order_of_rows_to_the_last_bit():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [(aug, seed, image, *rng.random(2)) for aug in ("a", "b") for seed in range(5) for image in range(40)],
        columns=["aug", "seed", "image", "mad", "pearson"],
    )
    shuffled = pd.concat([table.iloc[:1], table.iloc[1:].sample(frac=1, random_state=1)])
    pd.testing.assert_frame_equal(
        average_seeds(table, METRICS), average_seeds(shuffled, METRICS), check_exact=True
    )


def test_an_image_twice_in_a_cell_is_refused():
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        average_seeds(rows(("affine", 2, 7, 0.1, 0.1), ("affine", 2, 7, 0.2, 0.2)), METRICS)
    assert str(error.value) == "table: image 7 occurs twice in cell affine-2; expected one row per image"


def test_equal_checkpoints_are_one_replicate_of_their_aug_only():
    table = rows(
        ("reference", 0, 0, np.nan, np.nan),
        *[(aug, seed, 0, 0.1 * seed, 0.0) for aug in ("equalize", "identity", "noise") for seed in (2, 0, 1)],
    )
    shas = {("equalize", s): "e" for s in range(3)} | {("noise", s): f"n{s}" for s in range(3)}
    shas |= {
        ("identity", 0): "e",
        ("identity", 1): "i",
        ("identity", 2): "i",
    }  # shares equalize's hash, stays
    found = distinct_replicates(table, shas)
    kept = [f"{aug}-{seed}" for aug, seed in zip(found["aug"], found["seed"], strict=True)]
    replicates = ["equalize-0", "identity-0", "identity-1", "noise-2", "noise-0", "noise-1"]
    assert kept == ["reference-0", *replicates]
    assert average_seeds(found, ["mad"])["mad_seeds"].tolist() == [1, 2, 3]


def test_a_cell_without_checkpoint_is_refused():
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        distinct_replicates(rows(("affine", 1, 0, 0.0, 0.0)), {("affine", 0): "a"})
    assert str(error.value) == "checkpoints: no hash for cell affine-1; add it or drop the cell's rows"


@pytest.fixture
def cells() -> pd.DataFrame:
    """Reference and one aug; median of the finite ranges 1.0, so flat below 1e-6."""
    return pd.DataFrame(
        {
            "aug": ["reference"] * 4 + ["blur"] * 4,
            "seed": 0,
            "image": [0, 1, 2, 3] * 2,
            "raw_range": [2.0, 0.9e-6, 1.0, 1.0, 0.0, 1e-6, np.nan, 3.0],
            "reference_raw_range": [np.nan] * 4 + [2.0, 0.9e-6, 1.0, 1.0],
            "constant": [False, False, False, False, True, False, True, False],
            "reference_constant": pd.Series([None] * 4 + [False, False, True, False], dtype=object),
            "mad": [np.nan] * 4 + [0.1, 0.2, np.nan, 0.3],
            "pearson": [np.nan] * 4 + [np.nan, 0.5, np.nan, np.inf],
        }
    )


def test_flat_is_below_a_millionth_of_the_median(cells):
    found = flag_maps(cells)
    assert found["flat"].tolist() == [False, True, False, False, True, False, False, False]
    assert found["reference_flat"].tolist() == [False] * 5 + [True, False, False]
    assert "flat" not in cells.columns
    none = flag_maps(cells.assign(raw_range=np.nan))
    assert none["flat"].dtype == bool
    assert not none["flat"].any()


def test_degenerate_counts(cells):
    found = degenerate_counts(cells, METRICS)
    pd.testing.assert_frame_equal(found, degenerate_counts(flag_maps(cells), METRICS))
    reference, blur = found.to_dict("records")
    assert {k: v for k, v in blur.items() if k != "aug"} == {
        "seed": 0, "images": 4, "constant": 2, "flat": 1, "reference_constant": 1, "reference_flat": 1,
        "mad_undefined": 1, "pearson_undefined": 3,
    }  # fmt: skip
    names = ("aug", "images", "constant", "flat")
    assert [reference[name] for name in names] == ["reference", 4, 0, 1]
    assert pd.isna(reference["mad_undefined"])
    assert pd.isna(reference["reference_constant"])
