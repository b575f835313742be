"""Parameters → frozen dataclasses. Imports no torch."""

from auglens.config.augs import AugConfig, ClassicConfig
from auglens.config.groups import (
    CONTROLS,
    REFERENCE,
    RESEED,
    STREAMS,
    UNET,
    AnalysisConfig,
    CollectConfig,
    Config,
    DataConfig,
    MapsConfig,
    ModelConfig,
    StreamsConfig,
    TrackingConfig,
    TrainConfig,
    other_variant,
)
from auglens.config.measuring import MeasureConfig, RobustnessConfig, ScoreConfig
from auglens.config.reading import from_mapping, load

__all__ = [
    "CONTROLS",
    "REFERENCE",
    "RESEED",
    "STREAMS",
    "UNET",
    "AnalysisConfig",
    "AugConfig",
    "ClassicConfig",
    "CollectConfig",
    "Config",
    "DataConfig",
    "MapsConfig",
    "MeasureConfig",
    "ModelConfig",
    "RobustnessConfig",
    "ScoreConfig",
    "StreamsConfig",
    "TrackingConfig",
    "TrainConfig",
    "from_mapping",
    "load",
    "other_variant",
]
