from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from auglens.stats.divergence import (
    AT_ONCE,
    DIVERGENCE,
    LEAST_EVENTS,
    auc,
    divergence_augs,
    divergence_points,
    divergence_table,
    rank_correlation,
    spread_of_models,
    weight_blocks,
)
from auglens.stats.resampling import image_weights

CLOSER = {"mad": False, "pearson": True}
CELLS = (("identity", 1), ("affine", 1), ("affine", 2), ("affine", 3), ("cutmix", 1), ("cutmix", 2), ("cutmix", 3))


def study(seed: int = 0, images: int = 300, signal: float = 1.0, cells: tuple = CELLS) -> pd.DataFrame:
    """Where correctness changes, mad is `signal` higher and pearson as much lower."""
    rng = np.random.default_rng(seed)
    before = rng.random(images) < 0.6
    reference = {
        "aug": "reference",
        "seed": 0,
        "image": range(images),
        "correct": before,
        "reference_correct": pd.NA,
    }
    frames = [pd.DataFrame({**reference, "mad": np.nan, "pearson": np.nan})]
    for aug, number in cells:
        changed = rng.random(images) < 0.3
        mad = rng.normal(size=images) + signal * changed
        values = {
            "correct": before ^ changed,
            "reference_correct": before,
            "mad": mad,
            "pearson": -np.round(mad, 1),
        }
        frames.append(pd.DataFrame({"aug": aug, "seed": number, "image": range(images), **values}))
    return pd.concat(frames, ignore_index=True)


def both_sides(events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(events), np.flatnonzero(~events)


def test_auc_by_hand():
    values, events = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True])
    # pairs: 2>1, 2=2, 3>1, 3>2; then the last image twice: 2>1, 2=2, 2·(3>1), 2·(3>2)
    blocks = weight_blocks(np.array([[1, 1, 1, 2], [0, 1, 0, 1]], dtype=np.int32), 4)
    np.testing.assert_allclose(auc(values, *both_sides(events), blocks), [3.5 / 4, 5.5 / 6, np.nan], atol=1e-15)
    assert np.isnan(auc(values, *both_sides(np.zeros(4, dtype=bool)), blocks)).all()  # no event


@pytest.mark.parametrize("decimals", [1, 8])
def test_auc_equals_scikit_learn_and_scipy(decimals):
    rng = np.random.default_rng(1)
    values, events = np.round(rng.normal(size=200), decimals), rng.random(200) < 0.2
    weights = image_weights(200, AT_ONCE + 10, seed=3)  # more than one block
    found = auc(values, *both_sides(events), weight_blocks(weights, 200))
    u = stats.mannwhitneyu(values[events], values[~events]).statistic
    assert found[0] == pytest.approx(u / (events.sum() * (~events).sum()), abs=1e-12)
    chosen = [0, 1, AT_ONCE - 2, AT_ONCE - 1, AT_ONCE, AT_ONCE + 9]  # draws on both sides of the blocks' border
    expected = [roc_auc_score(events, values, sample_weight=weights[row]) for row in chosen]
    assert len(found) == 1 + len(weights)
    np.testing.assert_allclose(found[1:][chosen], expected, rtol=0, atol=1e-12)


def test_every_question_equals_scikit_learn_model_by_model():
    table = study()
    table.loc[table.index % 17 == 0, "mad"] = np.nan
    table.loc[table.index % 29 == 0, "mad"] = np.inf
    found = divergence_table(table, ["mad", "pearson"], image_weights(300, 50, seed=0), 0.95, CLOSER)
    assert list(found.columns) == DIVERGENCE
    assert list(found["aug"].unique()) == ["identity", "affine", "cutmix"]
    for row in found.itertuples():
        aucs, images, events, undefined = [], [], [], []
        for _, cell in table[table["aug"] == row.aug].groupby("seed"):
            before, now = cell["reference_correct"].astype(bool), cell["correct"].astype(bool)
            asked = {"changed": before | True, "lost": before, "gained": ~before}[row.question]
            kept = cell[asked & np.isfinite(cell[row.metric])]
            event = (before != now)[kept.index]
            aucs.append(roc_auc_score(event, kept[row.metric] * (-1 if CLOSER[row.metric] else 1)))
            images.append(len(kept))
            events.append(event.sum())
            undefined.append(asked.sum() - len(kept))
        assert row.auc == pytest.approx(np.mean(aucs), abs=1e-12)
        counts = (np.mean(images), np.mean(events), np.mean(undefined), len(aucs))
        assert (row.images, row.events, row.undefined, row.seeds) == pytest.approx(counts)
    assert (found["auc"] > 0.65).all()  # for the similarity too: further moved, not more alike
    assert ((found["low"] < found["auc"]) & (found["auc"] < found["high"])).all()


def test_without_events_or_with_few_there_is_no_interval():
    table = study(images=40)
    same = table["aug"] != "reference"
    table.loc[same, "correct"] = table.loc[same, "reference_correct"]
    weights = image_weights(40, 50, seed=0)
    found = divergence_table(table, ["mad"], weights, 0.95, CLOSER)
    assert found[["auc", "low", "high"]].isna().all(axis=None)
    assert (found["events"] == 0).all()
    assert (found["seeds"] == 0).all()
    first = table.index[same][: LEAST_EVENTS - 1]
    table.loc[first, "correct"] = ~table.loc[first, "correct"].astype(bool)
    found = divergence_table(table, ["mad"], weights, 0.95, CLOSER).set_index(["aug", "question"])
    few = found.loc[("identity", "changed")]
    assert np.isfinite(few["auc"])
    assert np.isnan(few["low"])
    assert np.isnan(few["high"])


def test_one_seed_covers_images_alone():
    weights = image_weights(300, 200, seed=0)
    one = divergence_table(study(cells=(("affine", 1),)), ["mad"], weights, 0.95, CLOSER)
    assert set(one["covers"]) == {"images"}
    several = divergence_table(study(), ["mad"], weights, 0.95, CLOSER)
    assert set(several["covers"]) == {"images and seeds"}


def test_intervals_cover_chance_where_there_is_nothing():
    inside = []
    for seed in range(60):
        table = study(seed, images=150, signal=0.0, cells=CELLS[1:])
        found = divergence_table(table, ["mad"], image_weights(150, 100, seed=seed), 0.95, CLOSER)
        found = found[found["question"] == "changed"]
        inside += list((found["low"] <= 0.5) & (found["high"] >= 0.5))
    assert 0.9 <= np.mean(inside) <= 1  # 120 intervals: the binomial error is 0.02


def test_models_of_an_aug_are_averaged_and_reseed_is_not_pooled():
    augs, aug = ("affine", "reseed", "equalize"), np.array([0, 0, 1, 1, 1, 2])
    whole = np.array([0.5, 0.7, 0.9, np.nan, 0.5, 0.6])
    found = spread_of_models(augs, aug, whole, whole + np.zeros((4, 6)), 100)
    np.testing.assert_allclose(found.estimate, [0.6, 0.7, 0.6], atol=1e-15)
    assert found.replicates.tolist() == [2, 2, 1]
    # s² = 0.02 and 0.08, of a mean of two; equalize, with one model, has affine's spread
    np.testing.assert_allclose(found.variance, [0.01, 0.04, 0.02], atol=1e-12)


def test_wrong_weights_are_refused():
    message = r"weights: expected \[draws, 300 images\], got \[5, 20\]; pass image_weights\(300, …\)"
    with pytest.raises(ValueError, match=f"^{message}$"):
        divergence_table(study(), ["mad"], image_weights(20, 5, seed=0), 0.95, CLOSER)


@pytest.mark.parametrize("n", [4, 6])
@pytest.mark.parametrize("tied", [False, True])
def test_exact_permutation_equals_scipy(n, tied):
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(size=n)
    if tied:
        a, b = np.round(a), np.round(b)

    def statistic(x):
        return stats.spearmanr(x, b).statistic

    rho, p = rank_correlation(a, b, permutations=99, seed=0)
    assert rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    exact = stats.permutation_test((a,), statistic, permutation_type="pairings", n_resamples=np.inf)
    x = np.abs(exact.null_distribution)
    assert p == pytest.approx((x >= abs(rho) - 1e-12).mean(), abs=1e-12)


def test_many_augs_draw_permutations_by_their_seed():
    rng = np.random.default_rng(4)
    a = rng.normal(size=12)
    b = a + rng.normal(size=12)
    rho, p = rank_correlation(a, b, permutations=4999, seed=0)
    assert p == pytest.approx(stats.spearmanr(a, b).pvalue, abs=0.02)
    assert rank_correlation(a, b, permutations=4999, seed=0) == (rho, p)
    assert rank_correlation(a, b, permutations=4999, seed=1)[1] != p


def test_augs_by_hand():
    shift = {"affine": 0.0, "cutmix": 1.0, "elastic": 2.0, "identity": 9.0}
    table = study(cells=tuple((aug, 1) for aug in shift))
    for place, (aug, by) in enumerate(shift.items()):
        rows = table.index[table["aug"] == aug]
        table.loc[rows, "mad"] = by
        table.loc[rows, "pearson"] = -by
        table.loc[rows, "correct"] = table.loc[rows, "reference_correct"]
        table.loc[rows[:30], "reference_correct"] = True
        table.loc[rows[:30], "correct"] = np.arange(30) >= 3 * place  # the accuracy falls by 3 in 300 a step
    points = divergence_points(table, ["mad", "pearson"], CLOSER)
    np.testing.assert_allclose(points["moved"], np.repeat(list(shift.values()), 2))
    np.testing.assert_allclose(points["accuracy_change"], np.repeat([0, -0.01, -0.02, -0.03], 2), atol=1e-15)
    found = divergence_augs(points, permutations=99, seed=0)
    assert found["metric"].tolist() == ["mad", "pearson"]
    assert found["augs"].tolist() == [3, 3]  # the control is left out
    np.testing.assert_allclose(found["spearman"], -1)
    np.testing.assert_allclose(found["p"], 2 / 6)  # of six orders, two are as extreme
    np.testing.assert_allclose(found["p_holm"], 2 / 3)
    two = divergence_augs(points[points["aug"] != "elastic"], permutations=99, seed=0)
    assert two[["spearman", "p", "p_holm"]].isna().all(axis=None)
    assert two["augs"].tolist() == [2, 2]


def test_an_undefined_metric_warns_nobody_and_is_nan():
    table = study(images=30).assign(mad=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = divergence_table(table, ["mad"], image_weights(30, 5, seed=0), 0.95, CLOSER)
        points = divergence_points(table, ["mad"], CLOSER)
        augs = divergence_augs(points, permutations=9, seed=0)
    assert found["auc"].isna().all()
    assert (found.loc[found["question"] == "changed", "undefined"] == 30).all()
    assert points["moved"].isna().all()
    assert augs["augs"].tolist() == [0]
