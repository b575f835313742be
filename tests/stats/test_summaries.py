from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auglens.metrics import classification_scores
from auglens.stats import describe, extremes, metric_summary, performance, performance_summary


def averaged(values: dict[str, list[float]], seeds: int = 3) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"aug": aug, "image": range(len(mad)), "mad": mad, "mad_seeds": np.isfinite(mad) * seeds})
        for aug, mad in values.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_describe_equals_pandas_and_leaves_out_what_is_not_finite():
    values = np.random.default_rng(0).normal(size=31)
    oracle = pd.Series(values)
    found = describe([*values, np.nan, np.inf])
    assert found["n"] == 31
    assert found["mean"] == pytest.approx(oracle.mean(), abs=1e-14)
    assert found["sd"] == pytest.approx(oracle.std(), abs=1e-14)
    assert found["q25"] == pytest.approx(oracle.quantile(0.25), abs=1e-14)
    assert found["median"] == oracle.median()
    assert found["q75"] == pytest.approx(oracle.quantile(0.75), abs=1e-14)
    assert np.isnan(describe([0.5])["sd"])
    nothing = describe([np.nan])
    assert nothing.pop("n") == 0
    assert np.isnan(list(nothing.values())).all()


def test_metric_summary_says_how_many_images_and_seeds():
    table = averaged({"affine": [0.1, 0.3, np.nan], "noise": [np.nan, np.nan, np.nan]})
    table.loc[0, "mad_seeds"] = 1
    affine, noise = metric_summary(table).to_dict("records")
    assert (affine["n"], affine["seeds_min"], affine["seeds_max"]) == (2, 1, 3)
    assert affine["mean"] == pytest.approx(0.2)
    assert (noise["n"], noise["seeds_min"], noise["seeds_max"]) == (0, 0, 0)
    assert np.isnan(noise["mean"])


def test_performance_per_cell_and_over_seeds():
    rng = np.random.default_rng(1)
    cells = [("reference", 0), ("affine", 0), ("affine", 4)]
    table = pd.concat(
        pd.DataFrame(
            {
                "aug": aug, "seed": seed, "image": range(50),
                "label": rng.integers(0, 3, 50).astype(np.int16),
                "predicted": rng.integers(0, 3, 50).astype(np.int16),
            }
        )
        for aug, seed in cells
    )  # fmt: skip
    found = performance(table, classes=3)
    assert list(zip(found["aug"], found["seed"], strict=True)) == cells
    for (aug, seed), row in zip(cells, found.to_dict("records"), strict=True):
        cell = table[(table["aug"] == aug) & (table["seed"] == seed)]
        expected = classification_scores(cell["label"].to_numpy(), cell["predicted"].to_numpy(), 3)
        assert {name: row[name] for name in expected} == expected
        assert row["images"] == 50
    summary = performance_summary(found).set_index(["aug", "score"])
    two = found.loc[found["aug"] == "affine", "f1"]
    assert summary.loc[("affine", "f1"), "mean"] == pytest.approx(two.mean())
    assert summary.loc[("affine", "f1"), "sd"] == pytest.approx(abs(two.iloc[0] - two.iloc[1]) / np.sqrt(2))
    assert summary.loc[("affine", "f1"), ["min", "max"]].tolist() == sorted(two)
    assert summary["replicates"].tolist() == [1] * 4 + [2] * 4
    assert np.isnan(summary.loc[("reference", "accuracy"), "sd"])


def test_extremes_over_the_augs_without_controls():
    table = averaged(
        {
            "affine": [0.1, 0.5, 0.9, 0.9, 0.0],
            "elastic": [0.1, 0.6, 0.1, np.nan, 0.0],
            "reseed": [0.9, 0.0, 0.0, 0.9, 9.0],
        }
    )
    # image 3 is not finite for every aug, image 4 is extreme for a control only
    assert extremes(table, "mad") == {"highest_mean": 1, "highest_std": 2}


def test_extremes_where_there_are_none():
    assert extremes(averaged({"affine": [0.2, 0.4]}), "mad") == {"highest_mean": 1, "highest_std": None}
    assert extremes(averaged({"noise": [0.2]}), "mad") == {"highest_mean": None, "highest_std": None}
    tie = averaged({"affine": [0.2, 0.4, 0.4], "cutmix": [0.2, 0.0, 0.0]})
    assert extremes(tie, "mad") == {"highest_mean": 0, "highest_std": 1}  # the lowest index wins
