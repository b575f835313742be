"""The figure of equal steps: points where the numbers are, in the score's unit, and the mark that they deserve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from tests.figures.drawn import saved

from auglens import figures
from auglens.figures import alt_text
from auglens.stats.control import COLUMNS

NAN = float("nan")
# (aug, score, method) → difference, low, high, as the table stores them
VALUES = {
    ("ada", "accuracy", "performance"): (0.03, 0.01, 0.05),
    ("saliencymix", "accuracy", "performance"): (-0.02, -0.03, -0.01),
    ("affine", "accuracy", "performance"): (0.01, -0.01, 0.03),
    ("blur", "accuracy", "performance"): (0.04, NAN, NAN),
    ("noise", "accuracy", "performance"): (0.02, 0.0, 0.04),
    ("ada", "deletion", "gradcam"): (0.03, 0.01, 0.05),
    ("saliencymix", "deletion", "gradcam"): (-0.02, -0.03, -0.01),
    ("affine", "deletion", "gradcam"): (NAN, NAN, NAN),
    ("ada", "average_drop", "gradcam"): (7.0, -1.0, 15.0),
    ("ada", "deletion", "random"): (0.5, 0.4, 0.6),
}
TABLE = pd.DataFrame(
    [(aug, "identity", score, method, *found, 3, 3) for (aug, score, method), found in VALUES.items()],
    columns=COLUMNS,
)
AUGS = ["ada", "saliencymix", "affine", "blur", "noise"]


def panels(table: pd.DataFrame = TABLE) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figures.equal_steps(table).axes}


def points(axes: Axes) -> dict[str, tuple[float, str, bool]]:
    """aug → (x, marker, filled) of every point."""
    lines = [line for line in axes.lines if line.get_linestyle() == "None"]
    return {
        AUGS[round(y)]: (x, str(line.get_marker()), line.get_markerfacecolor() != "white")
        for line in lines
        for x, y in np.asarray(line.get_xydata())
    }


def test_draws_the_same_bytes_twice_with_its_words_and_alt_text() -> None:
    figure = figures.equal_steps(TABLE)
    svg = saved(figure)
    assert svg == saved(figures.equal_steps(TABLE.copy()))
    for words in ("Accuracy ↑", "Deletion ↓", "Average Drop ↓", "points", "Difference from identity"):
        assert f">{words}" in svg.decode()
    assert "Accuracy saliencymix -2 to blur +4; Deletion saliencymix -2 to ada +3" in alt_text(figure)


def test_points_lie_at_the_differences_and_say_which_way_is_better() -> None:
    found = panels()
    assert set(found) == {"Accuracy ↑", "Deletion ↓", "Average Drop ↓"}  # no trivial explanation has a panel
    accuracy, deletion = points(found["Accuracy ↑"]), points(found["Deletion ↓"])
    assert {aug: mark for aug, (_, *mark) in accuracy.items()} == {
        "ada": ["o", True], "saliencymix": ["s", True], "affine": ["o", False], "blur": ["o", False],
        "noise": ["|", True],
    }  # fmt: skip
    assert [accuracy[aug][0] for aug in AUGS] == pytest.approx([3, -2, 1, 4, 2])
    assert {aug: mark for aug, (_, *mark) in deletion.items()} == {"ada": ["s", True], "saliencymix": ["o", True]}
    assert points(found["Average Drop ↓"])["ada"][0] == pytest.approx(7)  # it is per cent already


def test_the_interval_of_the_other_controls_is_shaded() -> None:
    accuracy, deletion = (panels()[name] for name in ("Accuracy ↑", "Deletion ↓"))
    (band,) = accuracy.patches
    assert band.get_extents().transformed(accuracy.transData.inverted()).intervalx == pytest.approx([0, 4])
    assert not deletion.patches


def test_without_the_control_it_says_so() -> None:
    assert "the study has no control identity" in alt_text(figures.equal_steps(TABLE.iloc[:0]))
    assert "not defined" in alt_text(figures.equal_steps(TABLE[TABLE["method"] == "random"]))
