"""Tables of per-image metrics → seed means, correlation maps, pair counts, segments and summaries.

Pure pandas and numpy; no disk, no torch. Every definition: docs/metrics.md.
"""

from auglens.stats.correctness import SEGMENTS, segment_summary, segment_values, segments
from auglens.stats.correlation import correlation_counts, correlation_map
from auglens.stats.pairs import pair_counts
from auglens.stats.seeds import (
    CONTROLS,
    REFERENCE,
    average_seeds,
    degenerate_counts,
    distinct_replicates,
    flag_maps,
    metrics_of,
)
from auglens.stats.summaries import (
    describe,
    extremes,
    metric_summary,
    performance,
    performance_summary,
)

__all__ = [
    "CONTROLS",
    "REFERENCE",
    "SEGMENTS",
    "average_seeds",
    "correlation_counts",
    "correlation_map",
    "degenerate_counts",
    "describe",
    "distinct_replicates",
    "extremes",
    "flag_maps",
    "metric_summary",
    "metrics_of",
    "pair_counts",
    "performance",
    "performance_summary",
    "segment_summary",
    "segment_values",
    "segments",
]
