from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from auglens.stats import average_seeds, correlation_counts, correlation_map

AUGS = ("identity", "cutmix", "affine", "elastic")


def study(rng: np.random.Generator, images: int = 60, seeds: int = 3, missing: float = 0.0) -> pd.DataFrame:
    common = rng.normal(size=images)
    cells = [(aug, seed) for aug in AUGS for seed in range(seeds)]
    frames = [
        pd.DataFrame({"aug": aug, "seed": seed, "image": range(images), "mad": common + rng.normal(size=images)})
        for aug, seed in cells
    ]
    reference = pd.DataFrame({"aug": "reference", "seed": 0, "image": range(images), "mad": np.nan})
    table = pd.concat([reference, *frames], ignore_index=True)
    table.loc[rng.random(len(table)) < missing, "mad"] = np.nan
    return table


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_equals_scipy_pair_by_pair_and_pandas(missing):
    table = study(np.random.default_rng(0), missing=missing)
    found, counts = correlation_map(table, "mad"), correlation_counts(table, "mad")
    assert list(found.index) == list(found.columns) == list(AUGS)  # table order, controls in, reference out
    means = table.groupby(["image", "aug"])["mad"].mean().unstack()[list(AUGS)]
    for a in AUGS:
        for b in AUGS:
            both = means[[a, b]].dropna().to_numpy() if a != b else means[[a]].dropna().to_numpy()[:, [0, 0]]
            assert found.loc[a, b] == pytest.approx(stats.pearsonr(both[:, 0], both[:, 1]).statistic, abs=1e-12)
            assert counts.loc[a, b] == len(both)
    np.testing.assert_allclose(found, means.corr(), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)
    if missing:
        assert counts.to_numpy().min() < 60


def test_by_hand():
    table = pd.DataFrame(
        {
            "aug": ["a"] * 4 + ["b"] * 4,
            "image": [0, 1, 2, 3] * 2,
            "mad": [0.0, 1.0, 2.0, np.inf, 0.0, 2.0, 1.0, 5.0],
        }
    )
    # without image 3: deviations −1 0 1 and −1 1 0
    assert correlation_map(table, "mad").loc["a", "b"] == pytest.approx(0.5, abs=1e-15)
    assert correlation_counts(table, "mad").to_numpy().tolist() == [[3, 3], [3, 4]]


def test_seed_means_are_what_is_correlated():
    table = study(np.random.default_rng(1), missing=0.2)
    averaged = average_seeds(table, ["mad"])
    pd.testing.assert_frame_equal(correlation_map(table, "mad"), correlation_map(averaged, "mad"))
    single = correlation_map(table[table["seed"] == 0], "mad").loc["cutmix", "affine"]
    assert correlation_map(table, "mad").loc["cutmix", "affine"] > single  # averaging takes noise away


def test_undefined_is_nan_and_nothing_else_is():
    table = study(np.random.default_rng(2), images=10, seeds=1)
    table.loc[table["aug"] == "cutmix", "mad"] = 0.1
    table.loc[(table["aug"] == "elastic") & (table["image"] > 1), "mad"] = np.nan
    found = correlation_map(table, "mad")
    undefined = [[False, True, False, True], [True] * 4, [False, True, False, True], [True] * 4]
    np.testing.assert_array_equal(np.isnan(found), undefined)
    assert correlation_counts(table, "mad").loc["affine", "elastic"] == 2


def test_order_of_images_and_units_do_not_matter():
    table = study(np.random.default_rng(3))
    expected = correlation_map(table, "mad")
    scaled = table.assign(mad=1e6 + 1e-3 * table["mad"])
    np.testing.assert_allclose(correlation_map(scaled, "mad"), expected, rtol=0, atol=1e-6)
    relabelled = table.assign(image=(table["image"] * 7) % 60)
    np.testing.assert_allclose(correlation_map(relabelled, "mad"), expected, rtol=0, atol=1e-12)
