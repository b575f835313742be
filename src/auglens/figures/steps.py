"""What saliency-driven augs do: whether their steps choose the same pixels, how training goes on, samples."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle, product

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from auglens.figures.marks import (
    MOST_NUMBERED,
    SMALL,
    WIDTH,
    column,
    defined,
    extremes,
    name_both,
    not_defined,
    note,
    ordered,
    square,
    write_cells,
)
from auglens.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    HEAT,
    ORANGE,
    STYLE,
    VERMILION,
    aug_label,
    describe_figure,
    grid_of,
    italic_controls,
)
from auglens.stats import CONTROLS, REFERENCE

MOST_STEPS = 6
# The reference alone is dashed. Okabe and Ito's purple and sky blue, too: here lines cross.
COLOURS, DASHES = (BLUE, VERMILION, GREEN, ORANGE, "#CC79A7", "#56B4E9"), ("solid", "dotted", "dashdot")
OUTLINE = "#F0E442"  # the palette's yellow


@rc_context(STYLE)
def iou_matrices(table: pd.DataFrame) -> Figure:
    """One heat map per step, augs × augs, all on the scale 0–1; up to MOST_NUMBERED augs in numbers, too.

    table: `window_iou`'s rows. Of more than MOST_STEPS steps as many, evenly spread, the first and the last among
    them. Framed: an aug with itself, two of its seeds. Source: figure 4 of the active image augmentation study.
    """
    title = "Mean IoU of the pixels chosen"
    if not len(defined(table, "iou")):
        return not_defined(title, table, "no two models changed the same image at the same step")
    augs = ordered([*table["aug_a"], *table["aug_b"]])
    steps = sorted(table["step"].unique())
    chosen = np.linspace(0, len(steps) - 1, min(MOST_STEPS, len(steps))).round().astype(int)
    size = len(augs)
    across = min(2 if len(chosen) == 4 or 7 < size <= MOST_NUMBERED else 3, len(chosen))
    rows = -(-len(chosen) // across)
    cell = 0.4 if size <= MOST_NUMBERED else 0.15
    figure = Figure(figsize=(max(across * (0.35 + cell * size) + 2.3, 4.8), rows * (0.45 + cell * size) + 1.6))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.08)
    panels = grid_of(figure, len(chosen), across)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [np.nan, np.nan]])
    frames = (np.arange(size)[:, None, None] + corners).reshape(-1, 2)
    told = []
    for place, (axes, step) in enumerate(zip(panels, (steps[n] for n in chosen), strict=True)):
        mine = table[table["step"] == step]
        values = square(mine, "iou", augs)
        image = axes.imshow(np.ma.masked_invalid(values), cmap=HEAT, vmin=0, vmax=1)
        axes.set_facecolor("#eeeeee")
        write_cells(axes, values, np.full(values.shape, size <= MOST_NUMBERED), image)
        axes.plot(frames[:, 0], frames[:, 1], color=BLACK, linewidth=0.8, clip_on=False)
        name_both(axes, [aug_label(aug) for aug in augs])
        italic_controls(axes.get_xticklabels(), augs)
        italic_controls(axes.get_yticklabels(), augs)
        lowest = place >= len(chosen) - across
        axes.tick_params(labelleft=place % across == 0, labelbottom=lowest)
        axes.set_title(f"step {step}, after epoch {mine['epoch'].iloc[0]}", fontsize=9)
        if place in (0, len(chosen) - 1):
            ends = extremes(defined(mine[mine["aug_a"] != mine["aug_b"]], "iou"), "iou", "aug_a", "aug_b")
            told.append(f"step {step} {' to '.join(ends) or 'not defined'}")
    figure.colorbar(image, ax=panels, label="mean IoU over images", shrink=0.7, aspect=12 * rows, pad=0.02)
    note(figure, "Framed: two seeds of one aug. Grey: no image in common, or one seed.")
    some = f"{len(chosen)} steps" if len(chosen) == len(steps) else f"{len(chosen)} of {len(steps)} steps"
    return describe_figure(figure, f"{title} by {size} augs at {some}, a heat map each: {'; '.join(told)}.")


@rc_context(STYLE)
def convergence(
    curves: pd.DataFrame, score: str, first: int, *, steps: Sequence[int] = (), zoom: int | None = None
) -> Figure:
    """One line per aug, the mean over seeds, from epoch `first` on, in a band from the lowest to the highest seed.

    curves: columns aug, seed, epoch (from 1) and validation_{score}, a row per epoch; first: epochs done before
    the first step. The reference is dashed. steps: epochs done before each, as thin upright lines. zoom: a panel
    more with that many epochs from `first` on. Source: figure 2 of the active image augmentation study.
    Raises ValueError where the curves lack the score.
    """
    name = f"validation_{score}"
    if name not in curves.columns:
        known = [
            other.removeprefix("validation_") for other in map(str, curves) if other.startswith("validation_")
        ]
        raise ValueError(
            f"score: expected one of {', '.join(known) or 'none'}, got {score}; name one of the curves"
        )
    title = f"Validation {score.replace('_', ' ')} from epoch {first} on"
    table = defined(curves, name)
    table = table[table["epoch"] >= first]
    if not len(table):
        return not_defined(title, curves, f"no epoch from {first} on has a value")
    seeds = table.groupby(["aug", "epoch"], sort=True)[name].agg(["mean", "min", "max"]).reset_index()
    augs = ordered(str(aug) for aug in table["aug"])
    figure = Figure(figsize=(WIDTH, 3.6))
    figure.set_layout_engine("constrained", w_pad=0.08)
    whole, *near = figure.subplots(1, 1 + (zoom is not None), squeeze=False)[0]
    for axes, last in ((whole, np.inf), *((one, first + (zoom or 0)) for one in near)):
        _draw_courses(axes, seeds[seeds["epoch"] <= last], augs)
        for step in (step for step in steps if first <= step <= min(last, seeds["epoch"].max())):
            axes.axvline(step, color="#bbbbbb", linewidth=0.6, zorder=0)
        axes.grid(axis="y", visible=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
        axes.margins(x=0.02)
        axes.set_xlabel("epoch")
    whole.set_ylabel(f"validation {score.replace('_', ' ')}")
    for one in near:
        one.set_title(f"the first {zoom} epochs", fontsize=9)
        whole.set_title("all epochs", fontsize=9)
    figure.legend(*whole.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=SMALL)
    means = seeds[seeds["aug"] != REFERENCE]
    told = []
    for epoch in sorted({first, first + 1, int(seeds["epoch"].max())} & set(means["epoch"])):
        ends = extremes(means[means["epoch"] == epoch], "mean", "aug", digits=".3f")
        told.append(f"after epoch {epoch} {' to '.join(ends)}")
    count = len([aug for aug in augs if aug != REFERENCE])
    alt = f"{title}, a line per aug for {count} augs{' and the reference' if count < len(augs) else ''}"
    return describe_figure(figure, f"{alt}: {'; '.join(told) or 'no aug has a value'}.")


def _draw_courses(axes: Axes, seeds: pd.DataFrame, augs: Sequence[str]) -> None:
    """seeds: aug, epoch, mean, min, max. Every aug keeps its look, whether or not it has a line here."""
    looks = cycle((colour, dash) for dash, colour in product(DASHES, COLOURS))
    plain = cycle(DASHES)
    for aug in augs:
        if aug == REFERENCE:
            colour, dash = BLACK, "dashed"
        else:
            colour, dash = (GREY, next(plain)) if aug in CONTROLS else next(looks)
        mine = seeds[seeds["aug"] == aug]
        epoch, mean, low, high = (column(mine, name) for name in ("epoch", "mean", "min", "max"))
        # The reference on top: where all have converged it would lie below the others.
        over = 4 if aug == REFERENCE else 3
        axes.plot(epoch, mean, color=colour, linestyle=dash, linewidth=1.1, label=aug_label(aug), zorder=over)
        if (high > low).any():
            axes.fill_between(epoch, low, high, color=colour, alpha=0.15, linewidth=0)


@rc_context(STYLE)
def step_sheet(
    originals: NDArray[np.uint8],
    made: Mapping[str, NDArray[np.uint8]],
    titles: Sequence[str],
    masks: NDArray[np.bool_] | None = None,
) -> Figure:
    """originals: uint8 [K,3,H,W]; made: aug → uint8 [K,3,H,W], the same images. A row per image, a column per aug.

    titles: K, beside the rows; masks: bool [K,H,W], outlined in every picture of their row.
    Raises ValueError on other shapes. Source: figure 3 of the active image augmentation study.
    """
    count, _, high, wide = originals.shape
    shapes = {f"made: expected {aug}": (images.shape, originals.shape) for aug, images in made.items()}
    shapes |= {"titles: expected": ((len(titles),), (count,))}
    shapes |= {} if masks is None else {"masks: expected": (masks.shape, (count, high, wide))}
    for what, (got, expected) in shapes.items():
        if got != expected:
            raise ValueError(f"{what} of shape {list(expected)}, got {list(got)}; give one for each original")
    if not count:
        return not_defined("Training images and what each aug makes of them", None, "no image was changed")
    names = {"original": originals, **{aug_label(aug): images for aug, images in made.items()}}
    heads, sides = ([textwrap.fill(name, 15) for name in some] for some in (names, titles))
    left = 0.15 + 0.08 * max((len(line) for side in sides for line in side.split("\n")), default=0)
    top = 0.1 + 0.16 * max(head.count("\n") + 1 for head in heads)
    size = (left + 1.1 * len(names) + 0.05, top + 1.1 * high / wide * count + 0.05)
    figure = Figure(figsize=size)
    figure.subplots_adjust(left=left / size[0], right=1 - 0.05 / size[0], bottom=0.05 / size[1],
                           top=1 - top / size[1], hspace=0.06, wspace=0.06)  # fmt: skip
    grid = figure.subplots(count, len(names), squeeze=False)
    for k, line in enumerate(grid):
        for axes, images in zip(line, names.values(), strict=True):
            axes.imshow(images[k].transpose(1, 2, 0), interpolation="nearest")
            if masks is not None and masks[k].any():
                # With a rim of nothing around, so that a region at the border is closed.
                around = np.pad(masks[k], 1).astype(np.float64)
                line_of = axes.contour(
                    np.arange(-1, wide + 1), np.arange(-1, high + 1), around, [0.5], colors=OUTLINE, linewidths=0.9
                )
                line_of.set_path_effects([withStroke(linewidth=1.9, foreground=BLACK)])  # seen on light, too
                axes.set_xlim(-0.5, wide - 0.5)
                axes.set_ylim(high - 0.5, -0.5)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(sides[k], rotation=0, ha="right", va="center", fontsize=SMALL)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, loc="center", fontsize=SMALL, fontweight="normal")
    shown = f"{count} training images and what each aug makes of them: {', '.join(list(names)[1:])}."
    return describe_figure(figure, shown if masks is None else f"{shown} Outlined: the masks of the images.")
