"""What MLflow is told of a cell: names that it takes, and every number by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from auglens.cards import flat, run_metrics, score_metrics

NAN = float("nan")


def epoch(**values: float) -> dict[str, float]:
    return {"train_loss": 0.0, "train_accuracy": 0.0, "validation_loss": 0.0, "validation_accuracy": 0.0} | values


REPORT: dict[str, Any] = {
    "best_epoch": 2,
    "steps": 30,
    "epochs": [
        epoch(train_accuracy=0.1, validation_accuracy=0.2, train_loss=9.0, validation_loss=7.0),
        epoch(train_accuracy=0.9, validation_accuracy=0.75, train_loss=0.5, validation_loss=0.8),
        epoch(train_accuracy=1.0, validation_accuracy=0.3, train_loss=0.1, validation_loss=3.0),
    ],
}
TABLE = pd.DataFrame(
    {
        "label": [0, 0, 1, 1],
        "predicted": [0, 1, 1, 1],
        "constant": [False, True, False, False],
        "mad": [0.1, 0.3, NAN, 0.8],
        "ssim": [NAN, math.inf, NAN, NAN],
    }
)
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8]])


def test_run_metrics_by_hand() -> None:
    found = run_metrics(TABLE, REPORT, ("mad", "ssim", "msd"), PROBABILITIES)
    assert found == pytest.approx(
        {
            "accuracy": 0.75,
            "precision": (1 + 2 / 3) / 2,
            "recall": (1 / 2 + 1) / 2,
            "f1": (2 / 3 + 4 / 5) / 2,
            "undefined_classes": 0,
            "best_epoch": 2,
            "best_validation_accuracy": 0.75,
            "steps": 30,
            "constant_maps": 1,
            "roc_auc": 3.5 / 4,  # of four pairs three are in order and one is a tie
            "accuracy_gap": 0.15,  # of the epoch kept: the training images fare better in both
            "loss_gap": 0.3,
            "mad_mean": 0.4,
            "mad_median": 0.3,
            "mad_undefined": 1,
            "ssim_undefined": 4,  # and no mean of nothing
        }
    )
    assert run_metrics(TABLE[["label", "predicted", "constant"]], REPORT, ("mad",), PROBABILITIES).keys() == {
        name for name in found if not name.startswith(("mad", "ssim"))
    }


def test_gaps_are_below_zero_where_the_validation_images_fare_better() -> None:
    found = run_metrics(TABLE, REPORT | {"best_epoch": 1}, (), PROBABILITIES)
    assert (found["accuracy_gap"], found["loss_gap"]) == pytest.approx((-0.1, -2.0))


def test_a_loss_that_the_report_could_not_hold_has_no_gap() -> None:
    """An infinity is null in JSON."""
    broken = {**REPORT["epochs"][1], "validation_loss": None}
    found = run_metrics(TABLE, REPORT | {"epochs": [REPORT["epochs"][0], broken]}, (), PROBABILITIES)
    assert math.isnan(found["loss_gap"])
    assert found["accuracy_gap"] == pytest.approx(0.15)


def test_roc_auc_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    probabilities = softmax(rng.normal(size=(60, 4)), axis=1)
    table = pd.DataFrame({"label": labels, "predicted": probabilities.argmax(1), "constant": False})
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert run_metrics(table, REPORT, (), probabilities)["roc_auc"] == pytest.approx(expected)


SCORES = pd.DataFrame(
    {
        "method": ["gradcam++", "gradcam++", "centre", "centre"],
        "image": [4, 7, 4, 7],
        "label": [1, 2, 1, 2],  # beside the scores, and none
        "constant": [False, True, False, False],
        "iou_area": [0.2, NAN, 0.1, 0.5],
        "road": [NAN, math.inf, 0.25, 0.75],
    }
)
SANITY = pd.DataFrame(
    {
        "method": ["gradcam++", "gradcam++", "gradcam", "gradcam"],
        "step": [1, 2, 1, 2],
        "spearman_mean": [0.9, 0.1, 0.7, -0.2],
        "undefined": [0, 3, 2, 0],
    }
)


def test_score_metrics_by_hand() -> None:
    assert score_metrics(SCORES, SANITY) == pytest.approx(
        {
            "iou_area.gradcampp": 0.2,
            "iou_area.gradcampp_undefined": 1,
            "road.gradcampp": NAN,
            "road.gradcampp_undefined": 2,
            "iou_area.centre": 0.3,
            "road.centre": 0.5,
            "sanity.gradcampp": 0.1,  # the last step: everything is random
            "sanity.gradcampp_undefined": 3,
            "sanity.gradcam": -0.2,
        },
        nan_ok=True,
    )


def test_without_a_sanity_check_there_is_none() -> None:
    names = score_metrics(SCORES, SANITY[:0])
    assert not [name for name in names if name.startswith("sanity")]


def test_the_settings_of_scores_are_params() -> None:
    found = flat({"methods": ("gradcam++",), "images": None, "steps": 16, "least_mask": 0.0}, "score")
    assert found == {
        "score.methods": "('gradcam++',)", "score.images": "None", "score.steps": 16, "score.least_mask": 0.0
    }  # fmt: skip
