"""Parameters → frozen dataclasses. Imports no torch."""

from auglens.config.groups import (
    CONTROLS,
    REFERENCE,
    RESEED,
    STREAMS,
    AnalysisConfig,
    AugConfig,
    CollectConfig,
    Config,
    DataConfig,
    MapsConfig,
    MeasureConfig,
    ModelConfig,
    ScoreConfig,
    StreamsConfig,
    TrackingConfig,
    TrainConfig,
    other_variant,
)
from auglens.config.reading import from_mapping, load

__all__ = [
    "CONTROLS",
    "REFERENCE",
    "RESEED",
    "STREAMS",
    "AnalysisConfig",
    "AugConfig",
    "CollectConfig",
    "Config",
    "DataConfig",
    "MapsConfig",
    "MeasureConfig",
    "ModelConfig",
    "ScoreConfig",
    "StreamsConfig",
    "TrackingConfig",
    "TrainConfig",
    "from_mapping",
    "load",
    "other_variant",
]
