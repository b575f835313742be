"""What MLflow and a model card say of one cell: parameters, scores, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from auglens.metrics import FAITHFULNESS, LOCALIZATION, classification_scores, roc_auc
from auglens.metrics.performance import SCORES
from auglens.metrics.segmentation import SEGMENTATION

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


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
    params |= {"data.name": manifest["name"], "data.content": spec["data"], "data.task": spec["task"]}
    params |= {f"data.{name}": manifest[name] for name in ("folds", "fold") if name in manifest}
    params |= flat(spec["model"], "model") | flat(spec["train"], "train") | flat(spec["streams"], "streams")
    params |= flat(maps, "maps")
    for part in spec["parts"]:
        params |= flat(part["params"], f"aug.{part['name']}")
    return params


def plain(method: str) -> str:
    """A map method's name as MLflow takes it: gradcam++ → gradcampp."""
    return method.replace("+", "p")


def performance_of(table: pd.DataFrame, probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Scores of the test images: of a classification, or of a segmentation the means where they are defined."""
    if set(SEGMENTATION) <= set(table):
        values = {name: table[name].to_numpy() for name in SEGMENTATION}
        means = {name: float(np.nanmean(column)) for name, column in values.items() if np.isfinite(column).any()}
        undefined = {f"{name}_undefined": int(np.isnan(column).sum()) for name, column in values.items()}
        return means | undefined | {"found": float(table["correct"].mean())}
    labels = table["label"].to_numpy()
    scores = classification_scores(labels, table["predicted"].to_numpy(), probabilities.shape[1])
    found = {str(name): float(value) for name, value in scores.items()}  # type: ignore[arg-type]
    return found | {"roc_auc": roc_auc(labels, probabilities)}


def run_metrics(
    table: pd.DataFrame, report: Mapping[str, Any], metrics: Sequence[str], probabilities: NDArray[np.float64]
) -> dict[str, float]:
    """The scores of a cell by the names that every run carries: performance, map metrics, counts.

    probabilities: float64 [N,C] of the test images.
    """
    best = report["epochs"][report["best_epoch"] - 1]
    values = performance_of(table, probabilities)
    values |= {"best_epoch": report["best_epoch"], "best_validation_accuracy": best["validation_accuracy"]}
    values |= {"best_validation_dice": best["validation_dice"]} if "validation_dice" in best else {}
    values |= {"steps": report["steps"], "constant_maps": int(table["constant"].sum())}
    for name, sign in (("accuracy", 1), ("loss", -1)):  # > 0: the training images fare better
        ends = (best[f"train_{name}"], best[f"validation_{name}"])  # null in the report where infinite
        values[f"{name}_gap"] = float("nan") if None in ends else sign * (ends[0] - ends[1])
    for name in metrics:
        if name in table:
            finite = table[name].to_numpy()[np.isfinite(table[name].to_numpy())]
            if len(finite):
                values |= {f"{name}_mean": float(finite.mean()), f"{name}_median": float(np.median(finite))}
            values[f"{name}_undefined"] = len(table) - len(finite)
    return values


def score_metrics(scores: pd.DataFrame, sanity: pd.DataFrame) -> dict[str, float]:
    """Means over images as `{score}.{method}`, floors among the methods; `{score}.{method}_undefined` where there
    are such; `sanity.{method}`: the maps' correlation with those of the wholly randomised model."""
    found: dict[str, float] = {}
    names = [name for name in scores if name in (*LOCALIZATION, *FAITHFULNESS)]
    for method, group in scores.groupby("method", sort=False):
        for name in names:
            values = group[name].to_numpy()
            finite = values[np.isfinite(values)]
            found[f"{name}.{plain(str(method))}"] = float(finite.mean()) if len(finite) else float("nan")
            if len(finite) < len(values):
                found[f"{name}.{plain(str(method))}_undefined"] = len(values) - len(finite)
    for method, group in sanity.groupby("method", sort=False):
        found[f"sanity.{plain(str(method))}"] = float(group["spearman_mean"].iloc[-1])
        if undefined := int(group["undefined"].iloc[-1]):
            found[f"sanity.{plain(str(method))}_undefined"] = undefined
    return found


def robustness_metrics(rows: pd.DataFrame) -> dict[str, float]:
    """Means over the erased copies of the test images (of the first part where there are none) as
    `robustness.{score}`, and `robustness.{score}_undefined` where there are such."""
    if not len(rows):
        return {}
    part = "test" if (rows["part"] == "test").any() else rows["part"].iloc[0]
    erased = rows[(rows["part"] == part) & (rows["row"] >= 0)]
    found: dict[str, float] = {}
    named = {"correct": "accuracy", "consistent": "consistency"} | {name: name for name in SEGMENTATION}
    for column, name in named.items():
        if column in erased:
            values = erased[column].to_numpy(dtype=np.float64)
            finite = values[np.isfinite(values)]
            found[f"robustness.{name}"] = float(finite.mean()) if len(finite) else float("nan")
            if len(finite) < len(values):
                found[f"robustness.{name}_undefined"] = len(values) - len(finite)
    return found


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
        "test": {name: metrics[name] for name in (*SCORES, *SEGMENTATION) if name in metrics},
        "keys": {"train_key": spec["train_key"], "map_key": spec["maps"]["map_key"]},
    }
