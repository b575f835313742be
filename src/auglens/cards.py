"""What MLflow and a model card say of one cell: parameters, scores, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from auglens.metrics import classification_scores

if TYPE_CHECKING:
    import pandas as pd


def flat(values: Mapping[str, Any], prefix: str) -> dict[str, str | int | float]:
    """Nested values as `prefix.key` → scalar; lists as text."""
    found: dict[str, str | int | float] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            found |= flat(value, name)
        else:
            found[name] = value if isinstance(value, str | int | float) else str(value)
    return found


def flat_params(spec: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Every parameter that decided a cell, under the names of `params.yaml` where it has one."""
    maps = {name: spec["maps"][name] for name in ("method", "target", "layer", "batch_size")}
    params: dict[str, str | int | float] = {
        "aug": spec["aug"],
        "seed": spec["seed"],
        "halves": spec["halves"],
    }
    params |= {"data.name": manifest["name"], "data.content": spec["data"]}
    params |= flat(spec["model"], "model") | flat(spec["train"], "train") | flat(spec["streams"], "streams")
    params |= flat(maps, "maps")
    for part in spec["parts"]:
        params |= flat(part["params"], f"aug.{part['name']}")
    return params


def run_metrics(
    table: pd.DataFrame, report: Mapping[str, Any], metrics: Sequence[str], classes: int
) -> dict[str, float]:
    """The scores of a cell by the names that every run carries: performance, map metrics, counts."""
    scores = classification_scores(table["label"].to_numpy(), table["predicted"].to_numpy(), classes)
    values: dict[str, float] = {str(name): float(value) for name, value in scores.items()}  # type: ignore[arg-type]
    best = report["epochs"][report["best_epoch"] - 1]
    values |= {"best_epoch": report["best_epoch"], "best_validation_accuracy": best["validation_accuracy"]}
    values |= {"steps": report["steps"], "constant_maps": int(table["constant"].sum())}
    for name in metrics:
        if name in table:
            finite = table[name].to_numpy()[np.isfinite(table[name].to_numpy())]
            if len(finite):
                values |= {f"{name}_mean": float(finite.mean()), f"{name}_median": float(np.median(finite))}
            values[f"{name}_undefined"] = len(table) - len(finite)
    return values


def card(
    spec: Mapping[str, Any],
    report: Mapping[str, Any],
    manifest: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> dict[str, Any]:
    """A model card: what the model is, what it was trained on and how, how well it does, what it is for."""
    return {
        "name": spec["cell"],
        "purpose": "one cell of an auglens study; made for comparing explanations, not for use on its own",
        "model": dict(spec["model"]) | {"parameters": report["parameters"], "classes": manifest["classes"]},
        "data": {name: manifest[name] for name in ("name", "counts", "mean", "std", "content", "source")},
        "training": dict(spec["train"]) | {"streams": spec["streams"], "steps": report["steps"]},
        "augmentation": {"aug": spec["aug"], "parts": spec["parts"], "halves": spec["halves"]},
        "best_epoch": report["best_epoch"],
        "checkpoint_sha256": report["checkpoint_sha256"],
        "test": {name: metrics[name] for name in ("accuracy", "precision", "recall", "f1")},
        "keys": {"train_key": spec["train_key"], "map_key": spec["maps"]["map_key"]},
    }
