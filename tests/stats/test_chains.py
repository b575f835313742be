from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auglens.stats.cells import Cells
from auglens.stats.chains import CHAINS, chain_table, chains_of, parts_of
from auglens.stats.floor import seed_means
from auglens.stats.resampling import image_weights

CHAIN = "affine+color_jitter"


def study(seed: int, shift: float, images: int = 300, seeds: int = 3, augs: tuple[str, ...] = ()) -> Cells:
    """The chain moves affine's images `shift` further; color_jitter and elastic move others."""
    rng = np.random.default_rng(seed)
    augs = augs or ("identity", "affine", "color_jitter", "elastic", "cutmix", CHAIN)
    image = {aug: rng.normal(size=images) for aug in augs}
    if CHAIN in augs and "affine" in augs:
        image[CHAIN] = image["affine"] + shift
    rows = [image[aug] + 0.5 * rng.normal(size=images) + 0.05 * rng.normal() for aug in augs for _ in range(seeds)]
    aug = np.repeat(np.arange(len(augs)), seeds)
    values = {"mad": np.stack(rows), "pearson": -np.stack(rows)}
    return Cells(augs, aug, np.tile(np.arange(seeds), len(augs)), np.arange(images), values)


def test_chains_and_parts():
    assert parts_of("affine+elastic+affine") == ("affine", "elastic")
    assert parts_of("affine") == ("affine",)
    augs = ("elastic", "affine", "affine+elastic", "equalize+elastic")
    assert chains_of(augs) == {"affine+elastic": ["affine", "elastic"], "equalize+elastic": ["elastic"]}


def test_means_differences_and_correlations_by_definition():
    cells = study(0, 1.0)
    cells.values["mad"][1, :20] = np.nan
    found = chain_table(cells, ["mad", "pearson"], image_weights(300, 200, seed=0), 0.95)
    assert list(found.columns) == CHAINS
    assert found[["part", "metric"]].to_numpy().tolist() == [
        ["affine", "mad"], ["affine", "pearson"], ["color_jitter", "mad"], ["color_jitter", "pearson"],
    ]  # fmt: skip
    for row in found.itertuples():
        means = {aug: seed_means(cells.values[row.metric][cells.members(aug)]) for aug in cells.augs}
        both = np.isfinite(means[CHAIN]) & np.isfinite(means[row.part])
        expected = stats.pearsonr(means[CHAIN][both], means[row.part][both]).statistic
        assert row.correlation == pytest.approx(expected, abs=1e-12)
        strangers = [stats.pearsonr(means[CHAIN], means[aug]).statistic for aug in ("elastic", "cutmix")]
        assert row.others == pytest.approx(np.median(strangers), abs=1e-12)
        assert row.chain_mean == pytest.approx(np.nanmean(means[CHAIN]), abs=1e-12)
        assert row.part_mean == pytest.approx(np.nanmean(means[row.part]), abs=1e-12)
        assert row.difference == pytest.approx(row.chain_mean - row.part_mean, abs=1e-12)
        assert row.low < row.difference < row.high
        assert row.p <= row.p_holm
    affine = found.iloc[0]
    assert affine["low"] <= 1 <= affine["high"]
    assert affine["correlation"] > 0.8 > 0.2 > abs(affine["others"])
    # over the same images: the difference to the part that moves the same ones is the sharper of the two
    assert affine["high"] - affine["low"] < found.iloc[2]["high"] - found.iloc[2]["low"]


def test_a_null_is_claimed_at_the_nominal_rate():
    claims, inside = [], []
    for seed in range(80):
        cells = study(seed, 0.0, images=60, augs=("affine", "cutmix", "elastic", CHAIN))
        found = chain_table(cells, ["mad"], image_weights(60, 60, seed=seed), 0.95)
        claims += list(found["p_holm"] <= 0.05)
        inside += list((found["low"] <= 0) & (found["high"] >= 0))
    assert np.mean(claims) <= 0.1
    assert np.mean(inside) >= 0.88  # 80 intervals: the binomial error is 0.024


def test_with_one_seed_the_interval_covers_images_alone():
    found = chain_table(study(1, 1.0, seeds=1), ["mad"], image_weights(300, 50, seed=0), 0.95)
    assert set(found["covers"]) == {"images"}
    assert found[["p", "p_holm"]].isna().all(axis=None)
    assert np.isfinite(found[["low", "high"]]).all(axis=None)


def test_without_a_chain_or_its_parts_the_table_is_empty_and_says_why():
    weights = image_weights(300, 5, seed=0)
    none = chain_table(study(2, 0.0, augs=("affine", "elastic")), ["mad"], weights, 0.95)
    assert (list(none.columns), len(none)) == (CHAINS, 0)
    assert none.attrs["why"] == "the study has no chain of augs; add a chain and its parts to aug.names"
    partless = chain_table(study(2, 0.0, augs=("elastic", CHAIN)), ["mad"], weights, 0.95)
    assert len(partless) == 0
    assert partless.attrs["why"].startswith(f"the study has none of the parts of {CHAIN}")


def test_undefined_is_nan():
    cells = study(3, 0.0, augs=("affine", CHAIN))
    cells.values["mad"][cells.members("affine")] = 0.5
    found = chain_table(cells, ["mad"], image_weights(300, 20, seed=0), 0.95).iloc[0]
    assert np.isnan(found["correlation"])  # a constant side
    assert np.isnan(found["others"])  # no other aug
    cells.values["mad"][cells.members("affine")] = np.nan
    found = chain_table(cells, ["mad"], image_weights(300, 20, seed=0), 0.95).iloc[0]
    assert found[["part_mean", "difference", "low", "high"]].isna().all()
