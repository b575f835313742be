from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.figures.drawn import saved

from auglens import figures
from auglens.figures import alt_text
from auglens.metrics import confusion_matrix, map_metric_names
from auglens.stats import (
    average_seeds,
    correlation_map,
    pair_counts,
    performance,
    segment_values,
)

CONTROLS = ("identity", "noise", "reseed")
AUGS = ("affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop", *CONTROLS)
METRICS = (*map_metric_names(), "class_kld")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def make_study(images: int = 200, seeds: int = 2) -> pd.DataFrame:
    """A synthetic study: plausible ranges, an image effect shared by all augs, some undefined values."""
    rng = np.random.default_rng(0)
    label, effect = rng.integers(0, 10, images), rng.normal(size=images)
    reference_correct = rng.random(images) < 0.7
    frames = []
    for aug, seed in [("reference", 0), *((aug, seed) for aug in AUGS for seed in range(seeds))]:
        shift = 0.3 if aug in CONTROLS else 0.0
        moved = 1 / (1 + np.exp(-(effect + rng.normal(size=images)) + 1 + shift))
        correct = reference_correct if aug == "reference" else rng.random(images) < 0.75
        values = {
            "mad": 0.4 * moved, "msd": 0.2 * moved**2,
            "pearson": 1 - 1.6 * moved, "spearman": 1 - 1.5 * moved,
            "overlap_20": 0.8 - 0.6 * moved, "overlap_10": 0.7 - 0.6 * moved, "overlap_5": 0.6 - 0.5 * moved,
            "class_kld": 0.3 * moved * rng.exponential(size=images),
        }  # fmt: skip
        frame = pd.DataFrame(
            {"aug": aug, "seed": seed, "image": range(images), "label": label, "correct": correct}
        )
        frame["predicted"] = np.where(correct, label, (label + rng.integers(1, 10, images)) % 10)
        frame["reference_correct"] = None if aug == "reference" else reference_correct
        for metric in METRICS:
            frame[metric] = np.nan if aug == "reference" else values[metric]
        frame.loc[rng.random(images) < 0.02, "pearson"] = np.nan
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def make_history() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for aug in ("reference", *AUGS):
        for seed in range(1 if aug == "reference" else 2):
            for epoch in range(12):
                reached = 0.85 * (1 - np.exp(-(epoch + 1) / 4)) + 0.01 * rng.normal()
                rows.append((aug, seed, epoch, reached + 0.05, reached, 1.2 - reached, 1.3 - reached))
    names = ["train_accuracy", "validation_accuracy", "train_loss", "validation_loss"]
    return pd.DataFrame(rows, columns=["aug", "seed", "epoch", *names])


STUDY = make_study()
AVERAGED = average_seeds(STUDY, METRICS)
MAPS = {metric: correlation_map(AVERAGED, metric) for metric in METRICS}
RNG = np.random.default_rng(2)
IMAGES = RNG.integers(0, 255, (6, 3, 32, 32), dtype=np.uint8)
REFERENCE_MAP = RNG.random((8, 8))
GRID = {aug: RNG.random((8, 8)) for aug in AUGS}


def confusion() -> Figure:
    first = STUDY[STUDY["aug"] == "affine"]
    matrix = confusion_matrix(first["label"].to_numpy(), first["predicted"].to_numpy(), 10)
    return figures.confusion_figure(matrix, CLASSES, "affine, 2 seeds")


SCORED = ("iou_area", "energy", "average_drop", "deletion")


def make_models() -> pd.DataFrame:
    """What `scores_by_model` gives: the score of model k of an aug is its place, floors constant or undefined."""
    rows = [
        (aug, seed, method, score, value + 0.01 * place + 0.002 * seed, 50, 0)
        for place, (aug, seeds) in enumerate({"reference": 1, "affine": 2, "color_jitter": 2, "noise": 2}.items())
        for seed in range(seeds)
        for score, value in zip(SCORED, (0.3, 0.2, 40.0, 0.5), strict=True)
        for method in ("gradcam", "gradcam++")
    ]
    floors = {"ones": (0.1, 0.1, np.nan, np.nan), "centre": (0.25, 0.18, 60, 0.6), "random": (0.08, 0.1, 70, 0.7)}
    rows += [
        ("reference", seed, floor, score, value, 50, 0)
        for floor, values in floors.items()
        for score, value in zip(SCORED, values, strict=True)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows, columns=["aug", "seed", "method", "score", "mean", "images", "undefined"])


def make_sanity() -> pd.DataFrame:
    steps = enumerate(("fc", "layer4", "stem"), start=1)
    rows = [
        (aug, seed, step, layer, 1 - 0.3 * step + 0.01 * place)
        for step, layer in steps
        for place, (aug, seed) in enumerate([("reference", 0), ("affine", 1), ("affine", 2), ("noise", 1)])
    ]
    return pd.DataFrame(rows, columns=["aug", "seed", "step", "layer", "spearman_mean"])


# name → how to draw it, words that must be in it, words that its alt text must hold
FIGURES: dict[str, tuple[Callable[[], Figure], list[str], str]] = {
    "performance_bars": (
        lambda: figures.performance_bars(performance(STUDY, 10)),
        ["Accuracy", "F1 (macro)", "reference", "color jitter", "replicates per aug: 1 to 2"],
        "Mean accuracy: reference 0.",
    ),
    "metric_boxes": (
        lambda: figures.metric_boxes(AVERAGED),
        ["MAD", "Overlap 5 %", "Class-KLD (nats)", "random crop", "reseed", "n = 200 images"],
        "Box plots of the metrics over test images for 10 augs.",
    ),
    "metric_boxes_single": (lambda: figures.metric_boxes(AVERAGED, ["mad"]), ["MAD", "affine"], "MAD from "),
    "correlation_heatmaps": (
        lambda: figures.correlation_heatmaps(MAPS),
        ["Pearson over test images", "Spearman", "gaussian blur", "noise"],
        "one per metric: MAD 0.",
    ),
    "correlation_heatmap": (
        lambda: figures.correlation_heatmap(MAPS["mad"].mask(MAPS["mad"] == MAPS["mad"].min().min()), "mad"),
        ["MAD: correlation between augs", "n/a", ">1<"],
        "Heat map of the correlation of MAD between 10 augs",
    ),
    "pair_counts_chart": (
        lambda: figures.pair_counts_chart(*pair_counts(MAPS)),
        ["Strong: among the most correlated", "Weak: among the least correlated", "of 8", " – "],
        "Weak: among the least correlated: ",
    ),
    "pair_counts_not_defined": (
        lambda: figures.pair_counts_chart(*pair_counts({"mad": MAPS["mad"].iloc[:3, :3]})),
        ["not defined: 3 pairs of augs", "need at least 8"],
        "not defined (3 pairs of augs",
    ),
    "segment_boxes": (
        lambda: figures.segment_boxes(segment_values(STUDY, METRICS), "overlap_20"),
        ["Overlap 20 % by correctness", "both right", "one right", "both wrong", "n = "],
        "affine, both right: 0.",
    ),
    "extreme_grid": (
        lambda: figures.extreme_grid(
            IMAGES[0], REFERENCE_MAP, GRID, dict.fromkeys(AUGS, 0.25) | {"noise": float("nan")},
            metric="mad", title="Highest mean MAD: test image 17",
        ),
        ["test image", "reference", "elastic", "0.250", "n/a", "finished map"],
        "Highest mean MAD: test image 17: a test image with the maps of the reference and of 10 augs.",
    ),
    "training_curves": (
        lambda: figures.training_curves(make_history()),
        ["epoch", "accuracy", "validation of the others", "equalize"],
        "Validation ends between 0.",
    ),
    "training_loss": (lambda: figures.training_curves(make_history(), "loss"), ["loss"], "validation loss"),
    "confusion_figure": (confusion, ["predicted", "label", "automobile"], "Most frequent error: "),
    "score_dots": (
        lambda: figures.score_dots(make_models(), "gradcam"),
        ["IoU (area) ↑", "Energy in the mask ↑", "Average Drop (%) ↓", "Deletion ↓", "color jitter", "centre"],
        "Scores of the gradcam maps per aug, with floors. Best: IoU (area) noise 0.331, Energy in the mask noise"
        " 0.231, Average Drop reference 40, Deletion reference 0.5.",
    ),
    "sanity_curves": (
        lambda: figures.sanity_curves(make_sanity()),
        ["randomised from the head down to", "layer4", "stem", "Spearman with the original maps", "controls"],
        "Lines falling from 1 as layers are randomised; with all randomised between 0.10 and 0.13.",
    ),
    "augmentation_sheet": (
        lambda: figures.augmentation_sheet(IMAGES, dict.fromkeys(AUGS[:7], IMAGES)),
        ["source", "gaussian blur"],
        "6 sample images, untouched and under each aug: affine, cutmix, ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_draws_the_same_bytes_twice_with_its_words_and_alt_text(name):
    draw, words, alt = FIGURES[name]
    figure = draw()
    svg = saved(figure, "svg")
    assert svg == saved(draw(), "svg")
    text = svg.decode()
    for word in words:
        assert word in text, word
    assert alt in alt_text(figure)
    assert ">nan<" not in text.lower()


def levels(axes: Axes) -> list[float]:
    """Where the dashed lines of the floors stand."""
    lines = [line for line in axes.lines if line.get_linestyle() == "--"]
    return [float(np.unique(line.get_xdata()).item()) for line in lines]


def test_scores_stand_with_their_floors_in_one_axes_each():
    figure = figures.score_dots(make_models(), "gradcam")
    shown = [axes for axes in figure.axes if axes.axison]
    assert (len(figure.axes), len(shown)) == (6, 4)  # two rows of three, two places empty
    assert [levels(axes) for axes in shown] == [[0.1, 0.25, 0.08], [0.1, 0.18, 0.1], [60, 70], [0.6, 0.7]]
    dots = [line for line in shown[0].lines if line.get_marker() == "o"]
    assert len(dots) == 1
    assert dots[0].get_xdata() == pytest.approx([0.3, 0.31, 0.312, 0.32, 0.322, 0.33, 0.332])
    assert list(dots[0].get_ydata()) == [0, 1, 1, 2, 2, 3, 3]
    bars = [segment[1][0] for segment in shown[0].collections[0].get_segments()]
    assert bars == pytest.approx([0.3, 0.311, 0.321, 0.331])  # the mean over an aug's models
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["whole image", "centre", "random"]
    assert figure.legends[0].get_title().get_text() == "explanations that look at nothing"


def test_scores_without_masks_and_floors_that_are_undefined():
    models = make_models()
    some = models[models["score"].isin(["average_drop"]) & ~models["method"].isin(["centre", "random"])]
    figure = figures.score_dots(some, "gradcam")
    assert len(figure.axes) == 1
    assert levels(figure.axes[0]) == []
    assert not figure.legends
    assert alt_text(figure).endswith("Best: Average Drop reference 40.")


def test_a_score_that_is_undefined_for_every_model_is_not_drawn():
    models = make_models()
    models.loc[models["score"] == "energy", "mean"] = np.nan
    figure = figures.score_dots(models, "gradcam")
    titles = [axes.get_title("left") for axes in figure.axes if axes.axison]
    assert titles == ["IoU (area) ↑", "Average Drop (%) ↓", "Deletion ↓"]
    assert "Energy" not in alt_text(figure)


def test_a_sanity_check_is_a_line_per_model_that_starts_at_one():
    figure = figures.sanity_curves(make_sanity())
    assert len(figure.axes) == 1
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 4]
    assert len(lines) == 4
    for place, line in enumerate(lines):
        assert list(line.get_xdata()) == [0, 1, 2, 3]
        assert line.get_ydata() == pytest.approx([1, *(1 - 0.3 * step + 0.01 * place for step in (1, 2, 3))])
    colours = [figures.style.aug_colour(aug) for aug in ("reference", "affine", "affine", "noise")]
    assert [line.get_color() for line in lines] == colours
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["none", "fc", "layer4", "stem"]


def test_drawing_leaves_no_figure_behind_in_pyplot():
    code = (
        "import sys, pandas as pd, auglens.figures as figures\n"
        "models = pd.DataFrame([('a', 0, 'cam', 'energy', 0.5)],"
        " columns=['aug', 'seed', 'method', 'score', 'mean'])\n"
        "sanity = pd.DataFrame([('a', 0, 1, 'fc', 0.5)],"
        " columns=['aug', 'seed', 'step', 'layer', 'spearman_mean'])\n"
        "figures.score_dots(models, 'cam'), figures.sanity_curves(sanity)\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["metric_boxes_single", "extreme_grid"])
def test_draws_the_same_png_twice(name):
    draw = FIGURES[name][0]
    assert saved(draw(), "png") == saved(draw(), "png")


def test_drawing_leaves_the_style_of_the_process_alone():
    before = dict(rcParams)
    FIGURES["metric_boxes_single"][0]()
    assert dict(rcParams) == before


def test_boxes_stand_where_the_percentiles_are():
    values = pd.DataFrame({"aug": "affine", "image": range(101), "mad": np.arange(101.0), "mad_seeds": 1})
    values.loc[101] = ["affine", 101, np.nan, 0]
    axes = figures.metric_boxes(values).axes[0]
    box = axes.patches[0]
    assert (box.get_x(), box.get_width()) == (25, 50)
    whiskers, ends, median = (line.get_segments() for line in axes.collections)
    assert [whiskers[0][0][0], whiskers[0][1][0]] == [5, 95]
    assert [ends[0][0][0], ends[1][0][0]] == [5, 95]
    assert median[0][0][0] == 50
    assert axes.get_title(loc="right") == "n = 101 images"


def test_all_heat_maps_share_one_scale():
    panels = figures.correlation_heatmaps(MAPS).axes[:8]
    limits = {panel.images[0].get_clim() for panel in panels}
    off = [matrix.to_numpy()[~np.eye(len(matrix), dtype=bool)] for matrix in MAPS.values()]
    assert len(limits) == 1
    low, high = limits.pop()
    assert np.min(off) - 0.1 < low <= np.min(off)
    assert np.max(off) <= high < np.max(off) + 0.1


def test_an_aug_without_values_is_said():
    none = AVERAGED.assign(mad=AVERAGED["mad"].mask(AVERAGED["aug"] == "cutmix"))
    texts = [text.get_text() for text in figures.metric_boxes(none, ["mad"]).axes[0].texts]
    assert texts == ["no finite value"]


def test_a_sheet_of_other_images_is_refused():
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        figures.augmentation_sheet(IMAGES, {"affine": IMAGES[:2]})
    assert str(error.value) == (
        "augmented: affine has shape [2, 3, 32, 32], the source is [6, 3, 32, 32]; "
        "pass the same images for every aug"
    )


def test_pictures_of_cells_are_those_of_the_figures():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def pixels(figure: Figure) -> np.ndarray:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)

    draw = figures.CellPictures(CLASSES)
    counts = RNG.integers(0, 400, (2, 10, 10)) + 900 * np.eye(10, dtype=int)
    for matrix in counts:  # the second on the layout of the first
        found = draw.confusion(matrix, "affine-1").astype(int)
        expected = pixels(figures.confusion_figure(matrix, CLASSES, "affine-1"))
        assert found.shape == expected.shape
        # The same cells, labels and title; the numbers are set by another hand: the pixels at their edges differ.
        assert (np.abs(found - expected).max(axis=2) > 40).mean() < 0.03
        assert abs(found.mean() - expected.mean()) < 0.5
    first, second = draw.confusion(counts[0], "a"), draw.confusion(counts[1], "b")
    assert (first != second).any()
    np.testing.assert_array_equal(first, draw.confusion(counts[0], "a"))

    history = make_history()
    run = history[(history["aug"] == "affine") & (history["seed"] == 0)]
    figure = figures.training_curves(run)
    figure.axes[0].set_ylim(0, 1)
    np.testing.assert_array_equal(draw.curves(run), pixels(figure))
    other = history[(history["aug"] == "elastic") & (history["seed"] == 1)]
    assert (draw.curves(other) != draw.curves(run)).any()
    assert draw.curves(run[:4]).shape == draw.curves(run).shape


def test_many_classes_are_drawn_without_numbers():
    draw = figures.CellPictures([f"class {n}" for n in range(21)])
    found = draw.confusion(np.eye(21, dtype=int), "affine-1")
    assert found.ndim == 3


def many_augs(count: int) -> list[str]:
    return [f"own_{n}" for n in range(count)]


def test_of_many_augs_a_grid_shows_both_ends():
    augs = many_augs(30)
    values = {aug: float(n) for n, aug in enumerate(augs)} | {"own_29": float("nan")}
    figure = figures.extreme_grid(
        IMAGES[0], REFERENCE_MAP, dict.fromkeys(augs, REFERENCE_MAP), values, metric="mad", title="Image 3"
    )
    shown = [axes.get_title("left").split("\n")[0] for axes in figure.axes[:-1]]
    ends = [f"own {n}" for n in (*range(9), *range(20, 29))]
    assert shown == ["test image", "reference", *ends]
    assert "the maps of the reference and of 18 of 30 augs, those at both ends" in alt_text(figure)
    assert "own 10 10.000" not in alt_text(figure)


def test_of_many_augs_a_heat_map_has_no_numbers_and_smaller_cells():
    augs = many_augs(30)
    matrix = pd.DataFrame(np.corrcoef(RNG.random((30, 90))), index=augs, columns=augs)
    figure = figures.correlation_heatmaps({"mad": matrix, "msd": matrix})
    assert not figure.axes[0].texts
    assert max(figure.get_size_inches()) < 15
    assert len(figure.axes[0].get_yticklabels()) == 30
