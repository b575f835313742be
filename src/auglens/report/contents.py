"""What stands where on the page: sections with their figures, tables with their captions."""

from __future__ import annotations

from typing import NamedTuple

FLOOR = "How far did the maps move"
ALIKE = "Which augs behave alike"
QUALITY = "How good the explanations are"
ROBUSTNESS = "What erased pixels cost"
ACTIVE = "Looking where the model looks"
QUESTIONS = "Open questions"
PERFORMANCE = "Performance and training"
AUGS = "What the augs make of an image"


_METRICS = {"mad": "MAD", "msd": "MSD", "class_kld": "Class-KLD"}


def metric_label(metric: str) -> str:
    """`overlap_20` → `Overlap 20 %`."""
    if metric.startswith("overlap_"):
        return f"Overlap {metric.removeprefix('overlap_')} %"
    return _METRICS.get(metric, metric.replace("_", " ").capitalize())


class Shown(NamedTuple):
    """A figure: folder in reports/, file in its `figures/`, what to read from it."""

    folder: str
    file: str
    caption: str


class Told(NamedTuple):
    """A table: folder in reports/, file without its end, title, caption, the section that it belongs to."""

    folder: str
    file: str
    title: str
    caption: str
    group: str


SECTIONS: tuple[tuple[str, str, str, tuple[Shown, ...]], ...] = (
    (
        "floor",
        FLOOR,
        "Every aug beside the controls, which change nothing of interest. identity and noise train as many steps,"
        " on copies; reseed has other initial weights and another order. What lies within their band is noise.",
        (
            Shown(
                "analysis",
                "floor.svg",
                "Mean over test images and seeds with its interval; the band spans the"
                " controls. Filled marks lie above every control.",
            ),
            Shown(
                "comparison", "metrics.svg", "The same per test image: quartiles, median, 5th to 95th percentile."
            ),
            Shown(
                "analysis",
                "further.svg",
                "Further measures: structural similarity,"
                " Jensen–Shannon divergence, earth mover's distance, shift of the centre of mass.",
            ),
        ),
    ),
    (
        "alike",
        ALIKE,
        "Whether two augs move the maps of the same images. Two models of one aug are the yardstick for two augs;"
        " claims are held against models permuted among the augs.",
        (
            Shown(
                "analysis",
                "models.svg",
                "Correlation over test images of single models. The diagonal is two"
                " seeds of one aug: where it is no darker than its row, the aug leaves no mark of its own.",
            ),
            Shown(
                "analysis",
                "clusters.svg",
                "Average linkage; numbers: support under resampled images and seeds"
                " (%). Thick and coloured: claimed.",
            ),
            Shown(
                "comparison",
                "correlations.svg",
                "The study's correlation maps: Pearson over test images of seed means.",
            ),
            Shown("analysis", "correlation_intervals.svg", "The same with intervals over images and seeds."),
            Shown(
                "analysis",
                "pairs.svg",
                "How often a pair is among the four most and least correlated, with its"
                " spread under resampling and p after Holm's correction.",
            ),
            Shown("analysis", "agreement.svg", "Whether two metrics see the same structure."),
        ),
    ),
    (
        "quality",
        QUALITY,
        "Held against the objects' masks, where the data have them, and against what the network does when pixels"
        " go or come. Dashed: explanations that look at nothing.",
        (
            Shown(
                "comparison",
                "scores.svg",
                "Mean over the scored images; a dot per model. ↑ more is better, ↓ less is better.",
            ),
            Shown(
                "comparison",
                "sanity.svg",
                "Sanity check: maps of a model whose layers are randomised, from the head down, against its own. A"
                " method whose line stays high does not depend on what was learnt.",
            ),
        ),
    ),
    (
        "robustness",
        ROBUSTNESS,
        "Every test image with each cell of a grid erased, one at a time: how much of its answer a model keeps.",
        (
            Shown(
                "comparison",
                "robustness.svg",
                "Whole images (open) and erased copies (filled); a dot per model. Consistency: the same answer as"
                " for the whole image.",
            ),
            Shown("comparison", "erasing.svg", "Where erasing hurts: mean change per cell of the grid."),
        ),
    ),
    (
        "active",
        ACTIVE,
        "Augs that make their images from what the model attends to, at steps between epochs.",
        (
            Shown("comparison", "convergence.svg", "Validation from the first step on; upright lines: steps."),
            Shown(
                "comparison",
                "windows.svg",
                "Overlap (IoU) of the pixels that two augs chose in the same image, step by step; framed: two"
                " seeds of one aug.",
            ),
        ),
    ),
    (
        "questions",
        QUESTIONS,
        "What the published study asked and left open.",
        (
            Shown(
                "analysis",
                "direct_mad.svg",
                "Augs compared directly, no baseline between: mean absolute"
                " difference of the maps. The diagonal is two seeds of one aug.",
            ),
            Shown("analysis", "direct_pearson.svg", "The same by Pearson's correlation of the maps."),
            Shown("analysis", "targets.svg", "The predicted against the true class as the target explained."),
            Shown(
                "analysis",
                "divergence.svg",
                "Does a moved map go with a changed answer? AUC per aug; 0.5 is chance.",
            ),
            Shown("analysis", "divergence_augs.svg", "The same over augs: divergence against change of accuracy."),
            Shown(
                "analysis",
                "separability.svg",
                "Can a classifier tell an aug's maps from the reference's? reseed's AUC is the floor.",
            ),
            Shown("analysis", "chains.svg", "Chains of augs against their parts."),
            Shown("analysis", "bias.svg", "How much of a metric a fixed map explains."),
            Shown(
                "analysis",
                "mean_maps.svg",
                "The mean map over all test images: the data set's own bias, and each aug's.",
            ),
        ),
    ),
    (
        "performance",
        PERFORMANCE,
        "Scores on the test images.",
        (
            Shown("comparison", "performance.svg", "Mean over seeds, a dot per model, the reference dashed."),
            Shown(
                "comparison",
                "equal_steps.svg",
                "Difference from identity, which makes as many steps on copies; shaded: other controls.",
            ),
            Shown("comparison", "curves.svg", "Training: validation solid, training dashed."),
        ),
    ),
)

TABLES = (
    Told("analysis", "floor_summary", "Noise floor", "above: further moved than every control.", FLOOR),
    Told(
        "analysis",
        "floor",
        "Noise floor, control by control",
        "difference > 0: the aug's maps moved further.",
        FLOOR,
    ),
    Told("analysis", "means", "Means and medians", "Over test images of seed means, with intervals.", FLOOR),
    Told("comparison", "metric_summary", "Distributions", "Over test images of seed means; n = images.", FLOOR),
    Told("comparison", "segments", "By correctness", "Both models right, one right, both wrong.", FLOOR),
    Told(
        "comparison",
        "degenerate",
        "Degenerate maps",
        "Constant, flat (raw range below 1e-6 of the median) and undefined values of every cell.",
        FLOOR,
    ),
    Told(
        "analysis", "resemblance", "Self-resemblance", "Two models of one aug against models of two augs.", ALIKE
    ),
    Told("analysis", "models", "Correlation of single models", "aug a = aug b: two seeds of one aug.", ALIKE),
    Told("analysis", "correlation", "Correlation of seed means", "The correlation maps with intervals.", ALIKE),
    Told("analysis", "clusters", "Clusters", "strength: length of the stem; p: under permuted models.", ALIKE),
    Told("analysis", "pairs", "Pairs", "Counts among the strong and weak; shares under resampling; p.", ALIKE),
    Told("comparison", "pairs_strong", "Strong pairs", "In how many metrics among the most correlated.", ALIKE),
    Told("comparison", "pairs_weak", "Weak pairs", "In how many metrics among the least correlated.", ALIKE),
    Told("analysis", "agreement", "Agreement of metrics", "Mantel's r and the trees' correlation.", ALIKE),
    Told("comparison", "scores", "Scores", "Over models of means over images; floors among the methods.", QUALITY),
    Told("comparison", "sanity", "Sanity check", "Correlation with the original maps, layer by layer.", QUALITY),
    Told("comparison", "robustness", "Erased pixels", "Means over models; drop = erased − whole.", ROBUSTNESS),
    Told(
        "comparison",
        "robustness_differences",
        "Erased pixels: against the reference and identity",
        "Difference of means with its interval over models.",
        ROBUSTNESS,
    ),
    Told("comparison", "windows", "Overlap of what was chosen", "Mean IoU over images, per step.", ACTIVE),
    Told("comparison", "steps", "Steps", "made: images; flat: maps that say nothing; −1: not asked.", ACTIVE),
    Told("analysis", "direct", "All pairs directly", "Maps against maps, no baseline between.", QUESTIONS),
    Told(
        "analysis",
        "direct_resemblance",
        "Self-resemblance of the maps themselves",
        "Distances have their sign turned, so that higher is more alike.",
        QUESTIONS,
    ),
    Told(
        "analysis",
        "targets",
        "Predicted against true target",
        "Means under both, and their difference.",
        QUESTIONS,
    ),
    Told("analysis", "divergence", "Divergence and correctness", "AUC per aug and metric.", QUESTIONS),
    Told(
        "analysis",
        "divergence_augs",
        "Divergence and accuracy over augs",
        "Spearman; few augs say little.",
        QUESTIONS,
    ),
    Told("analysis", "separability", "Maps told from the reference's", "Cross-validated AUC.", QUESTIONS),
    Told("analysis", "chains", "Chains against their parts", "chain − part, with intervals.", QUESTIONS),
    Told("analysis", "bias", "What a fixed map explains", "explained: R² over images.", QUESTIONS),
    Told(
        "comparison",
        "equal_steps",
        "Against as many steps on copies",
        "Difference from the control identity, paired by seed, with its interval over models.",
        PERFORMANCE,
    ),
    Told("comparison", "performance_summary", "Performance", "Over distinct models; macro averages.", PERFORMANCE),
    Told("comparison", "performance", "Performance of every model", "", PERFORMANCE),
)
