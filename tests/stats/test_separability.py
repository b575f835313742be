from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from auglens.stats.divergence import weight_blocks
from auglens.stats.resampling import image_weights
from auglens.stats.separability import (
    SEPARABILITY,
    auc_of_scores,
    features_of,
    folds_of,
    scores,
    separability_table,
)


def maps(rng: np.random.Generator, common: np.ndarray, shift: float = 0.0, factor: float = 1.0) -> np.ndarray:
    """Half of a map is the image's; a model with `shift` looks more at the upper left corner."""
    own = (common + rng.normal(size=common.shape)).astype(np.float32)
    own[:, :2, :2] += shift
    return factor * own


def study(seed: int, images: int, shifts: dict[str, float], seeds: int = 3, side: int = 4):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(images, side, side))
    cells = {(aug, n): maps(rng, common, by) for aug, by in shifts.items() for n in range(1, seeds + 1)}
    return maps(rng, common), cells


def test_scores_equal_a_scikit_learn_pipeline_out_of_fold():
    rng = np.random.default_rng(0)
    reference, other = rng.normal(size=(90, 6)), 3 + 2 * rng.normal(size=(90, 6))
    reference[:, 2] = other[:, 2] = 5.0  # a constant feature
    fold = folds_of(90, 5, seed=1)
    low, high = scores(reference, other, fold)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-10, max_iter=1000))
    both, labels = np.concatenate([reference, other]), np.repeat([0, 1], 90)
    split = PredefinedSplit(np.concatenate([fold, fold]))
    expected = cross_val_predict(model, both, labels, cv=split, method="decision_function")
    np.testing.assert_allclose(np.concatenate([low, high]), expected, rtol=0, atol=1e-4)  # lbfgs stops there


def test_auc_of_scores_equals_scikit_learn_within_folds():
    rng = np.random.default_rng(1)
    fold = folds_of(60, 4, seed=0)
    low, high = np.round(rng.normal(size=60), 1), np.round(rng.normal(size=60) + 1 + fold, 1)
    low[:5] = np.nan
    weights = image_weights(60, 20, seed=0)
    found = auc_of_scores(low, high, fold, weight_blocks(weights, 60))
    for value, weight in zip(found, np.vstack([np.ones((1, 60)), weights]), strict=True):
        won = pairs = 0.0
        for held in range(4):
            rows = (fold == held) & np.isfinite(low)
            both, twice = np.concatenate([low[rows], high[rows]]), np.tile(weight[rows], 2)
            of = weight[rows].sum() ** 2
            won += of * roc_auc_score(np.repeat([0, 1], rows.sum()), both, sample_weight=twice)
            pairs += of
        assert value == pytest.approx(won / pairs, abs=1e-12)


def test_folds_are_even_seeded_and_leave_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fold = folds_of(103, 5, seed=0)
    assert sorted(np.bincount(fold)) == [20, 20, 21, 21, 21]
    np.testing.assert_array_equal(fold, folds_of(103, 5, seed=0))
    assert (fold != folds_of(103, 5, seed=1)).any()
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    message = (
        r"folds: expected 2 to 4 \(9 images, 2 or more in each\), got 5; set analysis.folds or take more images"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        folds_of(9, 5, seed=0)


def test_scaled_features_know_nothing_of_the_range():
    rng = np.random.default_rng(2)
    common = rng.normal(size=(200, 4, 4))
    reference = maps(rng, common)
    cells = {("affine", 1): maps(rng, common, factor=9.0) + 5, ("reseed", 1): reference * 2 + 1}
    found = separability_table(reference, cells, image_weights(200, 50, seed=0), 0.95, folds=5, seed=0)
    found = found.set_index(["aug", "features"])["auc"]
    assert found["affine", "raw"] > 0.9
    assert found["affine", "scaled"] < 0.6
    scaled = features_of(reference, "scaled")
    np.testing.assert_allclose(scaled, features_of(reference * 2 + 1, "scaled"), atol=1e-6)
    assert (scaled.min(), scaled.max()) == (0, 1)
    assert found["reseed", "scaled"] == pytest.approx(0.5, abs=0.02)  # the same maps: nothing to tell apart


def test_maps_of_one_distribution_are_not_told_apart_and_intervals_say_so():
    aucs, inside = [], []
    for seed in range(60):
        reference, cells = study(seed, 200, {"affine": 0.0}, seeds=1, side=8)
        found = separability_table(reference, cells, image_weights(200, 80, seed=seed), 0.95, folds=5, seed=seed)
        aucs += list(found["auc"])
        inside += list((found["low"] <= 0.5) & (found["high"] >= 0.5))
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.02)
    assert np.mean(inside) >= 0.92  # scores resampled as they stand cover 0.875 here: OVERLAP_OF_FOLDS


def test_augs_like_the_floor_are_rarely_claimed_to_differ():
    claims = []
    for seed in range(12):
        reference, cells = study(seed, 60, {"affine": 0.5, "reseed": 0.5}, seeds=2, side=3)
        found = separability_table(reference, cells, image_weights(60, 60, seed=seed), 0.95, folds=4, seed=seed)
        claims += list(found["verdict"][found["aug"] == "affine"] != "within")
    assert np.mean(claims) <= 0.2


def test_planted_differences_get_their_verdict():
    shifts = {"identity": 0.0, "reseed": 1.0, "like": 1.0, "affine": 3.0, "cutmix": 0.0}
    reference, cells = study(0, 300, shifts)
    found = separability_table(reference, cells, image_weights(300, 200, seed=0), 0.95, folds=5, seed=0)
    assert list(found.columns) == SEPARABILITY
    verdicts = found.set_index(["aug", "features"])["verdict"].to_dict()
    for features in ("raw", "scaled"):
        of = {aug: verdicts[aug, features] for aug in shifts}
        expected = {"identity": "below", "reseed": "floor", "like": "within", "affine": "above", "cutmix": "below"}
        assert of == expected
    rows = found[found["features"] == "raw"].set_index("aug")
    assert (rows["floor"] == rows.loc["reseed", "auc"]).all()
    np.testing.assert_allclose(rows["difference"].drop("reseed"), (rows["auc"] - rows["floor"]).drop("reseed"))
    assert (rows["seeds"] == 3).all()
    # one family over the augs, one over the other controls
    p = rows.loc[["like", "affine", "cutmix"], "p"]
    assert rows.loc["affine", "p_holm"] <= 3 * p["affine"] + 1e-15
    assert rows.loc["identity", "p_holm"] == rows.loc["identity", "p"]


def test_without_replicates_or_without_reseed_nothing_is_claimed():
    reference, cells = study(1, 200, {"affine": 3.0, "reseed": 0.0}, seeds=1)
    weights = image_weights(200, 50, seed=0)
    one = separability_table(reference, cells, weights, 0.95, folds=5, seed=0).set_index("aug")
    assert (one.loc["affine", "verdict"] == "cannot be known").all()
    assert (one.loc["affine", "auc"] > 0.9).all()
    assert set(one["covers"]) == {"images"}
    reference, cells = study(1, 200, {"affine": 3.0})
    none = separability_table(reference, cells, weights, 0.95, folds=5, seed=0)
    assert none["floor"].isna().all()
    assert (none["verdict"] == "cannot be known").all()


def test_degenerate_maps_are_left_out_and_counted():
    reference, cells = study(2, 100, {"affine": 0.5, "cutmix": 0.5}, seeds=1)
    reference[:3] = 0.0
    cells["affine", 1][3:10] = 7.0
    cells["affine", 1][50, 0, 0] = np.nan
    cells["cutmix", 1][:] = 0.0
    weights = image_weights(100, 20, seed=0)
    found = separability_table(reference, cells, weights, 0.95, folds=5, seed=0).set_index(["aug", "features"])
    assert found.loc[("affine", "raw"), ["images", "left_out"]].tolist() == [89, 11]
    assert np.isfinite(found.loc[("affine", "raw"), "auc"])
    assert found.loc[("cutmix", "scaled"), ["images", "left_out"]].tolist() == [0, 100]
    assert np.isnan(found.loc[("cutmix", "scaled"), "auc"])


def test_both_maps_of_an_image_share_a_fold_so_that_none_gives_the_other_away():
    rng = np.random.default_rng(3)
    common = 10 * rng.normal(size=(100, 60))  # the models differ by a hair: each map has its double in the other
    reference, other = (common + 0.01 * rng.normal(size=common.shape) for _ in range(2))
    both, labels = np.concatenate([reference, other]), np.repeat([0, 1], 100)
    grouped = np.concatenate(scores(reference, other, folds_of(100, 5, seed=0)))
    assert abs(roc_auc_score(labels, grouped) - 0.5) < 0.05
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0))
    split = StratifiedKFold(5, shuffle=True, random_state=0)
    leaked = cross_val_predict(model, both, labels, cv=split, method="decision_function")
    assert roc_auc_score(labels, leaked) < 0.4  # the double in training carries the other label


def test_maps_of_another_shape_are_refused():
    reference, cells = study(4, 30, {"affine": 0.0}, seeds=1)
    cells["affine", 1] = cells["affine", 1][:20]
    message = r"cells: affine-1 has maps \[20, 4, 4\] against the reference's \[30, 4, 4\]; pass raw maps"
    with pytest.raises(ValueError, match=f"^{message}"):
        separability_table(reference, cells, image_weights(30, 5, seed=0), 0.95, folds=5, seed=0)
    assert separability_table(reference, {}, image_weights(30, 5, seed=0), 0.95, folds=5, seed=0).empty
