"""The open questions: augs against each other, both targets, a classifier of maps, chains and their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from auglens.figures.marks import (
    BAND,
    SMALL,
    WIDTH,
    Mark,
    column,
    defined,
    draw_forest,
    draw_spans,
    extremes,
    few_ticks,
    half_heat,
    legend,
    name_lines,
    not_defined,
    note,
    number,
    ordered,
    square,
)
from auglens.figures.style import BLACK, GREY, STYLE, aug_label, describe_figure, grid_of, metric_label
from auglens.stats import CONTROLS
from auglens.stats.floor import ABOVE, BELOW, UNKNOWN, WITHIN
from auglens.stats.resampling import RESEED

TOLD, NOT_TOLD = Mark("interval leaves out 0"), Mark("interval holds 0, or none", filled=False)
PREDICTED, TRUE = Mark("predicted target"), Mark("true target", "D", filled=False)
SEPARATED = {
    ABOVE: Mark("above reseed"),
    BELOW: Mark("below reseed", "v"),
    WITHIN: Mark("not told from reseed", filled=False),
    UNKNOWN: Mark("cannot be known", "D", filled=False),
}
FLOOR = Mark("reseed: the floor", "|", GREY)


@rc_context(STYLE)
def direct_heat(direct: pd.DataFrame, metric: str) -> Figure:
    """Augs directly against each other, no baseline between: the reference and the controls too; framed: two seeds
    of one aug. direct: columns metric, aug_a, aug_b, mean, low, high."""
    title = f"{metric_label(metric)}: maps of every aug against every other"
    table = defined(direct, "mean")
    table = table[table["metric"] == metric] if len(table) else table
    if table.empty:
        return not_defined(title, direct, f"no two models have maps to compare by {metric}")
    augs = ordered([*table["aug_a"], *table["aug_b"]])
    side = 1.4 + (0.33 if len(augs) <= 13 else 4.4 / len(augs)) * len(augs)
    figure = Figure(figsize=(WIDTH, side))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    image = half_heat(axes, square(table, "mean", augs), augs)
    axes.set_title(title)
    figure.colorbar(
        image, ax=axes, label=f"{metric_label(metric, unit=True)}, mean over pairs of models", shrink=0.8
    )
    note(figure, "Framed: two seeds of one aug; n/a or white: not defined.")
    same = (table["aug_a"] == table["aug_b"]).to_numpy()
    told = []
    for name, group in (("two augs", table[~same]), ("two seeds of one aug", table[same])):
        told.append(
            f"{name}: {' to '.join(extremes(group, 'mean', 'aug_a', 'aug_b', digits='.3g')) or 'not defined'}"
        )
    return describe_figure(figure, f"Heat map of {title}. {'; '.join(told)}.")


@rc_context(STYLE)
def targets_dumbbell(targets: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 2) -> Figure:
    """One panel per metric: every aug's mean with the maps of the predicted (filled) and the true class (hollow).

    targets: `target_table`'s columns. The line between is solid where the interval of the difference leaves out 0.
    """
    title = "Predicted against true target"
    table = defined(targets, "predicted", "true")
    if metrics is not None and len(table):
        table = table[table["metric"].isin(metrics)]
    if table.empty:
        return not_defined(title, targets, "only one target was explained")
    names, augs = list(dict.fromkeys(table["metric"])), ordered(table["aug"])
    figure = Figure(figsize=(WIDTH, -(-len(names) // columns) * (0.6 + 0.165 * len(augs)) + 0.7))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    told = []
    for n, (axes, metric) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        group = table[table["metric"] == metric]
        y = np.array([augs.index(aug) for aug in group["aug"]], dtype=np.float64)
        sure = _leaves_out(group, 0)
        for rows, line in ((sure, "solid"), (~sure, "dotted")):
            predicted, true = (column(group, name)[rows] for name in ("predicted", "true"))
            draw_spans(axes, predicted, true, y[rows], color="#777777", linewidth=1.4, line=line)
        for controls in (False, True):
            rows = group["aug"].isin(CONTROLS).to_numpy() == controls
            for mark, name in ((TRUE, "true"), (PREDICTED, "predicted")):
                options = _grey(mark, controls).options()
                axes.plot(column(group, name)[rows], y[rows], linestyle="none", **options)
        name_lines(axes, augs, visible=n % columns == 0)
        axes.set_title(metric_label(metric, unit=True))
        sides = column(group, "predicted"), column(group, "true")
        widest = int(np.argmax(np.abs(sides[0] - sides[1])))
        values = " and ".join(number(float(side[widest])) for side in sides)
        told.append(f"{metric_label(metric)}: {aug_label(str(group['aug'].iloc[widest]))} {values}")
    changed = column(table, "images_changed")
    share = ""
    if np.isfinite(changed).any():
        least, most = 100 * np.nanmin(changed), 100 * np.nanmax(changed)
        share = f"The targets differ in {least:.0f} to {most:.0f} % of the images."
    legend(figure, [PREDICTED.handle(), TRUE.handle()])
    note(
        figure,
        f"Means over images and seeds. Line: solid where the interval of the difference leaves out 0. {share}",
    )
    return describe_figure(
        figure, f"{title} per metric and aug; the widest gaps, predicted first. {'; '.join(told)}. {share}".strip()
    )


def _leaves_out(table: pd.DataFrame, value: float) -> np.ndarray:
    return np.asarray((column(table, "low") > value) | (column(table, "high") < value))


def _grey(mark: Mark, control: bool) -> Mark:
    return Mark(mark.label, mark.marker, GREY, mark.filled) if control else mark


@rc_context(STYLE)
def separability_forest(separability: pd.DataFrame) -> Figure:
    """How well a classifier tells an aug's maps from the reference's: AUC per aug, of raw and of scaled maps.

    separability: `separability_table`'s columns. Line and shade: reseed's AUC and its interval, the floor.
    """
    title = "Maps told from the reference's"
    table = defined(separability, "auc")
    if table.empty:
        return not_defined(title, separability, "no classifier could be trained")
    augs, kinds = ordered(table["aug"]), list(dict.fromkeys(table["features"]))
    figure = Figure(figsize=(WIDTH, 1.55 + 0.185 * len(augs)))
    figure.set_layout_engine("constrained", w_pad=0.06)
    used: list[Mark] = []
    told = []
    for n, (axes, kind) in enumerate(
        zip(grid_of(figure, len(kinds), len(kinds), sharex=True), kinds, strict=True)
    ):
        group = table[table["features"] == kind]
        reseed = group[group["aug"] == RESEED]
        for low, high, auc in zip(*(column(reseed, name) for name in ("low", "high", "auc")), strict=True):
            if np.isfinite([low, high]).all():
                axes.axvspan(low, high, color=BAND, linewidth=0, zorder=0)
            axes.axvline(auc, color=GREY, linewidth=1, zorder=0)
        axes.axvline(0.5, color=BLACK, linewidth=0.9, linestyle="dotted", zorder=0)
        plain = [FLOOR if aug == RESEED else SEPARATED.get(verdict, SEPARATED[UNKNOWN]) for aug, verdict in
                 zip(group["aug"], group["verdict"], strict=True)]  # fmt: skip
        marks = [_grey(mark, aug in CONTROLS) for mark, aug in zip(plain, group["aug"], strict=True)]
        draw_forest(axes, group, "auc", [augs.index(aug) for aug in group["aug"]], marks)
        name_lines(axes, augs, visible=n == 0)
        axes.set_title(f"{kind} maps".capitalize())
        axes.set_xlabel("AUC (0.5: chance)", fontsize=SMALL)
        used += plain
        ends = extremes(group[~group["aug"].isin(CONTROLS)], "auc", "aug") or ["no aug"]
        floor = f"{column(reseed, 'auc')[0]:.2f}" if len(reseed) else "not defined"
        above = sum(mark == SEPARATED[ABOVE] for mark in marks)  # controls are grey and compare unequal
        told.append(f"{kind} maps: {' to '.join(ends)}, floor {floor}, {above} above it")
    legend(figure, [mark.handle() for mark in (*SEPARATED.values(), FLOOR) if mark in used])
    note(
        figure,
        "Point: cross-validated AUC, mean over seeds; bar: its interval. Line and shade: reseed. "
        "Scaled: each map to [0, 1].",
    )
    return describe_figure(
        figure, f"Forest plot of the AUC of a classifier that tells maps from the reference's. {'; '.join(told)}."
    )


@rc_context(STYLE)
def chains_forest(chains: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 2) -> Figure:
    """One panel per metric: a chain's mean minus that of each of its parts, with intervals.

    chains: `chain_table`'s columns. Filled: the interval leaves out 0; hollow: it does not, or there is none.
    """
    title = "Chains against their parts"
    table = defined(chains, "difference")
    if metrics is not None and len(table):
        table = table[table["metric"].isin(metrics)]
    if table.empty:
        return not_defined(title, chains, "the study has no chain together with one of its parts")
    names = [metric for metric in metrics or dict.fromkeys(table["metric"]) if (table["metric"] == metric).any()]
    place: dict[tuple[str, str], int] = {}
    labels: list[tuple[str, bool]] = []
    for chain, group in table.groupby("chain", sort=False):
        labels.append((aug_label(str(chain)), True))
        for part in dict.fromkeys(group["part"]):
            place[str(chain), str(part)] = len(labels)
            labels.append((f"− {aug_label(str(part))}", False))
    figure = Figure(figsize=(WIDTH, -(-len(names) // columns) * (0.6 + 0.18 * len(labels)) + 0.75))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    told, used = [], []
    for n, (axes, metric) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        group = table[table["metric"] == metric]
        marks = [TOLD if sure else NOT_TOLD for sure in _leaves_out(group, 0)]
        used += marks
        axes.axvline(0, color=BLACK, linewidth=0.9, linestyle="dotted", zorder=0)
        rows = [place[pair] for pair in zip(group["chain"], group["part"], strict=True)]
        draw_forest(axes, group, "difference", rows, marks)
        axes.set_yticks([])
        if n % columns == 0:
            axes.set_yticks(range(len(labels)), [label for label, _ in labels])
            for text, (_, heading) in zip(axes.get_yticklabels(), labels, strict=True):
                text.set_fontweight("bold" if heading else "normal")
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.tick_params(axis="both", labelsize=SMALL)
        axes.tick_params(axis="y", length=0)
        few_ticks(axes)
        axes.set_title(metric_label(metric, unit=True))
        ends = " to ".join(extremes(group, "difference", "chain", "part", digits="+.3g"))
        told.append(f"{metric_label(metric)}: {ends}, {marks.count(TOLD)} of {len(marks)} leave out 0")
    legend(figure, [mark.handle() for mark in (TOLD, NOT_TOLD) if mark in used])
    note(figure, "Point: mean of the chain minus mean of the part, over images and seeds; bar: its interval.")
    return describe_figure(
        figure, f"Forest plot of the means of chains minus those of their parts (chain – part). {'; '.join(told)}."
    )
