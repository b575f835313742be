from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from auglens.stats.bias import BIAS, bias_table, centre_map, class_maps, mean_map, r_squared, usable
from auglens.stats.cells import Cells
from auglens.stats.resampling import image_weights


def cells(values: dict[str, np.ndarray], augs: tuple[str, ...], aug: list[int]) -> Cells:
    images = next(iter(values.values())).shape[1]
    return Cells(augs, np.array(aug), np.arange(len(aug)), np.arange(images), values)


def test_mean_map_by_hand_leaves_out_what_says_nothing():
    maps = np.zeros((5, 1, 2), dtype=np.float32)
    maps[:, 0] = [[0, 1], [1, 0.5], [np.nan, 1], [1, 1], [0, np.inf]]
    mean, used = mean_map(maps)
    np.testing.assert_array_equal(mean, [[0.5, 0.75]])
    assert (used, mean.dtype) == (2, np.float64)
    assert usable(maps).tolist() == [True, True, False, False, False]
    nothing, none = mean_map(maps[2:])
    assert np.isnan(nothing).all()
    assert none == 0


def test_class_maps_are_the_mean_map_of_each_class():
    rng = np.random.default_rng(0)
    maps, labels = rng.random((40, 3, 4)).astype(np.float32), rng.integers(0, 3, 40)
    maps[0] = 0
    found, numbers = class_maps(maps, labels, 4)
    for c in range(3):
        rows = (labels == c) & (np.arange(40) > 0)
        np.testing.assert_allclose(found[c], maps[rows].astype(np.float64).mean(0), atol=1e-15)
        assert numbers[c] == rows.sum()
    assert np.isnan(found[3]).all()  # a class without an image
    assert numbers.tolist()[3] == 0


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 8), (4, 9), (1, 3)])
def test_centre_map_is_a_symmetric_gaussian(height, width):
    found = centre_map(height, width)
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    density = stats.norm(scale=height / 4).pdf(y) * stats.norm(scale=width / 4).pdf(x)
    expected = (density - density.min()) / (density.max() - density.min())
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-15)
    assert (found.min(), found.max()) == (0, 1)


def test_a_centre_map_without_a_centre_is_refused():
    message = r"centre_map: expected a side of 3 pixels or more, got 2×2; take a layer with larger maps"
    with pytest.raises(ValueError, match=f"^{message}$"):
        centre_map(2, 2)


def test_r_squared_equals_a_weighted_regression():
    rng = np.random.default_rng(1)
    x = 1e4 + rng.normal(size=50)
    y = 3 * (x - 1e4) + 2 * rng.normal(size=50) - 7e3
    x[4] = np.nan
    y[9] = np.inf
    weights = np.vstack([np.ones((1, 50), dtype=np.int32), image_weights(50, 10, seed=0)])
    found = r_squared(x, y, weights)
    both = np.isfinite(x) & np.isfinite(y)
    for value, weight in zip(found, weights[:, both], strict=True):
        model = LinearRegression().fit(x[both, None], y[both], sample_weight=weight)
        expected = model.score(x[both, None], y[both], sample_weight=weight)
        assert value == pytest.approx(expected, abs=1e-9)
    assert found[0] == pytest.approx(stats.pearsonr(x[both], y[both]).statistic ** 2, abs=1e-10)


def test_r_squared_is_nan_where_it_is_undefined():
    weights = np.array([[1, 1, 1], [3, 0, 0]])
    x, y = np.array([1.0, 2.0, 4.0]), np.array([3.0, 1.0, 1.0])
    found = r_squared(x, y, weights)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])  # one image drawn three times
    for a, b in ((x, np.ones(3)), (np.ones(3), y), (np.array([1.0, 2.0, np.nan]), y)):
        assert np.isnan(r_squared(a, b, weights)).all()


def test_table_finds_planted_shares():
    rng = np.random.default_rng(2)
    fixed = rng.normal(size=2000)
    rows = [np.sqrt(share) * fixed + np.sqrt(1 - share) * rng.normal(size=2000) for share in (0.5, 0.5, 0.0, 0.9)]
    values = {"mad": np.stack(rows), "class_kld": np.zeros((4, 2000))}
    values["mad"][0, 7] = np.nan
    made = cells(values, ("affine", "noise", "reseed"), [0, 0, 1, 2])
    weights = image_weights(2000, 200, seed=0)
    found = bias_table(made, {"mad": fixed}, {"mad": fixed + 2}, weights, 0.95)
    assert list(found.columns) == BIAS
    assert found["aug"].tolist() == ["affine", "noise", "reseed"]  # controls too; class_kld has no fixed map
    truth = np.array([0.5, 0.0, 0.9])
    assert (found["explained_low"] <= truth).all()
    assert (found["explained_high"] >= truth).all()
    np.testing.assert_allclose(found["explained"], truth, atol=0.04)
    np.testing.assert_allclose(found["mean_map"], fixed.mean())
    np.testing.assert_allclose(found["centre"], fixed.mean() + 2)
    both = np.nanmean(values["mad"][:2], axis=0)
    assert found.loc[0, "mean"] == pytest.approx(both.mean(), abs=1e-12)
    assert found["seeds"].tolist() == [2, 1, 1]
    assert found.loc[0, "images"] == 1999.5
    assert found["covers"].tolist() == ["images and seeds", "images and seeds", "images"]


def test_table_with_an_undefined_metric_is_nan():
    made = cells({"mad": np.full((1, 30), np.nan)}, ("affine",), [0])
    weights = image_weights(30, 20, seed=0)
    found = bias_table(made, {"mad": np.arange(30.0)}, {"mad": np.full(30, np.nan)}, weights, 0.95)
    assert found[["mean", "centre", "explained", "explained_low", "explained_high"]].isna().all(axis=None)
    assert found["mean_map"].tolist() == [14.5]
    assert found["images"].tolist() == [0]


def test_values_of_other_images_are_refused():
    made = cells({"mad": np.zeros((1, 30))}, ("affine",), [0])
    message = r"centre\['mad'\]: expected one value for each of 30 images, got \[29\]; compute it on the images"
    with pytest.raises(ValueError, match=f"^{message}"):
        bias_table(made, {"mad": np.zeros(30)}, {"mad": np.zeros(29)}, image_weights(30, 5, seed=0), 0.95)
