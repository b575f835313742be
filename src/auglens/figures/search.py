"""What a search found: the Pareto front, the importance of each factor, parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

from auglens.figures.style import BLACK, BLUE, GREY, HEAT, ORANGE, STYLE, describe_figure


@rc_context(STYLE)
def pareto_front(trials: pd.DataFrame, objectives: Mapping[str, str], front: Sequence[int]) -> Figure:
    """Every trial by its first two objectives; those that no other beats in both are joined.

    trials: columns trial and the objectives; objectives: name → maximize or minimize; front: rows of `trials`.
    """
    one, two = list(objectives)[:2]
    figure = Figure(figsize=(5.4, 4.2))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.plot(trials[one], trials[two], "o", color=GREY, markersize=4, label="trials")
    best = trials.iloc[list(front)].sort_values(one)
    axes.plot(best[one], best[two], "-o", color=BLUE, markersize=5, linewidth=1, label="Pareto front")
    for trial, x, y in zip(best["trial"], best[one], best[two], strict=True):
        axes.annotate(str(trial), (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
    axes.set_xlabel(f"{one} ({objectives[one]})")
    axes.set_ylabel(f"{two} ({objectives[two]})")
    axes.grid(visible=True)
    axes.legend(fontsize=8)
    return describe_figure(
        figure, f"{len(trials)} trials by {one} and {two}; {len(best)} of them are beaten in both by none."
    )


@rc_context(STYLE)
def importances(found: Mapping[str, Mapping[str, float]]) -> Figure:
    """objective → factor → its share of the spread of the objective over the trials (PED-ANOVA or fANOVA)."""
    factors = list(dict.fromkeys(name for shares in found.values() for name in shares))
    figure = Figure(figsize=(6.0, 1.0 + 0.24 * len(factors) * max(len(found), 1)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    height = 0.8 / max(len(found), 1)
    for place, (objective, shares) in enumerate(found.items()):
        y = np.arange(len(factors)) + (place - (len(found) - 1) / 2) * height
        colour = (BLUE, ORANGE, GREY)[place % 3]
        axes.barh(y, [shares.get(name, 0.0) for name in factors], height, color=colour, label=objective)
    axes.set_yticks(range(len(factors)), factors)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the spread over the trials")
    axes.grid(axis="x", visible=True)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8)
    told = "; ".join(
        f"{objective}: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        for objective, shares in found.items()
    )
    return describe_figure(figure, f"Importance of each factor. {told}.")


@rc_context(STYLE)
def parallel_coordinates(trials: pd.DataFrame, factors: Sequence[str], objective: str) -> Figure:
    """A line per trial through its levels of every factor to its objective, coloured by the objective."""
    names = [*factors, objective]
    figure = Figure(figsize=(1.6 * len(names) + 1.6, 3.8))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    places = np.empty((len(trials), len(names)))
    for column, name in enumerate(names):
        numeric = pd.to_numeric(trials[name], errors="coerce")
        if numeric.notna().all():
            low, high = float(numeric.min()), float(numeric.max())
            places[:, column] = (numeric - low) / (high - low) if high > low else 0.5
            ends = [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if high > low else [(0.5, f"{low:.4g}")]
        else:
            levels = sorted(trials[name].astype(str).unique())
            ends = [(at / max(len(levels) - 1, 1), level) for at, level in enumerate(levels)]
            places[:, column] = trials[name].astype(str).map({level: at for at, level in ends})
        for at, text in ends:
            axes.text(column, at, f" {text}", fontsize=7, va="center", color=BLACK)
    shades = colormaps[HEAT](0.25 + 0.75 * places[:, -1])
    for line, colour in zip(places, shades, strict=True):
        axes.plot(range(len(names)), line, color=colour, linewidth=1)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right", fontsize=8)
    axes.set_yticks([])
    axes.grid(axis="x", visible=True)
    return describe_figure(
        figure, f"{len(trials)} trials through their levels of {', '.join(factors)} to {objective}."
    )
