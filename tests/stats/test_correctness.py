from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auglens.stats import SEGMENTS, segment_summary, segment_values, segments


@pytest.fixture
def table() -> pd.DataFrame:
    """Image 0: both right; 1: one right; 2: both wrong at seed 0, one right at seed 1. With a reference."""
    return pd.DataFrame(
        {
            "aug": ["reference"] * 3 + ["elastic"] * 6,
            "seed": [0] * 6 + [1] * 3,
            "image": [0, 1, 2] * 3,
            "correct": [True, False, False, True, True, False, True, True, True],
            "reference_correct": pd.Series([None] * 3 + [True, False, False] * 2, dtype=object),
            "mad": [np.nan] * 3 + [0.1, 0.2, 0.3, 0.3, np.nan, 0.7],
        }
    )


def test_segments(table):
    found = segments(table)["segment"]
    assert found.isna().tolist() == [True] * 3 + [False] * 6
    assert found.tolist()[3:6] == ["both right", "one right", "both wrong"]
    assert found.tolist()[6:] == ["both right", "one right", "one right"]


def test_one_right_whichever_it_is():
    two = pd.DataFrame({"aug": ["affine"] * 2, "correct": [True, False], "reference_correct": [False, True]})
    assert segments(two)["segment"].tolist() == ["one right", "one right"]


def test_values_are_averaged_over_the_seeds_that_put_the_image_there(table):
    found = segment_values(table, ["mad"])
    assert found[["segment", "image", "seeds"]].to_numpy().tolist() == [
        ["both right", 0, 2],
        ["one right", 1, 2],
        ["one right", 2, 1],
        ["both wrong", 2, 1],
    ]
    np.testing.assert_allclose(found["mad"], [0.2, 0.2, 0.7, 0.3])
    pd.testing.assert_frame_equal(found, segment_values(segments(table), ["mad"]))


def test_summary_has_a_row_for_every_segment(table):
    only_right = table[(table["aug"] == "reference") | (table["image"] == 0)]
    found = segment_summary(only_right, "mad")
    assert found["segment"].tolist() == list(SEGMENTS)
    assert found["images"].tolist() == [1, 0, 0]
    assert found["n"].tolist() == [1, 0, 0]
    whole = segment_summary(table, "mad").set_index("segment")
    assert whole.loc["one right", ["images", "n"]].tolist() == [2, 2]
    assert whole.loc["one right", "mean"] == pytest.approx(0.45)
    assert whole.loc["one right", "sd"] == pytest.approx(np.std([0.2, 0.7], ddof=1))


def test_segments_partition_the_rows():
    rng = np.random.default_rng(0)
    n = 200
    table = pd.DataFrame(
        {
            "aug": "noise", "seed": 0, "image": range(n), "mad": rng.random(n),
            "correct": rng.random(n) < 0.6, "reference_correct": rng.random(n) < 0.6,
        }
    )  # fmt: skip
    values = segment_values(table, ["mad"])
    assert sorted(values["image"]) == list(range(n))
    both = table["correct"] & table["reference_correct"]
    assert (values["segment"] == "both right").sum() == both.sum()
    assert segment_summary(table, "mad")["n"].sum() == n
