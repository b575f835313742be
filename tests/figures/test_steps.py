"""Figures of steps: numbers where the values are, one scale, lines of the right epochs, pictures in place."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from tests.figures.drawn import saved

from auglens import figures
from auglens.figures import alt_text
from auglens.stats import window_iou

NAN = float("nan")
AUGS = ("noise", "ada", "ada_gradcam", "proxy_attention")  # a control first in the table, last in the figure


def make_ious(steps: int, augs: tuple[str, ...] = AUGS) -> pd.DataFrame:
    """Step s after epoch 10 s; augs i and j have 0.1 (i + j) + 0.01 s, the control with itself is undefined."""
    return pd.DataFrame([
        {"step": s, "epoch": 10 * s, "aug_a": augs[i], "aug_b": augs[j], "images": 4, "undefined": 0, "seeds": 2,
         "iou": NAN if i == j == 0 else 0.1 * (i + j) + 0.01 * s}
        for s in range(1, steps + 1) for i in range(len(augs)) for j in range(i, len(augs))
    ])  # fmt: skip


def make_curves(epochs: int = 12) -> pd.DataFrame:
    """Epoch e: 0.5 + 0.01 e, aug n 0.1 n above, its seeds at −0.02, −0.01, +0.03 of it; the reference has one."""
    rows = [
        (f"{aug}-{seed}", aug, seed, epoch, 0.5 + 0.1 * n + 0.01 * epoch + apart, 1.0)
        for n, aug in enumerate(("reference", "ada", "ada_gradcam", "noise"))
        for seed, apart in enumerate((-0.02, -0.01, 0.03) if n else (0.0,))
        for epoch in range(1, epochs + 1)
    ]
    return pd.DataFrame(rows, columns=["cell", "aug", "seed", "epoch", "validation_dice", "validation_loss"])


RNG = np.random.default_rng(0)
ORIGINALS = RNG.integers(0, 256, (3, 3, 8, 12), dtype=np.uint8)
MADE = {name: RNG.integers(0, 256, (3, 3, 8, 12), dtype=np.uint8) for name in ("ada", "ada_guided_gradcam_again")}
MASKS = np.zeros((3, 8, 12), dtype=bool)
MASKS[0, 2:5, 3:9] = True  # image 1 has none
MASKS[2] = True
TITLES = ("image 4 (cat)", "image 7 (automobile)", "image 9 (dog)")

FIGURES: dict[str, tuple[Callable[[], Figure], list[str], str]] = {
    "iou_matrices": (
        lambda: figures.iou_matrices(make_ious(2)),
        ["step 1, after epoch 10", "step 2, after epoch 20", "ada gradcam", ">n/a<", ">0.51<", "mean IoU"],
        "Mean IoU of the pixels chosen by 4 augs at 2 steps, a heat map each: step 1 noise – ada 0.11 to "
        "ada gradcam – proxy attention 0.51; step 2 noise – ada 0.12 to ada gradcam – proxy attention 0.52.",
    ),
    "iou_undefined": (
        lambda: figures.iou_matrices(make_ious(2).assign(iou=NAN)),
        ["Mean IoU of the pixels chosen", "not defined: no two models changed the same image at the same step"],
        "Mean IoU of the pixels chosen: not defined (no two models changed the same image at the same step).",
    ),
    "convergence": (
        lambda: figures.convergence(make_curves(), "dice", 4, steps=[4, 8], zoom=3),
        ["validation dice", "epoch", "reference", "ada gradcam", "the first 3 epochs"],
        "Validation dice from epoch 4 on, a line per aug for 3 augs and the reference: after epoch 4 ada 0.640 to "
        "noise 0.840; after epoch 5 ada 0.650 to noise 0.850; after epoch 12 ada 0.720 to noise 0.920.",
    ),
    "convergence_undefined": (
        lambda: figures.convergence(make_curves(), "dice", 13),
        ["Validation dice from epoch 13 on", "not defined: no epoch from 13 on has a value"],
        "Validation dice from epoch 13 on: not defined (no epoch from 13 on has a value).",
    ),
    "convergence_of_the_reference": (
        lambda: figures.convergence(make_curves()[:12], "loss", 4),
        ["validation loss"],
        "Validation loss from epoch 4 on, a line per aug for 0 augs and the reference: no aug has a value.",
    ),
    "step_sheet": (
        lambda: figures.step_sheet(ORIGINALS, MADE, TITLES, MASKS),
        ["original", "ada", "ada guided", "gradcam again", "image 4 (cat)", "(automobile)"],
        "3 training images and what each aug makes of them: ada, ada guided gradcam again. Outlined: the masks of "
        "the images.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_draws_the_same_bytes_twice_with_its_words_and_alt_text(name: str) -> None:
    draw, words, alt = FIGURES[name]
    before = dict(rcParams)
    figure = draw()
    assert dict(rcParams) == before
    assert {tuple(axes.xaxis.label.get_fontfamily()) for axes in figure.axes} == {("DejaVu Sans", "sans-serif")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a layout that does not fit
        svg = saved(figure)
    assert svg == saved(draw())
    text = svg.decode()
    for word in words:
        assert word in text, word
    assert alt_text(figure) == alt
    assert ">nan<" not in text.lower()


def test_drawing_leaves_no_figure_behind_in_pyplot() -> None:
    code = (
        "import sys, numpy as np, pandas as pd, auglens.figures as figures\n"
        "images, mask = np.zeros((1, 3, 4, 4), np.uint8), np.eye(4, dtype=bool)[None]\n"
        "figures.step_sheet(images, {'ada': images}, ['one'], mask)\n"
        "rows = pd.DataFrame({'aug': ['ada'], 'seed': 0, 'epoch': 1, 'validation_dice': 0.5})\n"
        "figures.convergence(rows, 'dice', 0)\n"
        "columns = ['step', 'epoch', 'aug_a', 'aug_b', 'iou']\n"
        "figures.iou_matrices(pd.DataFrame([(1, 4, 'ada', 'cam', 0.5)], columns=columns))\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def panels_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def test_an_iou_stands_in_both_cells_of_its_pair_controls_last() -> None:
    one, two = panels_of(figures.iou_matrices(make_ious(2)))
    for axes, step in ((one, 1), (two, 2)):
        values = np.ma.filled(axes.images[0].get_array(), NAN)
        # ada, ada_gradcam and proxy_attention have 1, 2 and 3 in `make_ious`, noise has 0
        rank = np.array([1, 2, 3, 0])
        expected = 0.1 * (rank[:, None] + rank) + 0.01 * step
        expected[3, 3] = NAN
        assert values == pytest.approx(expected, nan_ok=True)
        told = {(text.get_position()[::-1]): text.get_text() for text in axes.texts}
        for place, value in np.ndenumerate(expected):
            assert told[place] == ("n/a" if np.isnan(value) else f"{value:.2f}")
        labels = [text.get_text() for text in axes.get_xticklabels()]
        assert labels == ["ada", "ada gradcam", "proxy attention", "noise"]
        assert [text.get_fontstyle() for text in axes.get_xticklabels()] == ["normal"] * 3 + ["italic"]
    assert [text.get_text() for text in one.get_yticklabels()] == labels
    assert [text.get_fontstyle() for text in one.get_yticklabels()] == ["normal"] * 3 + ["italic"]


def test_all_steps_share_the_scale_from_0_to_1() -> None:
    limits = [axes.images[0].get_clim() for axes in panels_of(figures.iou_matrices(make_ious(3)))]
    assert limits == [(0, 1)] * 3


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (1, [1]),
        (4, [1, 2, 3, 4]),
        (6, [1, 2, 3, 4, 5, 6]),
        (7, [1, 2, 3, 5, 6, 7]),
        (11, [1, 3, 5, 7, 9, 11]),
        (31, [1, 7, 13, 19, 25, 31]),
    ],
)
def test_at_most_six_steps_are_shown_evenly_spread(steps: int, shown: list[int]) -> None:
    figure = figures.iou_matrices(make_ious(steps, AUGS[:2]))
    titles = [axes.get_title("left") for axes in panels_of(figure)]
    assert titles == [f"step {step}, after epoch {10 * step}" for step in shown]
    some = f"{len(shown)} steps" if len(shown) == steps else f"{len(shown)} of {steps} steps"
    assert f"2 augs at {some}, a" in alt_text(figure)


@pytest.mark.parametrize(
    ("steps", "named"), [(1, [0]), (3, [0, 1, 2]), (4, [2, 3]), (5, [2, 3, 4]), (6, [3, 4, 5])]
)
def test_augs_are_named_on_the_left_and_below_alone(steps: int, named: list[int]) -> None:
    axes = panels_of(figures.iou_matrices(make_ious(steps)))
    below = [n for n, one in enumerate(axes) if one.xaxis.get_tick_params()["labelbottom"]]
    left = [n for n, one in enumerate(axes) if one.yaxis.get_tick_params()["labelleft"]]
    assert below == named
    assert left == {1: [0], 3: [0], 4: [0, 2], 5: [0, 3], 6: [0, 3]}[steps]


def test_many_augs_have_no_numbers() -> None:
    augs = tuple(f"own_{n}" for n in range(19))
    (axes,) = panels_of(figures.iou_matrices(make_ious(1, augs).assign(iou=0.5)))
    assert not axes.texts
    (axes,) = panels_of(figures.iou_matrices(make_ious(1, augs[:18]).assign(iou=0.5)))
    assert len(axes.texts) == 18 * 18


def test_a_table_of_window_iou_is_drawn() -> None:
    rows, masks = np.arange(3), np.eye(3, dtype=bool)[:, None]
    steps = {(aug, seed): {4: (rows, masks | (seed == 1))} for aug in ("ada", "cam") for seed in (0, 1)}
    (axes,) = panels_of(figures.iou_matrices(window_iou(steps)))
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(np.array([[1 / 3, 1], [1, 1 / 3]]))


def lines_of(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def uprights(axes: Axes) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axes.lines if str(line.get_label()).startswith("_")]


def test_a_line_is_the_mean_over_seeds_from_the_first_epoch_on() -> None:
    figure = figures.convergence(make_curves().sample(frac=1, random_state=0), "dice", 4)
    (axes,) = figure.axes
    lines = lines_of(axes)
    assert (next(iter(lines)), list(lines)[-1]) == ("reference", "noise")
    assert set(lines) == {"reference", "ada", "ada gradcam", "noise"}
    for n, name in enumerate(("reference", "ada", "ada gradcam", "noise")):
        assert list(lines[name].get_xdata()) == list(range(4, 13))
        assert lines[name].get_ydata() == pytest.approx([0.5 + 0.1 * n + 0.01 * epoch for epoch in range(4, 13)])
    assert [name for name, line in lines.items() if line.get_linestyle() == "--"] == ["reference"]
    assert len({line.get_color() for line in lines.values()}) == 4
    assert uprights(axes) == []


def test_the_band_spans_the_seeds() -> None:
    (axes,) = figures.convergence(make_curves(), "dice", 4).axes
    lines = lines_of(axes)
    bands = {to_hex(band.get_facecolor()[0]): band for band in axes.collections}
    assert len(bands) == 3  # none of the reference, which has one seed
    for n, name in enumerate(("ada", "ada gradcam", "noise"), start=1):
        points = bands[to_hex(lines[name].get_color())].get_paths()[0].vertices
        for epoch in (4, 12):
            heights = points[points[:, 0] == epoch][:, 1]
            middle = 0.5 + 0.1 * n + 0.01 * epoch
            assert (heights.min(), heights.max()) == pytest.approx((middle - 0.02, middle + 0.03))


def test_epochs_without_a_value_are_left_out() -> None:
    curves = make_curves()
    ada = curves["aug"] == "ada"
    curves.loc[ada & (curves["epoch"] == 6), "validation_dice"] = NAN
    curves.loc[ada & (curves["epoch"] == 7) & (curves["seed"] == 1), "validation_dice"] = np.inf
    line = lines_of(figures.convergence(curves, "dice", 5).axes[0])["ada"]
    assert list(line.get_xdata()) == [5, *range(7, 13)]
    assert line.get_ydata()[:2] == pytest.approx([0.65, 0.67 + (-0.02 + 0.03) / 2])


def test_steps_are_upright_lines_where_there_are_epochs() -> None:
    figure = figures.convergence(make_curves(), "dice", 4, steps=[2, 4, 8, 40], zoom=3)
    whole, near = figure.axes
    assert uprights(whole) == [4, 8]
    assert uprights(near) == [4]
    assert list(lines_of(near)["ada"].get_xdata()) == [4, 5, 6, 7]
    for name, line in lines_of(whole).items():
        other = lines_of(near)[name]
        assert (line.get_color(), line.get_linestyle()) == (other.get_color(), other.get_linestyle())


def test_many_augs_look_different() -> None:
    names = ["reference", *(f"own_{n}" for n in range(18)), "identity", "noise", "reseed"]
    curves = pd.concat([make_curves()[:12].assign(aug=name) for name in names])
    lines = lines_of(figures.convergence(curves, "dice", 1).axes[0])
    assert len({(line.get_color(), line.get_linestyle()) for line in lines.values()}) == len(names)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        figures.convergence(make_curves(), "accuracy", 4)
    assert str(error.value) == "score: expected one of dice, loss, got accuracy; name one of the curves"


def grid_of(figure: Figure) -> np.ndarray:
    return np.array(figure.axes, dtype=object).reshape(3, 3)


def test_a_sheet_has_a_row_per_image_and_a_column_per_aug() -> None:
    grid = grid_of(figures.step_sheet(ORIGINALS, MADE, TITLES))
    for column, images in enumerate((ORIGINALS, *MADE.values())):
        for row in range(3):
            shown = np.asarray(grid[row, column].images[0].get_array())
            np.testing.assert_array_equal(shown, images[row].transpose(1, 2, 0))
            assert not grid[row, column].collections
    heads = [axes.get_title("center") for axes in grid[0]]
    assert heads == ["original", "ada", "ada guided\ngradcam again"]
    assert [axes.get_ylabel().replace("\n", " ") for axes in grid[:, 0]] == list(TITLES)
    assert not any(axes.get_title("center") for axes in grid[1:].ravel())


def test_masks_are_outlined_in_every_picture_of_their_row() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a contour of nothing warns
        grid = grid_of(figures.step_sheet(ORIGINALS, MADE, TITLES, MASKS))
    for row, (low, high) in {0: ((2.5, 1.5), (8.5, 4.5)), 2: ((-0.5, -0.5), (11.5, 7.5))}.items():
        for axes in grid[row]:
            (outline,) = axes.collections
            points = np.concatenate([path.vertices for path in outline.get_paths()])
            assert tuple(points.min(0)) == low
            assert tuple(points.max(0)) == high
            assert axes.get_xlim() == (-0.5, 11.5)  # the rim is not shown
            assert axes.get_ylim() == (7.5, -0.5)
    assert not any(len(axes.collections) for axes in grid[1])


def test_a_sheet_of_no_images_says_so() -> None:
    figure = figures.step_sheet(ORIGINALS[:0], {"ada": ORIGINALS[:0]}, [])
    assert alt_text(figure).endswith("not defined (no image was changed).")


@pytest.mark.parametrize(
    ("made", "titles", "masks", "message"),
    [
        ({"ada": ORIGINALS[:2]}, TITLES, None, "made: expected ada of shape [3, 3, 8, 12], got [2, 3, 8, 12]"),
        (MADE, TITLES[:1], None, "titles: expected of shape [3], got [1]"),
        (MADE, TITLES, MASKS[:, :4], "masks: expected of shape [3, 8, 12], got [3, 4, 12]"),
    ],
)
def test_other_shapes_are_refused(
    made: dict[str, np.ndarray], titles: tuple[str, ...], masks: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        figures.step_sheet(ORIGINALS, made, titles, masks)
    assert str(error.value) == f"{message}; give one for each original"
