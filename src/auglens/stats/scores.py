"""What a table of influence shows: names, which way is better, units, map methods and their trivial floors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auglens.metrics import floors

FLOORS = floors.FLOORS  # maps that know nothing of the model
ALL = "all"  # in place of a method: the mean over the map methods, floors left out
METHODS = {
    "cam": "CAM",
    "gradcam": "Grad-CAM",
    "gradcampp": "Grad-CAM++",
    "scorecam": "Score-CAM",
    ALL: "mean of the methods",
    "ones": "whole image",
    "centre": "centre",
    "random": "random",
}
UNDEFINED = "_undefined"  # ends the name of a count


@dataclass(frozen=True)
class Score:
    """lower: whether lower is better, None where neither is; a stored value × scale is one in `unit`."""

    name: str
    label: str
    lower: bool | None = False
    scale: float = 100.0
    unit: str = "%"

    @property
    def title(self) -> str:
        """`↑ IoU (area), %`."""
        arrow = {True: "↓ ", False: "↑ ", None: ""}[self.lower]
        return f"{arrow}{self.label}{f', {self.unit}' if self.unit else ''}"

    @property
    def step(self) -> str:
        """The unit of a difference."""
        return "points" if self.unit == "%" else self.unit


def _by_name(*scores: Score) -> dict[str, Score]:
    return {score.name: score for score in scores}


PERFORMANCE = _by_name(
    Score("accuracy", "Accuracy"),
    Score("roc_auc", "ROC AUC"),
    Score("f1", "F1"),
    Score("precision", "Precision"),
    Score("recall", "Recall"),
    Score("dice", "Dice"),
    Score("hausdorff", "Hausdorff distance", True, 1, "pixels"),
    Score("sensitivity", "Sensitivity"),
    Score("specificity", "Specificity"),
    Score("found", "Found (Dice ≥ 0.5)"),
    Score("robustness.accuracy", "Accuracy with erased pixels"),
    Score("robustness.consistency", "Consistency with erased pixels"),
    Score("robustness.dice", "Dice with erased pixels"),
    Score("accuracy_gap", "Train − validation accuracy", True),
    Score("loss_gap", "Validation − train loss", True, 1, "nats"),
    Score("best_epoch", "Epoch kept", None, 1, ""),
    Score("steps", "Gradient steps", None, 1, ""),
    Score("train_seconds", "Training time", None, 1, "s"),
)
EXPLANATION = _by_name(
    Score("iou_area", "IoU (area)"),
    Score("iou_box", "IoU (boxes)"),
    Score("pointing_game", "Pointing game"),
    Score("energy", "Energy in the mask"),
    Score("average_drop", "Average Drop", True, 1),
    Score("increase_in_confidence", "Increase in Confidence", False, 1),
    Score("insertion", "Insertion"),
    Score("deletion", "Deletion", True),
    Score("road", "ROAD"),
    Score("sanity", "Sanity: ρ with a random model's maps", True, 1, ""),
)
SCORES = PERFORMANCE | EXPLANATION


def split_metric(name: str) -> tuple[str, str] | None:
    """A metric's name in MLflow → (score, method), method "" for performance; None for any other metric."""
    if name in PERFORMANCE:
        return name, ""
    score, _, method = name.partition(".")
    if score in EXPLANATION and method and not method.endswith(UNDEFINED):
        return score, method
    return None


def is_undefined_count(name: str) -> bool:
    """Whether a metric counts the images that an explanation score left out."""
    return name.endswith(UNDEFINED) and split_metric(name.removesuffix(UNDEFINED)) is not None


def method_label(method: str) -> str:
    """`gradcampp` → `Grad-CAM++`; one that is not known keeps its name."""
    return METHODS.get(method, method)


def ordered_methods(methods: Iterable[str]) -> list[str]:
    """Each once: the known ones in their order, then others by name, their mean, and last the floors."""
    order = list(METHODS)
    known = set(methods)
    others = sorted(known - set(order))
    first = [name for name in order[: order.index(ALL)] if name in known]
    return [*first, *others, *(name for name in order[order.index(ALL) :] if name in known)]
