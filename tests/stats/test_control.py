"""Every aug against the control with as many steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from auglens.stats import against_control

SCORES = ("accuracy", "precision", "recall", "f1")


def performance(values: dict[tuple[str, int], float]) -> pd.DataFrame:
    rows = [{"aug": aug, "seed": seed, "images": 9} | dict.fromkeys(SCORES, value)
            for (aug, seed), value in values.items()]  # fmt: skip
    return pd.DataFrame(rows)


VALUES = {
    ("reference", 0): 0.5, ("identity", 1): 0.5, ("identity", 2): 0.6, ("identity", 3): 0.7,
    ("ada", 1): 0.6, ("ada", 2): 0.65, ("ada", 3): 0.9, ("blur", 1): 0.4, ("reseed", 1): 0.3, ("reseed", 2): 0.2,
}  # fmt: skip
EXPLAINED = pd.DataFrame(
    [(aug, seed, "gradcam", "iou_area", value + 0.1, 5, 0) for (aug, seed), value in VALUES.items()],
    columns=["aug", "seed", "method", "score", "mean", "images", "undefined"],
)


def test_differences_are_paired_by_seed_and_have_students_interval() -> None:
    table = against_control(performance(VALUES), EXPLAINED).set_index(["aug", "score", "method"])
    paired = np.array([0.1, 0.05, 0.2])
    low, high = scipy_stats.t.interval(0.95, 2, paired.mean(), scipy_stats.sem(paired))
    for score, method in (("accuracy", "performance"), ("f1", "performance"), ("iou_area", "gradcam")):
        row = table.loc[("ada", score, method)]
        assert row["difference"] == pytest.approx(paired.mean())
        assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
        assert (row["models"], row["against_models"]) == (3, 3)
    blur = table.loc[("blur", "accuracy", "performance")]
    assert blur["difference"] == pytest.approx(0.4 - 0.6)
    assert np.isnan(blur["low"])
    assert blur["models"] == 1
    assert set(table.index.get_level_values("aug")) == {"ada", "blur"}  # the reference makes half as many steps


def test_neither_the_order_of_rows_nor_an_undefined_value_changes_anything() -> None:
    table = against_control(performance(VALUES), EXPLAINED)
    other = against_control(performance(VALUES).sample(frac=1, random_state=1), EXPLAINED.iloc[::-1])
    keys = ["aug", "score", "method"]
    pd.testing.assert_frame_equal(
        table.sort_values(keys, ignore_index=True), other.sort_values(keys, ignore_index=True)
    )
    missing = performance(VALUES | {("ada", 4): np.nan})
    pd.testing.assert_frame_equal(against_control(missing, EXPLAINED), table)


def test_without_the_control_there_is_nothing_to_say() -> None:
    few = {key: value for key, value in VALUES.items() if key[0] != "identity"}
    assert len(against_control(performance(few), EXPLAINED[EXPLAINED["aug"] != "identity"])) == 0
    assert len(against_control(performance(VALUES), EXPLAINED.iloc[:0])) == 2 * 4
