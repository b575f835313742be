from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from auglens.stats.resampling import image_weights
from auglens.stats.targets import TARGETS, target_table

CELLS = (("identity", 1), ("affine", 1), ("affine", 2), ("affine", 3))


def study(seed: int = 0, images: int = 200, shift: float = 0.5, cells: tuple = CELLS) -> pd.DataFrame:
    """Where a model or the reference is wrong, the true target's metric lies `shift` lower; else they agree."""
    rng = np.random.default_rng(seed)
    before = rng.random(images) < 0.7
    reference = {
        "aug": "reference",
        "seed": 0,
        "image": range(images),
        "correct": before,
        "reference_correct": pd.NA,
    }
    frames = [pd.DataFrame({**reference, "mad": np.nan, "true_mad": np.nan, "class_kld": np.nan})]
    for aug, number in cells:
        now = rng.random(images) < 0.8
        mad = rng.normal(size=images)
        true = mad - np.where(now & before, 0.0, shift + rng.normal(size=images))
        values = {"correct": now, "reference_correct": before, "mad": mad, "true_mad": true, "class_kld": 1.0}
        frames.append(pd.DataFrame({"aug": aug, "seed": number, "image": range(images), **values}))
    return pd.concat(frames, ignore_index=True)


def test_everything_by_definition():
    table = study()
    table.loc[table.index % 13 == 0, "mad"] = np.nan
    table.loc[table.index % 19 == 0, "true_mad"] = np.inf
    found = target_table(table, ["mad", "class_kld"], image_weights(200, 300, seed=0), 0.95, other="true")
    assert list(found.columns) == TARGETS
    assert found[["aug", "metric"]].to_numpy().tolist() == [["identity", "mad"], ["affine", "mad"]]
    for row in found.itertuples():
        mine = table[table["aug"] == row.aug]
        defined = mine[np.isfinite(mine["mad"]) & np.isfinite(mine["true_mad"])]
        means = defined.groupby("image")[["mad", "true_mad"]].mean()
        assert row.predicted == pytest.approx(means["mad"].mean(), abs=1e-12)
        assert row.true == pytest.approx(means["true_mad"].mean(), abs=1e-12)
        assert row.difference == pytest.approx(row.predicted - row.true, abs=1e-12)
        assert row.pearson == pytest.approx(stats.pearsonr(means["mad"], means["true_mad"]).statistic, abs=1e-12)
        right = mine["correct"].astype(bool) & mine["reference_correct"].astype(bool)
        assert row.images_changed == pytest.approx((~right).groupby(mine["seed"]).mean().mean(), abs=1e-12)
        assert (row.images, row.seeds) == (len(means), mine["seed"].nunique())
        assert row.low < row.difference < row.high
        assert 0.35 < row.images_changed < 0.55
        assert row.low <= 0.5 * row.images_changed <= row.high


def test_the_other_direction_swaps_the_columns():
    table = study()
    swapped = table.rename(columns={"mad": "predicted_mad", "true_mad": "mad"})
    weights = image_weights(200, 50, seed=0)
    pd.testing.assert_frame_equal(
        target_table(swapped, ["mad"], weights, 0.95, other="predicted"),
        target_table(table, ["mad"], weights, 0.95, other="true"),
    )


def test_models_that_are_right_have_nothing_to_differ_in():
    table = study().assign(correct=True)
    table.loc[table["aug"] != "reference", "reference_correct"] = True
    table["true_mad"] = table["mad"]
    found = target_table(table, ["mad"], image_weights(200, 50, seed=0), 0.95, other="true")
    assert (found[["images_changed", "difference", "low", "high"]] == 0).all(axis=None)
    np.testing.assert_allclose(found["pearson"], 1)


def test_intervals_cover_a_planted_difference():
    inside = []
    for seed in range(50):
        found = target_table(
            study(seed, images=80, cells=CELLS[1:]), ["mad"], image_weights(80, 60, seed=seed), 0.95, other="true"
        )
        # a difference of 0.5 where one of the two is wrong: 1 − 0.7 · 0.8 of the images
        inside += list((found["low"] <= 0.5 * 0.44) & (found["high"] >= 0.5 * 0.44))
    assert np.mean(inside) >= 0.86  # 50 intervals: the binomial error is 0.03


def test_one_seed_covers_images_alone_and_undefined_is_nan():
    weights = image_weights(200, 50, seed=0)
    one = target_table(study(cells=CELLS[:2]), ["mad"], weights, 0.95, other="true")
    assert set(one["covers"]) == {"images"}
    none = target_table(study().assign(true_mad=np.nan), ["mad"], weights, 0.95, other="true")
    assert none[["predicted", "true", "difference", "low", "high", "pearson"]].isna().all(axis=None)
    assert (none["images"] == 0).all()
    assert (none["images_changed"] > 0).all()


def test_a_study_of_one_target_is_empty_and_says_why():
    table = study().drop(columns="true_mad")
    found = target_table(table, ["mad"], image_weights(200, 5, seed=0), 0.95, other="true")
    assert (list(found.columns), len(found)) == (TARGETS, 0)
    assert found.attrs["why"] == "the table has no metric under the true target; explain both targets"
    with pytest.raises(ValueError, match=r"^other: expected predicted or true, got label; pass the prefix"):
        target_table(table, ["mad"], image_weights(200, 5, seed=0), 0.95, other="label")
