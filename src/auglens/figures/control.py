"""What each aug gains over a control that makes as many gradient steps."""

from __future__ import annotations

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from auglens.figures.marks import (
    BAND,
    CONTROL,
    SMALL,
    WIDTH,
    Mark,
    column,
    defined,
    draw_forest,
    extremes,
    few_ticks,
    legend,
    name_lines,
    not_defined,
    note,
    ordered,
)
from auglens.figures.style import BLACK, STYLE, aug_label, describe_figure, grid_of
from auglens.stats import CONTROLS
from auglens.stats.control import PERFORMANCE
from auglens.stats.scores import FLOORS, SCORES, method_label

BETTER, WORSE = Mark("better"), Mark("worse", "s", BLACK)
OPEN = Mark("interval has 0, or none", filled=False)


@rc_context(STYLE)
def equal_steps(table: pd.DataFrame, columns: int = 3) -> Figure:
    """A panel per score: every aug's difference from the control with its interval; shaded the other controls'.

    table: `against_control`'s rows; trivial explanations are left out. Better, worse: the interval is off 0.
    """
    rows = defined(table[~table["method"].isin(FLOORS)], "difference") if len(table) else table
    if rows.empty:
        return not_defined("Against as many steps on copies", table, "the study has no control identity")
    control = aug_label(str(rows["against"].iloc[0]))
    augs = ordered(rows["aug"])
    panels = [
        (str(score), str(method)) for score, method in rows[["score", "method"]].drop_duplicates().to_numpy()
    ]
    several = len({method for _, method in panels} - {PERFORMANCE}) > 1
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, lines * (0.62 + 0.18 * len(augs)) + 0.85))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    used: set[Mark] = set()
    told = []
    grid = grid_of(figure, len(panels), columns)
    for place, (axes, (score, method)) in enumerate(zip(grid, panels, strict=True)):
        found = SCORES[score]
        mine = rows[(rows["score"] == score) & (rows["method"] == method)].copy()
        for name in ("difference", "low", "high"):
            mine[name] = found.scale * column(mine, name)
        others = defined(mine[mine["aug"].isin(CONTROLS)], "low", "high")
        if len(others):
            axes.axvspan(others["low"].min(), others["high"].max(), color=BAND, linewidth=0, zorder=0)
        axes.axvline(0, color=BLACK, linewidth=0.8, zorder=1)
        marks = [_mark(*row, lower=bool(found.lower)) for row in mine[["aug", "low", "high"]].to_numpy()]
        draw_forest(axes, mine, "difference", [augs.index(aug) for aug in mine["aug"]], marks)
        name_lines(axes, augs, visible=place % columns == 0)
        few_ticks(axes)
        of = f", {method_label(method)}" if several and method != PERFORMANCE else ""
        axes.set_title(f"{found.label}{of} {'↓' if found.lower else '↑'}", fontsize=9)
        axes.set_xlabel(found.step, fontsize=SMALL)
        used |= set(marks)
        told.append(f"{found.label}{of} {' to '.join(extremes(mine, 'difference', 'aug', digits='+.3g'))}")
    handles: list[object] = [mark.handle() for mark in (BETTER, WORSE, OPEN, CONTROL) if mark in used]
    if CONTROL in used:
        handles.append(Patch(color=BAND, label="the controls' intervals"))
    legend(figure, handles)
    note(
        figure,
        f"Difference from {control}, which makes as many steps on copies; bar: interval over models. Better and"
        " worse are not corrected for the number of comparisons.",
    )
    return describe_figure(figure, f"Every aug's difference from {control} per score: {'; '.join(told)}.")


def _mark(aug: str, low: float, high: float, *, lower: bool) -> Mark:
    if aug in CONTROLS:
        return CONTROL
    if not (low > 0 or high < 0):
        return OPEN
    return BETTER if (high < 0) == lower else WORSE
