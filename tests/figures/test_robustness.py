"""The figures of erased images: marks and colours where the numbers are, alt texts, what is not defined."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from tests.figures.drawn import saved

from auglens import figures
from auglens.figures import alt_text
from auglens.figures.style import BLACK, BLUE, GREY

NAN = float("nan")
AUGS = {"reference": 1, "ada": 2, "affine+color_jitter": 3, "noise": 2}
NAMES = list(AUGS)
PARTS = ("validation", "test")


def make_models(
    scores: tuple[str, ...] = ("accuracy", "consistency"), parts: tuple[str, ...] = PARTS
) -> pd.DataFrame:
    """What `robustness_by_model` gives: whole 0.8 + 0.01 · place, erased 0.6 + 0.02 · place, seeds 0.004 apart."""
    rows = []
    for place, (aug, models) in enumerate(AUGS.items()):
        for seed in range(models):
            for part in parts:
                for score in scores:
                    whole = 0.8 + 0.01 * place + 0.004 * seed if score != "consistency" else NAN
                    erased = 0.6 + 0.02 * place + 0.004 * seed + 0.1 * (part == "test")
                    lost = 7 * seed if score == "hausdorff" else 0
                    rows.append((aug, seed, part, score, whole, erased, 0.3, erased - whole, 40, lost))
    names = ["aug", "seed", "part", "score", "whole", "erased", "worst", "drop", "images", "undefined"]
    return pd.DataFrame(rows, columns=names)


def make_where(side: int = 3, parts: tuple[str, ...] = PARTS) -> pd.DataFrame:
    """What `where_erasing_hurts` gives: the cell in the middle loses 0.1 · (place + 1), twice that in the test."""
    rows = [
        (aug, part, row, column, _change(place, part, row, column, side // 2), 40 * models, 2 * place)
        for place, (aug, models) in enumerate(AUGS.items())
        for part in parts
        for row in range(side)
        for column in range(side)
    ]
    return pd.DataFrame(rows, columns=["aug", "part", "row", "column", "drop", "n", "undefined"])


def _change(place: int, part: str, row: int, column: int, middle: int) -> float:
    if (row, column) == (middle, middle):
        return -0.1 * (place + 1) * (1 + (part == "test"))
    return 0.02 if (row, column) == (0, 1) else 0.0


# name → how to draw it, words that must be in it, words that its alt text must hold
FIGURES: dict[str, tuple[Callable[[], Figure], list[str], list[str]]] = {
    "dots": (
        lambda: figures.robustness_dots(make_models()),
        ["Accuracy ↑, validation", "Consistency ↑, test", "whole image", "a cell of the grid erased", "ada",
         "affine + color jitter", "n = 1 to 3 per aug", "Images: 40 validation, 40 test"],
        ["Accuracy (validation) whole reference 0.8 to noise 0.832, erased reference 0.6 to noise 0.662",
         "Consistency (test) erased reference 0.7 to noise 0.762."],
    ),
    "dots_segmentation": (
        lambda: figures.robustness_dots(make_models(("dice", "hausdorff"), ("test",))),
        ["Dice ↑<", "Hausdorff distance (pixels) ↓<", "at most in a model: Hausdorff distance 14."],
        ["Hausdorff distance (test) whole reference 0.8"],
    ),
    "maps": (
        lambda: figures.erasing_maps(make_where(), "accuracy"),
        ["Accuracy: change when a cell is erased", "validation", "test", "erased − whole", "−0.80", "noise",
         "n = 40 to 120 pairs of image and model per cell. Left out as", "up to 6 per cell."],
        ["3 × 3 cells, a map per aug. The cell that costs most, validation: reference -0.1 (row 2, column 2) to"
         " noise -0.4 (row 2, column 2); test: reference -0.2"],
    ),
    "maps_one_part": (
        lambda: figures.erasing_maps(make_where(8, ("test",)), "dice"),
        ["Dice: change when a cell is erased"],
        ["8 × 8 cells, a map per aug. The cell that costs most, test: reference -0.2 (row 5, column 5) to"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_draws_the_same_bytes_twice_with_its_words_and_alt_text(name: str) -> None:
    draw, words, alts = FIGURES[name]
    figure = draw()
    svg = saved(figure)
    assert svg == saved(draw())
    text = svg.decode()
    for word in words:
        assert word in text, word
    for alt in alts:
        assert alt in alt_text(figure)
    assert ">nan<" not in text.lower()
    assert "nan" not in alt_text(figure)
    assert figure.get_size_inches()[0] <= 7.0  # 672 px: what the report shows on a narrow screen


def dots(axes: Axes, *, filled: bool) -> dict[tuple[float, float], str]:
    """(x, y) → colour of the models drawn filled or open."""
    found = {}
    for line in axes.lines:
        if line.get_marker() == "o" and (line.get_markerfacecolor() != "white") == filled:
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                found[round(float(x), 6), round(float(y), 2)] = str(line.get_color())
    return found


def test_a_dot_is_a_model_open_above_and_filled_below() -> None:
    accuracy, _, consistency, tested = figures.robustness_dots(make_models()).axes
    colours = [BLACK, BLUE, BLUE, GREY]
    cells = [(place, seed) for place, models in enumerate(AUGS.values()) for seed in range(models)]
    for filled, start, step, y in ((False, 0.8, 0.01, -0.17), (True, 0.6, 0.02, 0.17)):
        expected = {
            (round(start + step * place + 0.004 * seed, 6), place + y): colours[place] for place, seed in cells
        }
        assert dots(accuracy, filled=filled) == pytest.approx(expected)
    assert dots(consistency, filled=False) == {}
    assert {y for _, y in dots(consistency, filled=True)} == {0.0, 1.0, 2.0, 3.0}
    assert min(x for x, _ in dots(tested, filled=True)) == pytest.approx(0.7)
    assert [label.get_text() for label in accuracy.get_yticklabels()] == [
        "reference", "ada", "affine + color jitter", "noise",
    ]  # fmt: skip


def test_upright_lines_stand_at_the_means() -> None:
    axes = figures.robustness_dots(make_models(("dice",), ("test",))).axes[0]
    ends = [line.get_segments()[0] for line in axes.collections]
    assert [segment[0][0] for segment in ends] == pytest.approx(
        [0.8, 0.812, 0.824, 0.832, 0.7, 0.722, 0.744, 0.762]
    )
    assert [segment[:, 1].mean() for segment in ends] == pytest.approx(
        [place + side for side in (-0.17, 0.17) for place in range(4)]
    )


def test_the_parts_of_a_score_share_their_scale_and_scores_do_not() -> None:
    axes = figures.robustness_dots(make_models(("dice", "accuracy"))).axes
    limits = [one.get_xlim() for one in axes]
    assert limits[0] == limits[1]
    assert limits[0][0] < 0.6
    assert limits[0][1] > 0.832  # validation has the lowest and both the highest
    alone = figures.robustness_dots(make_models(("accuracy", "dice")).assign(
        erased=lambda t: t["erased"] - 0.5 * (t["score"] == "dice")
    )).axes  # fmt: skip
    assert alone[2].get_xlim()[0] < 0.2 < alone[0].get_xlim()[0]


def test_models_without_a_value_are_not_drawn() -> None:
    models = make_models(("dice",), ("test",))
    models.loc[models["aug"] == "ada", ["erased", "drop"]] = NAN
    figure = figures.robustness_dots(models)
    assert "ada" not in [label.get_text() for label in figure.axes[0].get_yticklabels()]
    models.loc[models["aug"] == "noise", "whole"] = NAN
    axes = figures.robustness_dots(models).axes[0]
    assert len(dots(axes, filled=True)) == 6
    assert len(dots(axes, filled=False)) == 4


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images and axes.axison]


def test_maps_have_the_changes_in_their_cells_on_one_scale() -> None:
    figure = figures.erasing_maps(make_where(), "accuracy")
    drawn = panels(figure)
    titles = [axes.get_title(loc="center") for axes in drawn]
    assert titles == 2 * ["reference", "ada", "affine + color\njitter", "noise"]
    assert [axes.get_ylabel() for axes in drawn] == ["validation", "", "", "", "test", "", "", ""]
    assert drawn[3].title.get_fontstyle() == "italic"
    assert {axes.images[0].get_clim() for axes in drawn} == {(-0.8, 0.8)}
    values = np.zeros((3, 3))
    values[0, 1], values[1, 1] = 0.02, -0.6
    np.testing.assert_allclose(drawn[6].images[0].get_array(), values)
    texts = [(text.get_position(), text.get_text(), to_hex(text.get_color())) for text in drawn[6].texts]
    assert ((1, 1), "−0.60", "#ffffff") in texts
    assert ((1, 0), "0.02", BLACK) in texts


@pytest.mark.parametrize(("score", "redder"), [("accuracy", True), ("hausdorff", False)])
def test_what_hurts_is_red_whichever_way_a_score_points(score: str, redder: bool) -> None:
    image = panels(figures.erasing_maps(make_where(), score))[0].images[0]
    red, _, blue = to_rgb(image.cmap(image.norm(-0.5)))
    assert (red > blue) == redder
    labels = [axes.get_ylabel() for axes in figures.erasing_maps(make_where(), score).axes]
    assert ("erased − whole" if redder else "erased − whole (pixels)") in labels
    turned = make_where().assign(drop=lambda t: -t["drop"])
    assert ("noise -0.4" in alt_text(figures.erasing_maps(make_where(), score))) == redder
    assert ("noise 0.4 (row 2, column 2)" in alt_text(figures.erasing_maps(turned, score))) != redder


def test_numbers_stand_where_they_fit() -> None:
    assert len(panels(figures.erasing_maps(make_where(4), "accuracy"))[0].texts) == 16
    assert not panels(figures.erasing_maps(make_where(8), "accuracy"))[0].texts
    assert len(panels(figures.erasing_maps(make_where(8), "accuracy", columns=2))[0].texts) == 64
    small = make_where(4).assign(drop=lambda t: t["drop"] / 10)
    assert "−.080" in [text.get_text() for text in panels(figures.erasing_maps(small, "dice"))[-1].texts]


@pytest.mark.parametrize("scale", [1, 0.1, 40])
def test_numbers_keep_within_their_cells(scale: float) -> None:
    where = make_where(4).assign(drop=lambda t: -scale * np.abs(t["drop"]))
    figure = figures.erasing_maps(where, "hausdorff")
    figure.draw_without_rendering()
    for axes in panels(figure):
        cell = axes.get_window_extent().width / 4
        assert max(text.get_window_extent().width for text in axes.texts) < cell


def test_an_undefined_cell_is_grey_and_an_aug_without_a_value_is_left_out() -> None:
    where = make_where()
    where.loc[(where["aug"] == "ada") & (where["row"] == 2), "drop"] = NAN
    where.loc[where["aug"] == "noise", "drop"] = NAN
    drawn = panels(figures.erasing_maps(where, "accuracy"))
    assert len(drawn) == 6
    assert drawn[1].images[0].get_array().mask.tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert to_hex(drawn[1].get_facecolor()) == "#bdbdbd"
    assert [text.get_text() for text in drawn[1].texts].count("n/a") == 3


def test_many_augs_take_several_rows_of_each_part() -> None:
    where = pd.concat([make_where().assign(aug=f"own_{n}") for n in range(7)])
    drawn = panels(figures.erasing_maps(where, "accuracy"))
    assert len(drawn) == 14
    assert [n for n, axes in enumerate(drawn) if axes.get_ylabel()] == [0, 5, 7, 12]
    figure = figures.erasing_maps(where, "accuracy")
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in panels(figure)]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])


def test_no_change_at_all_is_drawn() -> None:
    where = make_where().assign(drop=0.0)
    assert panels(figures.erasing_maps(where, "accuracy"))[0].images[0].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize("undefined", [False, True])
def test_an_empty_and_an_undefined_table_are_said_in_words(undefined: bool) -> None:
    models, where = make_models(), make_where()
    if undefined:
        models, where = models.assign(erased=NAN), where.assign(drop=NAN)
    else:
        models, where = models.iloc[:0], where.iloc[:0]
    dotted, mapped = figures.robustness_dots(models), figures.erasing_maps(where, "dice")
    assert alt_text(dotted) == (
        "Scores of whole and of erased images: not defined (no model has a score of erased images)."
    )
    assert alt_text(mapped) == (
        "Dice: change when a cell is erased: not defined (no cell of the grid has a change of Dice)."
    )
    assert b"not defined: " in saved(dotted)
    assert b"not defined: " in saved(mapped)


def test_drawing_leaves_the_style_of_the_process_alone() -> None:
    before = dict(rcParams)
    figures.robustness_dots(make_models())
    figures.erasing_maps(make_where(), "accuracy")
    assert dict(rcParams) == before


def test_drawing_leaves_no_figure_behind_in_pyplot() -> None:
    code = (
        "import sys, pandas as pd, auglens.figures as figures\n"
        "where = pd.DataFrame([('ada', 'test', 0, 0, -0.5, 3, 0)],"
        " columns=['aug', 'part', 'row', 'column', 'drop', 'n', 'undefined'])\n"
        "figures.erasing_maps(where, 'dice')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
