"""Metrics per image: map against map, prediction against prediction; and scores of a classifier.

Pure numpy and scipy; no torch. Every definition: docs/metrics.md.
"""

from auglens.metrics.erasing import grid, over_grid
from auglens.metrics.faithfulness import FAITHFULNESS, faithfulness
from auglens.metrics.floors import FLOORS, floor_maps
from auglens.metrics.localization import LOCALIZATION, localization, localization_floors
from auglens.metrics.maps import compare_maps, is_constant, map_metric_names
from auglens.metrics.pairwise import compare_all, to_fixed
from auglens.metrics.performance import SCORES, Scores, classification_scores, confusion_matrix, roc_auc
from auglens.metrics.predictions import KLD_EPS, class_kld, softmax
from auglens.metrics.sanity import SanityRow, sanity_check
from auglens.metrics.segmentation import SEGMENTATION, segmentation
from auglens.metrics.similarity import FURTHER, HIGHER_IS_CLOSER, compare_further, higher_is_closer
from auglens.metrics.transport import EMD_CELLS

__all__ = [
    "EMD_CELLS",
    "FAITHFULNESS",
    "FLOORS",
    "FURTHER",
    "HIGHER_IS_CLOSER",
    "KLD_EPS",
    "LOCALIZATION",
    "SCORES",
    "SEGMENTATION",
    "SanityRow",
    "Scores",
    "class_kld",
    "classification_scores",
    "compare_all",
    "compare_further",
    "compare_maps",
    "confusion_matrix",
    "faithfulness",
    "floor_maps",
    "grid",
    "higher_is_closer",
    "is_constant",
    "localization",
    "localization_floors",
    "map_metric_names",
    "over_grid",
    "roc_auc",
    "sanity_check",
    "segmentation",
    "softmax",
    "to_fixed",
]
