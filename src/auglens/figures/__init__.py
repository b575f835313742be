"""Tables → matplotlib Figures. Nothing is saved and no global state of pyplot is touched.

Every figure carries its alt text: `alt_text(figure)`. To save the same bytes twice, see `SAVE_RC`.
"""

from auglens.figures.correlations import correlation_heatmap, correlation_heatmaps, pair_counts_chart
from auglens.figures.distributions import metric_boxes, segment_boxes
from auglens.figures.images import augmentation_sheet, extreme_grid
from auglens.figures.performance import confusion_figure, performance_bars, training_curves
from auglens.figures.style import SAVE_RC, SVG_METADATA, alt_text, aug_label, metric_label

__all__ = [
    "SAVE_RC",
    "SVG_METADATA",
    "alt_text",
    "aug_label",
    "augmentation_sheet",
    "confusion_figure",
    "correlation_heatmap",
    "correlation_heatmaps",
    "extreme_grid",
    "metric_boxes",
    "metric_label",
    "pair_counts_chart",
    "performance_bars",
    "segment_boxes",
    "training_curves",
]
