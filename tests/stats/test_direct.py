"""All pairs of models compared directly: means over blocks, intervals, the reference taken out."""

from __future__ import annotations

import numpy as np
import pytest

from auglens.stats import Cells, direct_table, image_means, image_weights, packed, without_reference
from auglens.stats.permutations import self_resemblance


def cells(*augs: str) -> Cells:
    names = tuple(dict.fromkeys(augs))
    places = np.array([names.index(aug) for aug in augs])
    return Cells(names, places, np.arange(len(augs)), np.arange(40), {})


def distances(generator: np.random.Generator, models: int, images: int) -> np.ndarray:
    values = generator.random((models, models, images))
    values = (values + values.transpose(1, 0, 2)) / 2
    values[np.arange(models), np.arange(models)] = 0
    return values


def test_means_over_pairs_of_models_by_hand() -> None:
    study = cells("reference", "affine", "affine", "noise")
    values = distances(np.random.default_rng(0), 4, 40)
    table = direct_table(study, {"mad": packed(values)}, image_weights(40, 100, seed=0), 0.95)
    rows = table.set_index(["aug_a", "aug_b"])
    means = values.mean(2)
    assert rows.loc[("reference", "affine"), "mean"] == pytest.approx(means[0, 1:3].mean())
    assert rows.loc[("affine", "affine"), "mean"] == pytest.approx(means[1, 2])
    assert rows.loc[("affine", "noise"), "mean"] == pytest.approx(means[1:3, 3].mean())
    assert np.isnan(rows.loc[("noise", "noise"), "mean"])
    assert rows["model_pairs"].tolist() == [0, 2, 1, 1, 2, 0]
    inside = rows.dropna()
    assert ((inside["low"] < inside["mean"]) & (inside["mean"] < inside["high"])).all()


def test_undefined_images_are_left_out_of_a_pair() -> None:
    values = distances(np.random.default_rng(1), 2, 10)
    values[0, 1, 3] = values[1, 0, 3] = np.nan
    once = np.ones((1, 10), dtype=np.int32)
    assert image_means(packed(values), once)[0, 0, 1] == pytest.approx(np.nanmean(values[0, 1]))


def test_the_reference_is_taken_out_of_cells_and_matrices() -> None:
    study = cells("reference", "affine", "affine", "cutmix", "cutmix")
    matrix = np.arange(25.0).reshape(5, 5)
    kept, matrices = without_reference(study, {"mad": matrix})
    assert kept.augs == ("affine", "cutmix")
    assert kept.aug.tolist() == [0, 0, 1, 1]
    assert (matrices["mad"] == matrix[1:, 1:]).all()


def test_models_of_one_aug_that_look_alike_are_found() -> None:
    study = cells(*(aug for aug in ("affine", "cutmix", "elastic", "equalize") for _ in range(3)))
    same = study.aug[:, None] == study.aug[None]
    generator = np.random.default_rng(2)
    noise = generator.standard_normal((12, 12)) * 0.05
    alike = {"mad": -np.where(same, 0.1, 0.3) + (noise + noise.T) / 2, "none": (noise + noise.T) / 2}
    rows = self_resemblance(study, alike, permutations=499, seed=0).set_index("metric")
    assert rows.loc["mad", "p"] <= 0.01
    assert rows.loc["mad", "difference"] == pytest.approx(0.2, abs=0.05)
    assert rows.loc["none", "p"] > 0.05
