"""Metrics per image: map against map, prediction against prediction; and scores of a classifier.

Pure numpy; no torch. Every definition: docs/metrics.md.
"""

from auglens.metrics.maps import compare_maps, is_constant, map_metric_names
from auglens.metrics.performance import SCORES, Scores, classification_scores, confusion_matrix
from auglens.metrics.predictions import KLD_EPS, class_kld, softmax

__all__ = [
    "KLD_EPS",
    "SCORES",
    "Scores",
    "class_kld",
    "classification_scores",
    "compare_maps",
    "confusion_matrix",
    "is_constant",
    "map_metric_names",
    "softmax",
]
