"""`explain` and `measure` with both targets: the other target is explained where it is another class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from auglens.artifacts import Maps
from auglens.config import MeasureConfig, other_variant
from auglens.stages.measure import measure, other_target

SETTINGS = MeasureConfig((20.0, 10.0, 5.0), 2.220446049250313e-16, ("ssim", "js", "emd", "centre_shift"))
NAMES = [name for name in SETTINGS.every if name != "class_kld"]


def maps(generator: np.random.Generator, targets: np.ndarray, raw: np.ndarray | None = None) -> Maps:
    count = len(targets)
    raw = generator.random((count, 4, 4), dtype=np.float32) if raw is None else raw
    return Maps(raw, generator.standard_normal((count, 3)).astype(np.float32), targets, 16, "key")


def pair(generator: np.random.Generator, predicted: np.ndarray, true: np.ndarray) -> tuple[Maps, Maps]:
    """One cell's maps of the predicted and of the true class: equal where these are."""
    first = maps(generator, predicted)
    raw = first.raw.copy()
    differ = predicted != true
    raw[differ] = generator.random((int(differ.sum()), 4, 4), dtype=np.float32)
    return first, Maps(raw, first.logits, true, 16, "key")


def test_the_other_targets_metrics_are_those_of_its_maps_all_computed() -> None:
    generator = np.random.default_rng(0)
    true = np.arange(30) % 3
    cell, other_cell = pair(generator, generator.integers(0, 3, 30), true)
    reference, other_reference = pair(generator, generator.integers(0, 3, 30), true)
    values: dict[str, Any] = measure(cell, reference, SETTINGS, "test")
    found = other_target(values, (cell, reference), (other_cell, other_reference), SETTINGS, "test")
    whole = measure(other_cell, other_reference, SETTINGS, "test")
    assert list(found) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(found[name], whole[name])
    differ = (cell.targets != true) | (reference.targets != true)
    assert (found["mad"][~differ] == values["mad"][~differ]).all()
    assert (found["mad"][differ] != values["mad"][differ]).any()


def test_where_both_models_are_right_nothing_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    true = np.arange(6) % 3
    cell, reference = maps(generator, true), maps(generator, true)
    values = measure(cell, reference, SETTINGS, "test")
    monkeypatch.setattr("auglens.stages.measure.of_maps", None)
    found = other_target(values, (cell, reference), (cell, reference), SETTINGS, "test")
    assert (found["pearson"] == values["pearson"]).all()


def test_variants_name_one_another() -> None:
    assert other_variant("gradcam-predicted") == "gradcam-true"
    assert other_variant("input-x-gradient-true") == "input-x-gradient-predicted"
