"""The groups of parameters: the one source of the names and ranges of every knob; `conf/` holds their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from auglens.active import specs as active
from auglens.config.augs import AugConfig, ClassicConfig
from auglens.config.checks import one_of, require
from auglens.config.measuring import MeasureConfig, RobustnessConfig, ScoreConfig
from auglens.data.augmentations import schema
from auglens.own import names, source

CONTROLS = schema.CONTROLS
UNET = "unet"  # the one network that segments
REFERENCE = "reference"  # the cell, and the aug, of the one un-augmented model
RESEED = "reseed"  # the control without a second half: other initial weights and order instead
STREAMS = ("augmentation", "dropout", "init", "order")


@dataclass(frozen=True)
class DataConfig:
    name: str
    source: str
    size: int | None  # pixels: side of the square that images of a folder are brought to; None = as they are
    train: int  # images to make (shapes only)
    test: int
    validation_fraction: float
    split_seed: int
    label: str = "label"  # column of labels.csv that holds the class (folder only)
    fit: str = "crop"  # how an image that is not square becomes so: crop its centre, or squeeze it (folder only)
    folds: int | None = None  # stratified folds of all images but the test part; None = validation_fraction counts
    fold: int = 0  # which of them is the validation part
    task: str = "classification"  # or segmentation: the masks are what is learnt

    def __post_init__(self) -> None:
        require(bool(self.label.strip()), "data.label", "the name of a column of labels.csv", self.label)
        one_of("data.fit", self.fit, ("crop", "squeeze"))
        one_of("data.name", self.name, ("shapes", "cifar10", "cifar100", "folder"))
        one_of("data.task", self.task, ("classification", "segmentation"))
        masked = self.task == "classification" or self.name in ("shapes", "folder")
        require(masked, "data.task", f"classification, since {self.name} has no masks", self.task)
        require(self.size is None or 8 <= self.size <= 1024, "data.size", "8 to 1024 pixels or null", self.size)
        require(self.train >= 0, "data.train", "0 or more images", self.train)
        require(self.test >= 0, "data.test", "0 or more images", self.test)
        fraction = self.validation_fraction
        require(0 < fraction < 1, "data.validation_fraction", "a fraction in (0, 1)", fraction)
        require(self.folds is None or 2 <= self.folds <= 20, "data.folds", "2 to 20 or null", self.folds)
        last = (self.folds or 1) - 1
        told = f"0 to {last}, the last of data.folds" if last else "0, for data.folds is null"
        require(0 <= self.fold <= last, "data.fold", told, self.fold)


@dataclass(frozen=True)
class ModelConfig:
    name: str
    image_size: int
    output_stride: int | None
    dropout: float
    drop_path: float
    norm: str = "batch"  # batch: the normalisation that the network has
    norm_channels: int | None = 16  # per group, with norm=group; this or the next, the other None
    norm_groups: int | None = None
    precode_size: int = 0  # features of PRECODE's bottleneck before the classifier; 0 = none
    precode_beta: float = 0.001  # weight of its KL divergence in the loss
    width: int = 16  # channels of the first level (unet only)

    def __post_init__(self) -> None:
        require(8 <= self.image_size <= 1024, "model.image_size", "8 to 1024 pixels", self.image_size)
        strides = (None, 8, 16, 32)
        require(self.output_stride in strides, "model.output_stride", "8, 16, 32 or null", self.output_stride)
        require(0 <= self.dropout < 1, "model.dropout", "a rate in [0, 1)", self.dropout)
        require(0 <= self.drop_path < 1, "model.drop_path", "a rate in [0, 1)", self.drop_path)
        one_of("model.norm", self.norm, ("batch", "none", "group"))
        for name in ("norm_channels", "norm_groups"):
            value = getattr(self, name)
            require(value is None or 1 <= value <= 1024, f"model.{name}", "1 to 1024 or null", value)
        one = (self.norm_channels is None) != (self.norm_groups is None)
        told = "one of model.norm_channels and model.norm_groups, and null for the other"
        both = f"{self.norm_channels} and {self.norm_groups}"
        require(self.norm != "group" or one, "model.norm", f"with group {told}", both)
        require(0 <= self.precode_size <= 4096, "model.precode_size", "0 to 4096 features", self.precode_size)
        require(1 <= self.width <= 512, "model.width", "1 to 512 channels", self.width)
        require(0 <= self.precode_beta <= 10, "model.precode_beta", "a weight in [0, 10]", self.precode_beta)

    @property
    def deciding(self) -> ModelConfig:
        """Without the settings of what is off: they decide nothing, and must not make another key."""
        found = self if self.norm == "group" else replace(self, norm_channels=None, norm_groups=None)
        found = found if self.name == UNET else replace(found, width=16)
        return found if self.precode_size else replace(found, precode_beta=0.0)


@dataclass(frozen=True)
class TrainConfig:
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    select: str
    threads: int
    device: str
    precision: str
    weight_decay_l1: float = 0.0  # λ of λ·Σ|w| in the loss, over all trainable parameters
    watch_test: bool = False  # the test images' scores after each epoch too; they choose nothing

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", "1 or more", self.epochs)
        require(self.batch_size >= 1, "train.batch_size", "1 or more", self.batch_size)
        require(0 < self.learning_rate <= 10, "train.learning_rate", "a rate in (0, 10]", self.learning_rate)
        require(0 <= self.weight_decay <= 1, "train.weight_decay", "a value in [0, 1]", self.weight_decay)
        l1 = self.weight_decay_l1
        require(0 <= l1 <= 1, "train.weight_decay_l1", "a value in [0, 1]", l1)
        one_of("train.select", self.select, ("validation_accuracy", "validation_loss", "validation_dice"))
        require(1 <= self.threads <= 256, "train.threads", "1 to 256", self.threads)
        one_of("train.device", self.device, ("cpu", "cuda", "auto"))
        one_of("train.precision", self.precision, ("fp32", "bf16"))


@dataclass(frozen=True)
class StreamsConfig:
    """Where randomness comes from: the seeds that all cells share, and what a cell's own seed feeds."""

    init_seed: int
    order_seed: int
    vary: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("init_seed", "order_seed"):
            value = getattr(self, name)
            require(0 <= value < 2**31, f"streams.{name}", "a whole number from 0 to 2147483647", value)
        for stream in self.vary:
            one_of("streams.vary", stream, STREAMS)


def other_variant(variant: str) -> str:
    """`gradcam-predicted` ↔ `gradcam-true`."""
    method, _, target = variant.rpartition("-")
    return f"{method}-{'true' if target == 'predicted' else 'predicted'}"


@dataclass(frozen=True)
class MapsConfig:
    method: str
    target: str
    layer: str
    batch_size: int

    def __post_init__(self) -> None:
        one_of("maps.method", self.method, (*names.METHODS, *source.current().names(names.MAP_METHOD)))
        one_of("maps.target", self.target, ("predicted", "true"))
        require(bool(self.layer), "maps.layer", "features, last_conv or a module's name", self.layer)
        require(self.batch_size >= 1, "maps.batch_size", "1 or more", self.batch_size)

    @property
    def variant(self) -> str:
        return f"{self.method}-{self.target}"

    @property
    def other_variant(self) -> str:
        """The same method with the other target: explained and measured beside the study's own."""
        return other_variant(self.variant)


@dataclass(frozen=True)
class AnalysisConfig:
    """How much resampling the statistics do; nothing of it enters a cell's keys."""

    draws: int
    permutations: int
    confidence: float
    seed: int
    pair_images: int
    folds: int

    def __post_init__(self) -> None:
        require(100 <= self.draws <= 100_000, "analysis.draws", "100 to 100,000", self.draws)
        permutations = self.permutations
        require(99 <= permutations <= 1_000_000, "analysis.permutations", "99 to 1,000,000", permutations)
        require(0.5 <= self.confidence < 1, "analysis.confidence", "a level in [0.5, 1)", self.confidence)
        require(0 <= self.seed < 2**31, "analysis.seed", "a whole number from 0 to 2147483647", self.seed)
        require(self.pair_images >= 10, "analysis.pair_images", "10 images or more", self.pair_images)
        require(2 <= self.folds <= 20, "analysis.folds", "2 to 20", self.folds)


@dataclass(frozen=True)
class CollectConfig:
    scope: str

    def __post_init__(self) -> None:
        one_of("collect.scope", self.scope, ("study", "requested"))


@dataclass(frozen=True)
class TrackingConfig:
    uri: str | None
    experiment: str
    live: bool

    def __post_init__(self) -> None:
        require(bool(self.experiment.strip()), "tracking.experiment", "a name", self.experiment)


@dataclass(frozen=True)
class Config:
    own: str  # path of the Python file of one's own augs, map methods and metrics; see docs/own.md
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    classic: ClassicConfig
    streams: StreamsConfig
    aug: AugConfig
    seeds: tuple[int, ...]
    maps: MapsConfig
    measure: MeasureConfig
    score: ScoreConfig
    robustness: RobustnessConfig
    analysis: AnalysisConfig
    collect: CollectConfig
    tracking: TrackingConfig

    def __post_init__(self) -> None:
        source.check_path(self.own)
        require(len(self.seeds) > 0, "seeds", "at least one seed", list(self.seeds))
        require(len(set(self.seeds)) == len(self.seeds), "seeds", "each seed once", list(self.seeds))
        for seed in self.seeds:
            require(0 <= seed < 2**31, "seeds", "whole numbers from 0 to 2147483647", seed)
        self._check_task()
        for name in self.aug.names:
            part = schema.active_part(schema.parse(name))
            if part is not None:
                self._check_active(part, self.aug.of(part) or {})

    def _check_task(self) -> None:
        segments = self.data.task == "segmentation"
        right = segments == (self.model.name == UNET)
        expected = (
            f"{UNET}, since data.task is segmentation" if segments else "a classifier, or data.task=segmentation"
        )
        require(right, "model.name", expected, self.model.name)
        wrong = not segments and self.train.select == "validation_dice"
        require(
            not wrong,
            "train.select",
            "validation_accuracy or validation_loss for classification",
            "validation_dice",
        )
        if segments:
            for key, method in (
                ("maps.method", self.maps.method),
                *(("score.methods", m) for m in self.score.methods),
            ):
                require(
                    method not in ("cam", "scorecam"), key, "a method that is defined for a segmentation", method
                )
            require(
                not self.own_augs,
                "aug.names",
                "no aug of one's own with data.task=segmentation",
                list(self.own_augs),
            )

    def _check_active(self, part: str, params: Mapping[str, Any]) -> None:
        epochs, steps = self.train.epochs, params["steps"]
        if part not in self.aug.parameters:  # ada_gradcam, which takes ada's
            part = "ada"
        last = active.last_step(steps)
        expected = f"steps before train.epochs ({epochs}), or nothing is made"
        require(last < epochs, f"aug.{part}.steps", expected, last)
        if self.data.task == "segmentation":
            require(params["images"] == "all", f"aug.{part}.images", "all, since no mask is simply wrong", "wrong")
            method = params["method"]
            require(
                method not in ("cam", "scorecam"), f"aug.{part}.method", "one defined for a segmentation", method
            )

    @property
    def own_augs(self) -> tuple[str, ...]:
        """Parts of the study's augs that are one's own."""
        parts = dict.fromkeys(part for name in self.aug.names for part in schema.parse(name))
        return tuple(part for part in parts if part not in schema.SPECS)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every name of the study that is one's own: augs, then the map method, then metrics."""
        method = () if self.maps.method in names.METHODS else (self.maps.method,)
        return (*self.own_augs, *method, *(name for name in self.measure.further if name not in names.FURTHER))
