"""Box plots of the metrics over test images, whole and by correctness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from auglens.figures.style import (
    SEGMENT_COLOURS,
    STYLE,
    Box,
    aug_colour,
    aug_label,
    describe_figure,
    draw_boxes,
    grid_of,
    metric_label,
    name_rows,
)
from auglens.stats import SEGMENTS, metrics_of

BOX_NOTE = "Box: quartiles; line: median; whiskers: 5th to 95th percentile."


@rc_context(STYLE)
def metric_boxes(averaged: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 2) -> Figure:
    """One axes per metric, one box per aug over the test images of `average_seeds`' table, in table order.

    Source: figures 5.10–5.24 of the augmentation study (which draws outliers; here whiskers at 5 and 95 %).
    """
    names = list(metrics or metrics_of(averaged))
    augs = list(averaged["aug"].unique())
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.9 * min(columns, len(names)) + 0.6, lines * (0.9 + 0.26 * len(augs)) + 0.5))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    rows = averaged.groupby("aug", sort=False).indices
    for place, (axes, metric) in enumerate(zip(grid_of(figure, len(names), columns), names, strict=True)):
        column = averaged[metric].to_numpy()
        boxes = [Box(column[rows[aug]], y, aug_colour(aug)) for y, aug in enumerate(augs)]
        used = [int(np.isfinite(box.values).sum()) for box in boxes]
        draw_boxes(axes, boxes, height=0.62)
        name_rows(axes, augs, visible=place % columns == 0)
        axes.grid(axis="x", visible=True)
        axes.set_title(metric_label(metric, unit=True))
        images = f"{min(used):,}" if min(used) == max(used) else f"{min(used):,}–{max(used):,}"
        axes.set_title(f"n = {images} images", loc="right", fontsize=8, fontweight="normal")
    figure.supxlabel(f"Each value: mean over seeds. {BOX_NOTE}", fontsize=8)
    return describe_figure(figure, _boxes_alt(averaged, names, augs))


def _boxes_alt(averaged: pd.DataFrame, metrics: list[str], augs: list[str]) -> str:
    parts = []
    for metric in metrics:
        medians = averaged.groupby("aug")[metric].median()
        if medians.notna().any():
            parts.append(f"{metric_label(metric)} from {medians.min():.3g} to {medians.max():.3g}")
    ranges = "; ".join(parts) or "none is defined"
    return f"Box plots of the metrics over test images for {len(augs)} augs. Medians range: {ranges}."


@rc_context(STYLE)
def segment_boxes(values: pd.DataFrame, metric: str) -> Figure:
    """One row per aug, one box each for both right, one right, both wrong, with their numbers of images.

    values: what `segment_values` returns. Source: appendix C of the augmentation study.
    """
    augs = list(values["aug"].unique())
    figure = Figure(figsize=(7.4, 1.3 + 0.62 * len(augs)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    medians, boxes = [], []
    places, segments = pd.factorize(values["aug"])[0], values["segment"].to_numpy(dtype=object)
    of_segment = {segment: segments == segment for segment in SEGMENTS}
    for y, aug in enumerate(augs):
        for offset, segment, colour in zip((-0.27, 0, 0.27), SEGMENTS, SEGMENT_COLOURS, strict=True):
            chosen = values.loc[(places == y) & of_segment[segment], metric]
            count = int(np.isfinite(chosen).sum())
            if count:
                boxes.append(Box(chosen, y + offset, colour))
                medians.append((aug, segment, float(chosen.median())))
            place: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 7}
            axes.text(1.01, y + offset, f"n = {count:,}", **place)
    draw_boxes(axes, boxes, height=0.21)
    name_rows(axes, augs)
    axes.set_title(f"{metric_label(metric)} by correctness", pad=24)
    axes.set_xlabel(f"{metric_label(metric, unit=True)}, mean over seeds. {BOX_NOTE}", fontsize=8)
    axes.grid(axis="x", visible=True)
    handles = [Patch(color=c, alpha=0.6, label=s) for c, s in zip(SEGMENT_COLOURS, SEGMENTS, strict=True)]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, fontsize=8)
    told = "; ".join(f"{aug_label(aug)}, {segment}: {median:.3g}" for aug, segment, median in medians)
    alt = f"Box plots of {metric_label(metric)} by whether reference and aug classify the image correctly."
    return describe_figure(figure, f"{alt} Medians: {told or 'none is defined'}.")
