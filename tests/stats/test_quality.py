"""How good explanations are, per model and per aug: by hand, against loops over numbers, and invariants."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from auglens.metrics import FAITHFULNESS, FLOORS, LOCALIZATION
from auglens.stats import HIGHER_IS_BETTER, score_table, scores_by_model

NAN = float("nan")


def table(rows: list[tuple[object, ...]], names: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["aug", "seed", "method", "image", *names])


HAND = table(
    [
        ("reference", 0, "gradcam", 0, 0.2, 10.0),
        ("reference", 0, "gradcam", 1, 0.4, NAN),
        ("reference", 0, "ones", 0, 0.1, NAN),
        ("reference", 0, "ones", 1, 0.1, NAN),
        ("noise", 1, "gradcam", 0, 0.5, math.inf),
        ("noise", 1, "gradcam", 1, 0.7, 30.0),
        ("noise", 2, "gradcam", 0, 0.1, 20.0),
        ("noise", 2, "gradcam", 1, -math.inf, 40.0),
    ],
    ("iou_area", "average_drop"),
)


def test_every_score_has_a_direction() -> None:
    assert set(HIGHER_IS_BETTER) == {*LOCALIZATION, *FAITHFULNESS}
    assert [name for name, higher in HIGHER_IS_BETTER.items() if not higher] == ["average_drop", "deletion"]


def test_scores_by_model_by_hand() -> None:
    extra = HAND.assign(label=3, constant=False, mask_share=0.5)  # no scores
    found = scores_by_model(extra)
    assert list(found.columns) == ["aug", "seed", "method", "score", "mean", "images", "undefined"]
    rows = found.set_index(["aug", "seed", "method", "score"])
    assert len(rows) == 8
    expected = {
        ("reference", 0, "gradcam", "iou_area"): (0.3, 2, 0),
        ("reference", 0, "gradcam", "average_drop"): (10.0, 1, 1),
        ("reference", 0, "ones", "iou_area"): (0.1, 2, 0),
        ("reference", 0, "ones", "average_drop"): (NAN, 0, 2),
        ("noise", 1, "gradcam", "iou_area"): (0.6, 2, 0),
        ("noise", 1, "gradcam", "average_drop"): (30.0, 1, 1),
        ("noise", 2, "gradcam", "iou_area"): (0.1, 1, 1),
        ("noise", 2, "gradcam", "average_drop"): (30.0, 2, 0),
    }
    for key, values in expected.items():
        assert tuple(rows.loc[key]) == pytest.approx(values, nan_ok=True), key


def test_score_table_by_hand() -> None:
    found = score_table(scores_by_model(HAND))
    assert list(found.columns) == ["aug", "method", "score", "mean", "sd", "models", "images", "undefined"]
    rows = found.set_index(["aug", "method", "score"])
    expected = {
        ("reference", "gradcam", "iou_area"): (0.3, NAN, 1, 2, 0),
        ("reference", "gradcam", "average_drop"): (10.0, NAN, 1, 1, 1),
        ("reference", "ones", "iou_area"): (0.1, NAN, 1, 2, 0),
        ("reference", "ones", "average_drop"): (NAN, NAN, 0, 0, 2),
        # every model counts alike, however many images it has: (0.6 + 0.1) / 2, and not 1.3 / 3
        ("noise", "gradcam", "iou_area"): (0.35, 0.5 / math.sqrt(2), 2, 3, 1),
        ("noise", "gradcam", "average_drop"): (30.0, 0.0, 2, 3, 1),
    }
    assert len(rows) == len(expected)
    for key, values in expected.items():
        assert tuple(rows.loc[key]) == pytest.approx(values, nan_ok=True), key


def drawn(seed: int) -> pd.DataFrame:
    """Models of different augs, methods and numbers of images, a tenth of the values not finite."""
    rng = np.random.default_rng(seed)
    rows = [
        (aug, model, method, image, *rng.random(3))
        for aug, models in (("reference", 1), ("affine", 3), ("noise", 2))
        for model in range(models)
        for method in ("gradcam++", *FLOORS)
        for image in range(int(rng.integers(3, 9)))
    ]
    found = table(rows, ("iou_area", "energy", "deletion"))
    for name in ("iou_area", "energy", "deletion"):
        places = rng.random(len(found))
        found.loc[places < 0.1, name] = NAN
        found.loc[places > 0.97, name] = math.inf
    return found


@pytest.mark.parametrize("seed", range(3))
def test_both_equal_loops_over_plain_numbers(seed: int) -> None:
    scores = drawn(seed)
    values: dict[tuple[str, int, str, str], list[float]] = defaultdict(list)
    for row in scores.to_dict("records"):
        for name in ("iou_area", "energy", "deletion"):
            values[row["aug"], row["seed"], row["method"], name].append(row[name])
    models = scores_by_model(scores)
    assert len(models) == len(values)
    per_aug: dict[tuple[str, str, str], list[tuple[float, int, int]]] = defaultdict(list)
    for row in models.to_dict("records"):
        every = values[row["aug"], row["seed"], row["method"], row["score"]]
        finite = [value for value in every if math.isfinite(value)]
        mean = math.fsum(finite) / len(finite) if finite else NAN
        assert row["mean"] == pytest.approx(mean, nan_ok=True)
        assert (row["images"], row["undefined"]) == (len(finite), len(every) - len(finite))
        per_aug[row["aug"], row["method"], row["score"]].append((mean, len(finite), len(every)))
    summary = score_table(models)
    assert len(summary) == len(per_aug)
    for row in summary.to_dict("records"):
        found = per_aug[row["aug"], row["method"], row["score"]]
        means = [mean for mean, *_ in found if math.isfinite(mean)]
        centre = math.fsum(means) / len(means) if means else NAN
        squares = math.fsum((mean - centre) ** 2 for mean in means)
        sd = math.sqrt(squares / (len(means) - 1)) if len(means) > 1 else NAN
        assert row["mean"] == pytest.approx(centre, nan_ok=True)
        assert row["sd"] == pytest.approx(sd, nan_ok=True, abs=1e-12)
        assert row["models"] == len(means)
        assert row["images"] == sum(known for _, known, _ in found)
        assert row["undefined"] == sum(every - known for _, known, every in found)


def test_the_order_of_rows_changes_no_number() -> None:
    scores = drawn(7)
    keys = ["aug", "seed", "method", "score"]
    one = scores_by_model(scores).sort_values(keys, ignore_index=True)
    two = scores_by_model(scores.sample(frac=1, random_state=0)).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(one, two, rtol=1e-12)


def test_augs_keep_the_order_of_the_study() -> None:
    assert list(dict.fromkeys(score_table(scores_by_model(drawn(0)))["aug"])) == ["reference", "affine", "noise"]


def test_without_a_score_there_are_no_rows() -> None:
    """Data without masks and a study without faithfulness."""
    none = HAND[["aug", "seed", "method", "image"]]
    models = scores_by_model(none)
    assert len(models) == 0
    assert list(score_table(models).columns) == list(score_table(scores_by_model(HAND)).columns)
