"""What lies above the noise floor: the mean of every metric and aug beside the band of the controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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
    legend,
    name_lines,
    not_defined,
    note,
    number,
    ordered,
)
from auglens.figures.style import STYLE, VERMILION, describe_figure, grid_of, metric_label
from auglens.stats import CONTROLS
from auglens.stats.floor import ABOVE, BELOW, UNKNOWN, WITHIN, floor_summary

VERDICTS = {
    ABOVE: Mark("above every control"),
    BELOW: Mark("below every control", "v", VERMILION),
    WITHIN: Mark("not told from the controls", filled=False),
    UNKNOWN: Mark("cannot be known", "D", filled=False),
}


@rc_context(STYLE)
def floor_forest(
    floor: pd.DataFrame, means: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 2
) -> Figure:
    """One panel per metric: every aug's mean with its interval, the controls below, their band shaded.

    floor: `floor_table`, which gives the verdicts and which way the metric points; means: `means_table`, of which
    the means are drawn. metrics: which, and in which order; all by default. Band: from the lowest to the highest
    end of a control's interval. Without an interval only the point is drawn, without a verdict it cannot be known.
    """
    table = defined(means, "estimate")
    if len(table) and "statistic" in table:
        table = table[table["statistic"] == "mean"]
    if metrics is not None:
        table = table[table["metric"].isin(metrics)]
    title = "Means beside the controls"
    if table.empty:
        return not_defined(title, means, "no aug has a mean of any metric")
    names = [metric for metric in metrics or table["metric"].unique() if (table["metric"] == metric).any()]
    augs = ordered(table["aug"])
    found = floor_summary(floor) if len(floor) else pd.DataFrame(columns=["aug", "metric", "verdict"])
    verdicts = {(aug, metric): verdict for aug, metric, verdict in found.itertuples(index=False)}
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, rows * (0.72 + 0.165 * len(augs)) + 0.75))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    used: list[Mark] = []
    told = []
    for place, (axes, metric) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        group = table[table["metric"] == metric]
        marks = [_mark(str(aug), verdicts.get((aug, metric), UNKNOWN)) for aug in group["aug"]]
        band = _band(group)
        if band is not None:
            axes.axvspan(*band, color=BAND, linewidth=0, zorder=0)
        draw_forest(axes, group, "estimate", [augs.index(aug) for aug in group["aug"]], marks)
        name_lines(axes, augs, visible=place % columns == 0)
        axes.set_title(metric_label(metric, unit=True))
        closer = _closer(floor, metric)
        if closer is not None:
            words = "← further moved" if closer else "further moved →"
            axes.set_xlabel(words, loc="left" if closer else "right", fontsize=SMALL)
        used += marks
        told.append(_told(group, metric, marks, band))
    handles: list[object] = [mark.handle() for mark in (*VERDICTS.values(), CONTROL) if mark in used]
    if CONTROL in used:
        handles.append(Patch(color=BAND, label="from the lowest to the highest control"))
    legend(figure, handles, columns=3)
    note(
        figure,
        "Point: mean over test images and seeds; bar: its interval; verdicts: after Holm's correction.",
    )
    return describe_figure(figure, f"Mean of each metric per aug beside the controls. {'; '.join(told)}.")


def _mark(aug: str, verdict: str) -> Mark:
    return CONTROL if aug in CONTROLS else VERDICTS.get(verdict, VERDICTS[UNKNOWN])


def _band(group: pd.DataFrame) -> tuple[float, float] | None:
    """From the lowest to the highest of the controls' intervals, or of their means where they have none."""
    controls = group[group["aug"].isin(CONTROLS)]
    ends = np.concatenate([column(controls, name) for name in ("estimate", "low", "high")])
    ends = ends[np.isfinite(ends)]
    return (float(ends.min()), float(ends.max())) if len(ends) else None


def _closer(floor: pd.DataFrame, metric: str) -> bool | None:
    """Whether higher values mean more alike maps: a difference > 0 is further moved, whichever way means point."""
    if floor.empty:
        return None
    group = floor[floor["metric"] == metric]
    turned = (column(group, "mean") - column(group, "control_mean")) * column(group, "difference")
    turned = turned[np.isfinite(turned) & (turned != 0)]
    return bool(turned[0] < 0) if len(turned) else None


def _told(group: pd.DataFrame, metric: str, marks: list[Mark], band: tuple[float, float] | None) -> str:
    floor = f"controls {number(band[0])} to {number(band[1])}" if band else "no controls"
    augs = group[~group["aug"].isin(CONTROLS)]
    if augs.empty:
        return f"{metric_label(metric)}: {floor}"
    ends = " to ".join(extremes(augs, "estimate", "aug", digits=".3g"))
    above = sum(mark == VERDICTS[ABOVE] for mark in marks)
    return f"{metric_label(metric)}: {floor}, augs {ends}, {above} of {len(augs)} above the floor"
