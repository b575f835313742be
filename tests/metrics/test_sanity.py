"""The table of a sanity check: by hand, against scipy, and what has no correlation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from auglens.metrics import sanity_check
from auglens.saliency.finishing import finish


def maps(seed, count=9, size=12):
    return finish(np.random.default_rng(seed).random((count, 5, 5)), size)


def test_by_hand():
    before = np.arange(6.0).reshape(1, 2, 3).repeat(3, 0)
    after = before.copy()
    after[1] = 5 - before[1]
    after[2, 0, :2] = [1, 0]  # two ranks swapped: 1 − 6 · 2 / (6 · 35)
    first, second = sanity_check(
        [(None, 0.0, {"a": before}), ("head", 0.1, {"a": before}), ("stem", 1.0, {"a": after})]
    )
    assert first == {
        "method": "a",
        "step": 1,
        "layer": "head",
        "fraction_randomised": 0.1,
        "spearman_mean": pytest.approx(1),
        "spearman_median": pytest.approx(1),
        "ssim_mean": pytest.approx(np.nan, nan_ok=True),  # below its window
        "images": 3,
        "undefined": 0,
    }
    swapped = 1 - 12 / 210
    assert second["spearman_mean"] == pytest.approx((1 - 1 + swapped) / 3)
    assert second["spearman_median"] == pytest.approx(swapped)
    assert (second["step"], second["layer"], second["fraction_randomised"]) == (2, "stem", 1.0)


def test_equals_scipy_and_scikit_image():
    levels = [("x", step / 3, {"one": maps(2 * step), "two": maps(2 * step + 1)}) for step in range(4)]
    rows = sanity_check(iter(levels))
    assert [(row["method"], row["step"]) for row in rows] == [(m, s) for m in ("one", "two") for s in (1, 2, 3)]
    for row in rows:
        pairs = list(zip(levels[0][2][row["method"]], levels[row["step"]][2][row["method"]], strict=True))
        expected = [spearmanr(p.ravel(), q.ravel()).statistic for p, q in pairs]
        assert row["spearman_mean"] == pytest.approx(np.mean(expected), abs=1e-9)
        assert row["spearman_median"] == pytest.approx(np.median(expected), abs=1e-9)
        similar = [structural_similarity(p, q, data_range=1) for p, q in pairs]
        assert row["ssim_mean"] == pytest.approx(np.mean(similar), abs=1e-9)


def test_maps_that_say_nothing_are_counted():
    before, after = maps(0), maps(1)
    after[2], before[5], after[7] = 0.0, 0.5, np.nan
    (row,) = sanity_check([(None, 0, {"a": before}), ("head", 1, {"a": after})])
    kept = [0, 1, 3, 4, 6, 8]
    (clean,) = sanity_check([(None, 0, {"a": before[kept]}), ("head", 1, {"a": after[kept]})])
    assert (row["images"], row["undefined"]) == (9, 3)
    assert row["spearman_mean"] == pytest.approx(clean["spearman_mean"], abs=1e-12)
    (none,) = sanity_check([(None, 0, {"a": before}), ("head", 1, {"a": np.zeros_like(before)})])
    assert np.isnan([none["spearman_mean"], none["spearman_median"]]).all()
    assert none["undefined"] == 9


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "levels: expected the original's maps first, got no level; pass those of sanity_maps"),
        (
            [(None, 0, {"a": maps(0)}), ("head", 1, {"b": maps(0)})],
            "levels: expected maps by a, got b at step 1; explain all levels by the same methods",
        ),
    ],
)
def test_refuses(levels, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        sanity_check(levels)
    assert str(error.value) == message
