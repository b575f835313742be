"""Tables → matplotlib Figures. Nothing is saved and no global state of pyplot is touched.

Every figure carries its alt text: `alt_text(figure)`. To save the same bytes twice, see `SAVE_RC`.
"""

from auglens.figures.bias import bias_bars, mean_maps
from auglens.figures.cells import CellPictures
from auglens.figures.control import equal_steps
from auglens.figures.correlations import correlation_heatmap, correlation_heatmaps, pair_counts_chart
from auglens.figures.distributions import metric_boxes, segment_boxes
from auglens.figures.divergence import divergence_forest, divergence_scatter
from auglens.figures.floor import floor_forest
from auglens.figures.images import augmentation_sheet, extreme_grid
from auglens.figures.influence import correlation_grid, factor_panels, level_curves, seconds_bars
from auglens.figures.pairs import correlation_intervals, pair_support
from auglens.figures.performance import confusion_figure, performance_bars, training_curves
from auglens.figures.quality import sanity_curves, score_dots, score_label
from auglens.figures.questions import chains_forest, direct_heat, separability_forest, targets_dumbbell
from auglens.figures.robustness import erasing_maps, robustness_dots, robustness_label
from auglens.figures.search import importances, parallel_coordinates, pareto_front
from auglens.figures.steps import convergence, iou_matrices, step_sheet
from auglens.figures.structure import agreement_heat, model_similarity
from auglens.figures.style import SAVE_RC, SVG_METADATA, alt_text, aug_label, metric_label
from auglens.figures.trees import dendrograms

__all__ = [
    "SAVE_RC",
    "SVG_METADATA",
    "CellPictures",
    "agreement_heat",
    "alt_text",
    "aug_label",
    "augmentation_sheet",
    "bias_bars",
    "chains_forest",
    "confusion_figure",
    "convergence",
    "correlation_grid",
    "correlation_heatmap",
    "correlation_heatmaps",
    "correlation_intervals",
    "dendrograms",
    "direct_heat",
    "divergence_forest",
    "divergence_scatter",
    "equal_steps",
    "erasing_maps",
    "extreme_grid",
    "factor_panels",
    "floor_forest",
    "importances",
    "iou_matrices",
    "level_curves",
    "mean_maps",
    "metric_boxes",
    "metric_label",
    "model_similarity",
    "pair_counts_chart",
    "pair_support",
    "parallel_coordinates",
    "pareto_front",
    "performance_bars",
    "robustness_dots",
    "robustness_label",
    "sanity_curves",
    "score_dots",
    "score_label",
    "seconds_bars",
    "segment_boxes",
    "separability_forest",
    "step_sheet",
    "targets_dumbbell",
    "training_curves",
]
