"""Which augs behave alike: dendrograms with the support of their clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auglens.figures.marks import SMALL, WIDTH, few_ticks, not_defined, note, number
from auglens.figures.style import BLACK, BLUE, STYLE, aug_label, describe_figure, metric_label
from auglens.stats import CONTROLS

ALL, PROFILES = "all", "profiles"
MOST_EACH = 16  # augs and controls: with more, a tree for every metric makes a figure of a metre
LARGE = (ALL, "all with controls")  # sources drawn over the whole width
SOURCES = {ALL: "All metrics together", "all with controls": "All metrics, with the controls",
            PROFILES: "Profiles of means"}  # fmt: skip


@rc_context(STYLE)
def dendrograms(
    trees: Mapping[str, Mapping[str, Any]],
    clusters: pd.DataFrame,
    sources: Sequence[str] | None = None,
    columns: int = 2,
) -> Figure:
    """One tree per source, that of all metrics the largest; numbers at the nodes: support in per cent.

    trees: source → {"labels", "linkage" (scipy's), "cophenetic"}; clusters: columns source, members ("a, b"),
    support, claimed; sources: which trees, all by default, but with more than MOST_EACH augs those of
    single metrics only on request. Claimed clusters are drawn thick and in colour. A tree with a height that is
    not finite is left out. The axis begins below the lowest merge, not at 0.
    """
    whole = {name: tree for name, tree in trees.items() if _whole(tree)}
    crowded = sources is None and max((len(tree["labels"]) for tree in whole.values()), default=0) > MOST_EACH
    wanted = [*LARGE, PROFILES] if crowded else whole if sources is None else sources
    drawn = {name: whole[name] for name in wanted if name in whole}
    if not drawn:
        return not_defined("Trees of the augs", clusters, "a tree needs three augs or more with correlations")
    large = [name for name in drawn if name in LARGE]
    small = [name for name in drawn if name not in LARGE]
    small.sort(key=lambda name: name != PROFILES)
    heights = [0.75 + 0.19 * len(drawn[name]["labels"]) for name in large]
    across = min(columns, max(len(small), 1))
    rows = [small[n : n + across] for n in range(0, len(small), across)]
    heights += [0.62 + 0.15 * max(len(drawn[name]["labels"]) for name in row) for row in rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.45))
    figure.set_layout_engine("constrained", h_pad=0.06)
    grid = figure.add_gridspec(len(heights), across, height_ratios=heights)
    told = []
    for n, name in enumerate(large):
        told.append(_tree(figure.add_subplot(grid[n, :]), name, drawn[name], clusters, size=SMALL))
    for n, row in enumerate(rows):
        for k, name in enumerate(row):
            axes = figure.add_subplot(grid[len(large) + n, k])
            told.append(_tree(axes, name, drawn[name], clusters, size=6.5))
    note(figure, "At a node: support under resampling, per cent. Thick and blue: claimed. c: cophenetic "
                 "correlation. Axis: height, 1 − correlation (profiles: distance), rarely from 0.")  # fmt: skip
    return describe_figure(figure, f"Dendrograms of the augs, one per source. {'; '.join(told)}.")


def _whole(tree: Mapping[str, Any]) -> bool:
    merges = np.asarray(tree.get("linkage", []), dtype=np.float64)
    return merges.ndim == 2 and len(merges) > 0 and bool(np.isfinite(merges).all())


def _tree(axes: Axes, name: str, tree: Mapping[str, Any], clusters: pd.DataFrame, size: float) -> str:
    """Draws one lying tree, leaves to the left, and says what it shows."""
    from scipy.cluster.hierarchy import dendrogram  # slow to import, and `compare` draws no tree

    merges, labels = np.asarray(tree["linkage"], dtype=np.float64), [str(label) for label in tree["labels"]]
    known: dict[frozenset[str], tuple[float, bool]] = {}
    own = clusters[clusters["source"] == name] if len(clusters) else clusters
    if len(own):
        supports, claims = own["support"].astype(float), own["claimed"].astype(str) == "True"
        for members, support, claim in zip(own["members"], supports, claims, strict=True):
            known[frozenset(str(members).split(", "))] = (float(support), bool(claim))
    order = dendrogram(merges, no_plot=True)["leaves"]
    places = {leaf: float(n) for n, leaf in enumerate(order)}
    lowest, top = float(merges[:, 2].min()), float(merges[:, 2].max())
    # Where a leaf's line begins means nothing; from 0 on, the merges would crowd at the far end.
    start = max(lowest - 0.3 * (top - lowest), 0.0) if top > lowest else 0.0
    at = {leaf: (start, places[leaf], frozenset([labels[leaf]])) for leaf in places}
    claimed = [members for members, (_, claim) in known.items() if claim]
    lines: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for n, (a, b, height, _) in enumerate(merges):
        (xa, ya, ma), (xb, yb, mb) = at[int(a)], at[int(b)]
        members = ma | mb
        inside = any(members <= cluster for cluster in claimed)
        lines[inside] += [(xa, ya), (height, ya), (height, yb), (xb, yb), (np.nan, np.nan)]
        at[len(labels) + n] = (float(height), (ya + yb) / 2, members)
        support, claim = known.get(members, (np.nan, False))
        if np.isfinite(support):
            axes.annotate(f"{100 * support:.0f}", (float(height), (ya + yb) / 2), (1.5, 0.8), fontsize=size - 0.5,
                          textcoords="offset points", va="bottom", fontweight="bold" if claim else "normal",
                          color=BLUE if claim else BLACK, zorder=4)  # fmt: skip
    for inside, points in lines.items():
        if points:
            x, y = np.array(points).T
            axes.plot(x, y, color=BLUE if inside else "#777777", linewidth=2.4 if inside else 1, zorder=2 + inside)
    for leaf, y in places.items():
        style = "italic" if labels[leaf] in CONTROLS else "normal"
        axes.annotate(aug_label(labels[leaf]), (start, y), (-3, 0), textcoords="offset points", ha="right",
                      va="center", fontsize=size, fontstyle=style)  # fmt: skip
    axes.set_xlim(start, top + (0.08 * (top - start) or 1))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=size)
    few_ticks(axes, 6 if name in LARGE else 3)
    axes.grid(visible=False)
    title = SOURCES.get(name, metric_label(name))
    found = tree.get("cophenetic")
    cophenetic = float("nan") if found is None else float(found)
    axes.set_title(
        f"{title} ({'cophenetic correlation' if name in LARGE else 'c'} {number(cophenetic)})", fontsize=size + 1.5
    )
    finite = {members: support for members, (support, _) in known.items() if np.isfinite(support)}
    said = f"{title}: cophenetic correlation {number(cophenetic)}"
    if finite:
        best = max(finite, key=lambda members: (finite[members], sorted(members)))
        said += f", best supported {_names(best, labels)} with {100 * finite[best]:.0f} %"
    if name == ALL or claimed:
        named = " and ".join(f"({_names(members, labels)})" for members in claimed)
        said += f", claimed {named}" if claimed else ", no cluster claimed"
    return said


def _names(members: frozenset[str], labels: list[str]) -> str:
    return ", ".join(aug_label(label) for label in labels if label in members)
