"""Intervals over images and seeds: parts against oracles, and coverage on planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from tests.stats.planted import AUGS, planted

from auglens.stats.cells import cells_of
from auglens.stats.floor import spread
from auglens.stats.resampling import (
    holm,
    image_weights,
    interval,
    jackknife_variance,
    moderate,
    moderate_augs,
    seed_part,
    weighted_means,
    weighted_medians,
)
from auglens.stats.similarity import correlation_table, covariances, models_table

NAN = float("nan")


def expanded(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts)


def test_weights_are_resamples_of_the_images_that_their_seed_decides() -> None:
    weights = image_weights(50, 200, seed=1)
    assert weights.shape == (200, 50)
    assert (weights.sum(1) == 50).all()
    assert (weights == image_weights(50, 200, seed=1)).all()
    assert (weights != image_weights(50, 200, seed=2)).any()
    assert weights.mean(0) == pytest.approx(1, abs=0.4)


def test_weights_leave_the_global_generator_alone() -> None:
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    image_weights(10, 10, seed=0)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_means_and_medians_are_those_of_the_expanded_sample(ties: bool) -> None:
    generator = np.random.default_rng(0)
    values = generator.standard_normal((3, 21))
    if ties:
        values = values.round()
    values[1, ::4] = NAN
    values[2] = NAN
    weights = image_weights(21, 30, seed=0)
    means, medians = weighted_means(values, weights), weighted_medians(values, weights)
    for row in range(2):
        for draw, counts in enumerate(weights):
            sample = expanded(values[row], counts)
            assert means[draw, row] == pytest.approx(np.nanmean(sample), abs=1e-12)
            assert medians[draw, row] == pytest.approx(np.nanmedian(sample), abs=1e-12)
    assert np.isnan(means[:, 2]).all()
    assert np.isnan(medians[:, 2]).all()


def test_the_jackknife_of_a_mean_is_its_squared_standard_error() -> None:
    values = np.array([1.0, 4.0, 7.0, 12.0])
    left_out = np.array([np.delete(values, n).mean() for n in range(4)])
    assert jackknife_variance(left_out) == pytest.approx(values.var(ddof=1) / 4)
    assert np.isnan(jackknife_variance(np.array([3.0])))


def test_what_resampling_images_adds_to_the_seeds_variance_is_taken_off() -> None:
    left_out = np.array([1.0, 3.0])  # variance of the mean: (3 − 1)² / 4 = 1
    draws = np.array([[1.0, 0.0], [3.0, 4.0]])  # 1 and 4 under two draws: 2.5 on average, 1.5 more
    assert seed_part(left_out, draws) == pytest.approx(1 - 1.5)


def test_moderated_variances_by_hand() -> None:
    variance, freedom = moderate(np.array([1.0, 4.0, NAN]), np.array([2.0, 2.0, 0.0]))
    assert variance == pytest.approx([2.5, 2.5, 2.5])  # 4 + 2 is more than the 4 that there are: pooled
    assert freedom == pytest.approx([4, 4, 4])
    variance, freedom = moderate(np.array([1.0, 4.0, 4.0, NAN]), np.array([2.0, 2.0, 4.0, 0.0]))
    pooled = (1 * 2 + 4 * 2 + 4 * 4) / 8
    assert variance == pytest.approx([(4 * pooled + 2) / 6, (4 * pooled + 8) / 6, (4 * pooled + 16) / 8, pooled])
    assert freedom == pytest.approx([6, 6, 8, 4])
    variance, freedom = moderate(np.array([NAN, NAN]), np.array([0.0, 0.0]))
    assert np.isnan(variance).all()
    assert (freedom == 0).all()


def test_reseed_is_not_pooled_with_the_others() -> None:
    variance, freedom = moderate_augs(np.array([1.0, 1.0, 100.0]), np.array([3, 3, 3]), ["a", "b", "reseed"])
    assert variance == pytest.approx([1 / 3, 1 / 3, 100 / 3])
    assert freedom == pytest.approx([4, 4, 2])


def test_interval_is_students_t_where_the_images_spread_nothing() -> None:
    values = np.array([2.0, 3.0, 7.0])
    draws = np.full((10, 1), values.mean())
    squared = np.array([values.var(ddof=1) / 3])
    low, high = interval(np.array([values.mean()]), draws, squared, np.array([2.0]), 0.95)
    expected = scipy_stats.t.interval(0.95, 2, values.mean(), scipy_stats.sem(values))
    assert (low[0], high[0]) == pytest.approx(expected)


def test_interval_without_seeds_covers_the_images_and_nothing_gives_nan() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 2))
    draws[:, 1] = NAN
    low, high = interval(np.array([0.0, NAN]), draws, np.array([NAN, NAN]), np.array([0.0, 0.0]), 0.95, 10**6)
    assert high[0] == pytest.approx(1.96, abs=0.06)
    assert low[0] == -high[0]
    assert np.isnan([low[1], high[1]]).all()


def test_holm_against_a_case_by_hand() -> None:
    assert holm([0.01, NAN, 0.04, 0.03, 0.005]) == pytest.approx([0.03, NAN, 0.06, 0.06, 0.02], nan_ok=True)
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert holm([]).shape == (0,)


# Coverage: nominal 95 %, 500 seeded studies. Bounds are the 90–97 %, on the mean over augs.
STUDIES = 500
CONTROLLED = (*AUGS, "identity", "noise", "reseed")
SPREADS = {
    "equal": dict.fromkeys(CONTROLLED, 0.3),
    "unequal": {aug: 0.15 * 4 ** (n / 9) for n, aug in enumerate(CONTROLLED)},
}


@pytest.mark.parametrize("spreads", SPREADS)
def test_intervals_of_means_and_medians_cover(spreads: str) -> None:
    covered = np.zeros((2, STUDIES, len(CONTROLLED)))
    for n in range(STUDIES):
        table = planted(seed=n, metrics=("mad",), images=60, replicates={"equalize": 1}, seed_sd=SPREADS[spreads])
        cells, weights = cells_of(table, ["mad"]), image_weights(60, 200, seed=n)
        for place, median in enumerate((False, True)):
            low, high = spread(cells, "mad", weights, median=median).interval(0.95)
            covered[place, n] = (low <= 0) & (high >= 0)
    assert ((covered.mean((1, 2)) >= 0.90) & (covered.mean((1, 2)) <= 0.97)).all(), covered.mean((1, 2))
    assert covered.mean(1).min() >= (0.90 if spreads == "equal" else 0.85)


def test_a_bootstrap_of_three_seeds_alone_would_not_cover() -> None:
    """Why seeds are not simply resampled: the percentile interval of a hierarchical bootstrap falls far short."""
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(STUDIES):
        values = generator.standard_normal(3)
        resampled = values[generator.integers(0, 3, (400, 3))].mean(1)
        low, high = np.percentile(resampled, [2.5, 97.5])
        covered.append(low <= 0 <= high)
    assert np.mean(covered) < 0.85


def test_intervals_of_correlations_cover() -> None:
    augs = ("affine", "cutmix", "elastic", "noise")
    shared, own = 1.0, 0.64  # variance that the image gives to every model, and to those of the cluster
    expected = {
        ("affine", "elastic"): ((shared + own) / (shared + own + 1 / 3), (shared + own) / (shared + own + 1)),
        ("affine", "cutmix"): (
            shared / np.sqrt((shared + own + 1 / 3) * (shared + 1 / 3)),
            shared / np.sqrt((shared + own + 1) * (shared + 1)),
        ),
        ("affine", "affine"): (1.0, (shared + own) / (shared + own + 1)),
        ("noise", "noise"): (1.0, shared / (shared + 1)),
    }
    covered = np.zeros((2, STUDIES, len(expected)))
    for n in range(STUDIES):
        table = planted(
            seed=n, augs=augs, metrics=("mad",), images=80, clusters=[("affine", "elastic")], cluster_sd=0.8
        )
        cells = cells_of(table, ["mad"])
        found = covariances(cells, ["mad"], image_weights(80, 200, seed=n))
        of_means = correlation_table(cells, found, 0.95).set_index(["metric", "aug_a", "aug_b"])
        of_models = models_table(cells, found, ["mad"], 0.95).set_index(["metric", "aug_a", "aug_b"])
        for at, (pair, truths) in enumerate(expected.items()):
            for place, (rows, truth) in enumerate(zip((of_means, of_models), truths, strict=True)):
                row = rows.loc[("mad", *pair)]
                covered[place, n, at] = row["low"] <= truth <= row["high"]
    different = covered[0, :, :2].mean(0)
    assert ((different >= 0.90) & (different <= 0.97)).all(), different
    assert (covered[0, :, 2:] == 1).all()  # an aug's seed mean correlates with itself at 1, by definition
    single = covered[1].mean(0)
    assert ((single >= 0.90) & (single <= 0.97)).all(), single
