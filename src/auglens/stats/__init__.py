"""Tables of per-image metrics → seed means, correlation maps, pair counts; what is more than chance; questions.

Pure pandas, numpy and scipy; no disk, no torch. Every definition: docs/metrics.md, docs/statistics.md.
"""

from auglens.stats.across import correlation_of_scores, method_table
from auglens.stats.answers import Answer, answers
from auglens.stats.bias import bias_table, centre_map, mean_map
from auglens.stats.cells import Cells, cells_of
from auglens.stats.chains import chain_table
from auglens.stats.clustering import structure
from auglens.stats.control import against_control
from auglens.stats.correctness import SEGMENTS, segment_summary, segment_values, segments, summarise_segments
from auglens.stats.correlation import correlation_counts, correlation_map, pairs_of_map
from auglens.stats.direct import direct_table, image_means, packed, without_reference
from auglens.stats.divergence import divergence_augs, divergence_points, divergence_table
from auglens.stats.factors import Factor, Models, find_factors, models_of
from auglens.stats.floor import floor_summary, floor_table, means_table
from auglens.stats.influence import influence_tables, level_values, wide_table
from auglens.stats.pairs import pair_counts
from auglens.stats.permutations import pair_table, self_resemblance
from auglens.stats.quality import HIGHER_IS_BETTER, score_table, scores_by_model
from auglens.stats.resampling import image_weights
from auglens.stats.robustness import (
    ROBUSTNESS,
    paired_differences,
    robustness_by_model,
    robustness_table,
    where_erasing_hurts,
)
from auglens.stats.seeds import (
    CONTROLS,
    REFERENCE,
    average_seeds,
    degenerate_counts,
    distinct_replicates,
    flag_maps,
    metrics_of,
)
from auglens.stats.separability import separability_table
from auglens.stats.similarity import correlation_table, correlations, covariances, models_table
from auglens.stats.steps import step_counts, window_iou
from auglens.stats.summaries import (
    describe,
    extremes,
    metric_summary,
    performance,
    performance_summary,
    score_names,
    seed_spread,
)
from auglens.stats.targets import target_table

__all__ = [
    "CONTROLS",
    "HIGHER_IS_BETTER",
    "REFERENCE",
    "ROBUSTNESS",
    "SEGMENTS",
    "Answer",
    "Cells",
    "Factor",
    "Models",
    "against_control",
    "answers",
    "average_seeds",
    "bias_table",
    "cells_of",
    "centre_map",
    "chain_table",
    "correlation_counts",
    "correlation_map",
    "correlation_of_scores",
    "correlation_table",
    "correlations",
    "covariances",
    "degenerate_counts",
    "describe",
    "direct_table",
    "distinct_replicates",
    "divergence_augs",
    "divergence_points",
    "divergence_table",
    "extremes",
    "find_factors",
    "flag_maps",
    "floor_summary",
    "floor_table",
    "image_means",
    "image_weights",
    "influence_tables",
    "level_values",
    "mean_map",
    "means_table",
    "method_table",
    "metric_summary",
    "metrics_of",
    "models_of",
    "models_table",
    "packed",
    "pair_counts",
    "pair_table",
    "paired_differences",
    "pairs_of_map",
    "performance",
    "performance_summary",
    "robustness_by_model",
    "robustness_table",
    "score_names",
    "score_table",
    "scores_by_model",
    "seed_spread",
    "segment_summary",
    "segment_values",
    "segments",
    "self_resemblance",
    "separability_table",
    "step_counts",
    "structure",
    "summarise_segments",
    "target_table",
    "where_erasing_hurts",
    "wide_table",
    "window_iou",
    "without_reference",
]
