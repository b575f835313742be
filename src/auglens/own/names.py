"""What may be declared as one's own: the kinds, the names that are taken, and a declaration as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from auglens.data import knobs
from auglens.data.augmentations import schema
from auglens.saliency.names import METHODS

AUGMENTATION, MAP_METHOD, METRIC = KINDS = ("augmentation", "map_method", "metric")
FURTHER = ("ssim", "js", "emd", "centre_shift")
FAITHFULNESS = ("average_drop", "increase_in_confidence", "insertion", "deletion", "road")
# Column, score and figure names that a metric would be confused with.
COLUMNS = (
    "aug", "seed", "image", "label", "predicted", "correct", "confidence", "target", "raw_range", "constant",
    "dice", "hausdorff", "sensitivity", "specificity", "found",
    "cell", "cells", "absent", "accuracy", "precision", "recall", "f1", "all", "profiles", "steps", "metric",
    "constant_maps", "mad", "msd", "pearson", "spearman", "class_kld", *FURTHER,
)  # fmt: skip
PREFIXES = ("overlap_", "reference_", "true_", "predicted_", "aug_")
TAKEN: Mapping[str, tuple[str, ...]] = {
    AUGMENTATION: (*schema.SPECS, "names", "reference"),
    MAP_METHOD: METHODS,
    METRIC: COLUMNS,
}
KNOBS = {kind.__name__: kind for kind in (knobs.Number, knobs.Range, knobs.Odd, knobs.Choice)}


@dataclass(frozen=True)
class Declaration:
    """One name: what it is, what it does, its knobs and words (augs) or direction (metrics), and its code."""

    kind: str
    name: str
    definition: str
    code: str  # sha256
    knobs: Mapping[str, knobs.Knob] = field(default_factory=dict)
    words: int = 0
    higher_is_closer: bool = False
