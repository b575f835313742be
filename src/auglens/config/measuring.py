"""The groups of what is measured and scored of a cell."""

from __future__ import annotations

from dataclasses import dataclass

from auglens.config.checks import one_of, require
from auglens.own import names, source


@dataclass(frozen=True)
class MeasureConfig:
    overlap: tuple[float, ...]
    kld_eps: float
    further: tuple[str, ...]  # metrics beside the eight: with tables and a floor, but no part in the pair counts

    def __post_init__(self) -> None:
        require(len(self.overlap) > 0, "measure.overlap", "at least one percentage", list(self.overlap))
        for value in self.overlap:
            require(0 < value < 100, "measure.overlap", "percentages in (0, 100)", value)
        unique = len(set(self.overlap)) == len(self.overlap)
        require(unique, "measure.overlap", "each percentage once", list(self.overlap))
        require(0 < self.kld_eps < 1, "measure.kld_eps", "a value in (0, 1)", self.kld_eps)
        unique = len(set(self.further)) == len(self.further)
        require(unique, "measure.further", "each metric once", list(self.further))
        for name in self.further:
            one_of("measure.further", name, (*names.FURTHER, *source.current().names(names.METRIC)))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the study's metrics, in the order of every table: eight with three overlaps."""
        overlaps = (f"overlap_{value:g}" for value in self.overlap)
        return ("mad", "msd", "pearson", "spearman", *overlaps, "class_kld")

    @property
    def every(self) -> tuple[str, ...]:
        """The metrics and the further ones."""
        return (*self.metrics, *self.further)


@dataclass(frozen=True)
class ScoreConfig:
    """What is scored of a cell's explanations, and on which test images."""

    methods: tuple[str, ...]  # map methods beside maps.method
    images: int | None  # test images, evenly spread; None = all
    least_mask: float  # share of the image: those with a smaller mask are left out; 0 = every image counts
    faithfulness: tuple[str, ...]
    steps: int  # of insertion and deletion
    sanity_images: int  # on which the layers are randomised in cascade; 0 = none
    seed: int

    def __post_init__(self) -> None:
        for method in self.methods:
            one_of("score.methods", method, names.METHODS)
        unique = len(set(self.methods)) == len(self.methods)
        require(unique, "score.methods", "each method once", list(self.methods))
        for score in self.faithfulness:
            one_of("score.faithfulness", score, names.FAITHFULNESS)
        unique = len(set(self.faithfulness)) == len(self.faithfulness)
        require(unique, "score.faithfulness", "each score once", list(self.faithfulness))
        require(self.images is None or self.images >= 1, "score.images", "1 image or more, or null", self.images)
        require(0 <= self.least_mask < 1, "score.least_mask", "a share in [0, 1)", self.least_mask)
        require(1 <= self.steps <= 1024, "score.steps", "1 to 1024", self.steps)
        require(self.sanity_images >= 0, "score.sanity_images", "0 or more images", self.sanity_images)
        require(0 <= self.seed < 2**31, "score.seed", "a whole number from 0 to 2147483647", self.seed)


@dataclass(frozen=True)
class RobustnessConfig:
    """The robustness set: every image with each cell of a grid erased."""

    size: int | None  # pixels of the data's images: side of a cell; None = not evaluated
    images: int | None  # of each part, evenly spread; None = all
    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        require(self.size is None or self.size >= 1, "robustness.size", "1 pixel or more, or null", self.size)
        require(
            self.images is None or self.images >= 1, "robustness.images", "1 image or more, or null", self.images
        )
        require(len(self.parts) > 0, "robustness.parts", "validation, test or both", list(self.parts))
        unique = len(set(self.parts)) == len(self.parts)
        require(unique, "robustness.parts", "each part once", list(self.parts))
        for part in self.parts:
            one_of("robustness.parts", part, ("validation", "test"))
