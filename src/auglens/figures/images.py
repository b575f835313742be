"""Figures with pictures: the maps of an extreme image, and what each aug does to sample images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from auglens.figures.style import STYLE, aug_label, describe_figure, grid_of, metric_label

MOST_SHOWN = 18  # augs: more panels are no picture any more
MAP_COLOURS = "inferno"  # rises evenly in lightness, so that it also reads without colour


@rc_context(STYLE)
def extreme_grid(
    image: NDArray[np.uint8],
    reference_map: NDArray[Any],
    maps: Mapping[str, NDArray[Any]],
    values: Mapping[str, float],
    *,
    metric: str,
    title: str,
    columns: int = 5,
) -> Figure:
    """The image, the reference's map on it, then every aug's with its value of the metric.

    image: uint8 [3,H,W]; reference_map, maps: finished, float [h,w] in [0,1], of any resolution;
    values: aug → metric against the reference (NaN is shown as n/a). All maps share the scale 0–1.
    Of more than MOST_SHOWN augs those with the highest and those with the lowest values, half each.
    Source: appendix A of the augmentation study.
    """
    every = len(maps)
    chosen = _ends({aug: values.get(aug, float("nan")) for aug in maps})
    maps = {aug: finished for aug, finished in maps.items() if aug in chosen}
    figure = Figure(figsize=(1.9 * columns + 0.6, 2.15 * -(-(len(maps) + 2) // columns) + 0.5))
    figure.set_layout_engine("constrained")
    panels = grid_of(figure, len(maps) + 2, columns)
    _picture(panels[0], image)
    panels[0].set_title("test image", fontsize=8)
    shown = _overlay(panels[1], image, reference_map)
    panels[1].set_title("reference", fontsize=8)
    for axes, (aug, finished) in zip(panels[2:], maps.items(), strict=True):
        _overlay(axes, image, finished)
        value = values.get(aug, float("nan"))
        told = f"{value:.3f}" if np.isfinite(value) else "n/a"
        axes.set_title(f"{aug_label(aug)}\n{told}", fontsize=8)
    figure.colorbar(shown, ax=panels, label="finished map", shrink=0.6, aspect=30, pad=0.02)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=10)
    for axes in panels:  # without ticks and labels they are nothing but time, in the layout as well
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
    told = ", ".join(f"{aug_label(aug)} {value:.3f}" for aug, value in values.items() if aug in chosen)
    some = f"{len(maps)} augs" if len(maps) == every else f"{len(maps)} of {every} augs, those at both ends"
    alt = f"{title}: a test image with the maps of the reference and of {some}."
    return describe_figure(figure, f"{alt} {metric_label(metric)}: {told}.")


def _ends(values: Mapping[str, float]) -> set[str]:
    """The augs with the highest and the lowest values, together MOST_SHOWN; undefined values lie in the middle."""
    if len(values) <= MOST_SHOWN:
        return set(values)
    middle = float(np.nan_to_num(np.nanmedian(list(values.values()))))
    order = sorted(values, key=lambda aug: values[aug] if np.isfinite(values[aug]) else middle)
    return {*order[: MOST_SHOWN // 2], *order[-(MOST_SHOWN // 2) :]}


@rc_context(STYLE)
def augmentation_sheet(source: NDArray[np.uint8], augmented: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """One row per aug, one column per sample image, the untouched images on top.

    source, augmented[aug]: uint8 [n,3,H,W], the same images in the same order.
    """
    rows = {"source": source, **augmented}
    count = len(source)
    figure = Figure(figsize=(1.1 * count + 1.5, 1.08 * len(rows) + 0.2))
    figure.subplots_adjust(
        left=1.4 / (1.1 * count + 1.5), right=0.99, bottom=0.01, top=0.99, hspace=0.06, wspace=0.04
    )
    for line, (aug, images) in zip(figure.subplots(len(rows), count, squeeze=False), rows.items(), strict=True):
        if images.shape != source.shape:
            shapes = f"{list(images.shape)}, the source is {list(source.shape)}"
            raise ValueError(f"augmented: {aug} has shape {shapes}; pass the same images for every aug")
        for axes, image in zip(line, images, strict=True):
            _picture(axes, image)
        line[0].set_ylabel(aug_label(aug), rotation=0, ha="right", va="center", fontsize=9)
    names = ", ".join(aug_label(aug) for aug in augmented)
    return describe_figure(figure, f"{count} sample images, untouched and under each aug: {names}.")


def _picture(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.imshow(image.transpose(1, 2, 0), interpolation="nearest")
    _bare(axes)


def _overlay(axes: Axes, image: NDArray[np.uint8], finished: NDArray[Any]) -> Any:
    """The map over the image in grey, so that only the map has colour."""
    height, width = image.shape[1:]
    grey = image.astype(np.float64).mean(axis=0)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
    shown = axes.imshow(
        np.ma.masked_invalid(finished),
        cmap=MAP_COLOURS,
        vmin=0,
        vmax=1,
        alpha=0.6,
        extent=extent,
        interpolation="nearest",
    )
    _bare(axes)
    return shown


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
