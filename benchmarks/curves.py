"""The cost curves of docs/performance.md from benchmarks/results.jsonl: over images, cells, side of an image.

python -m benchmarks.curves
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from auglens.figures.style import BLUE, GREEN, ORANGE, SAVE_RC, STYLE, SVG_METADATA, VERMILION
from benchmarks.__main__ import RESULTS

OUT = RESULTS.parents[1] / "docs" / "costs.svg"
STAGES = {"collect_again": ("collect, again", BLUE), "compare": ("compare", ORANGE),
          "analyse": ("analyse", GREEN), "report": ("report", VERMILION)}  # fmt: skip
WORK = {"train": ("a training step", BLUE), "explain": ("an explanation", ORANGE),
        "compare": ("seven metrics of a pair", GREEN)}  # fmt: skip


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the last doubling or so: cost grows as x to this power."""
    return float(np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2])) if len(x) > 1 else float("nan")


def curves(axes: Axes, x: Sequence[float], found: dict[str, tuple[str, str, list[Any]]], label: str) -> None:
    for name, colour, values in found.values():
        there = [(at, value) for at, value in zip(x, values, strict=True) if value is not None]
        power = exponent(*zip(*there, strict=True))
        label_of = f"{name} (last step: power {power:.1f})"
        axes.plot(*zip(*there, strict=True), "o-", color=colour, ms=3.5, lw=1.3, label=label_of)
    axes.set(xscale="log", yscale="log", xlabel=label)
    axes.set_xticks(list(x), [f"{value:,}" for value in x])
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.22))


def draw(rows: list[dict[str, Any]]) -> Figure:
    growth = [row for row in rows if row["benchmark"] == "growth"]
    fewest = min(row["cells"] for row in growth)
    least = min(row["images"] for row in growth)
    by_images = sorted((row for row in growth if row["cells"] == fewest), key=lambda row: row["images"])
    by_cells = sorted((row for row in growth if row["images"] == least), key=lambda row: row["cells"])
    by_side = sorted((row for row in rows if row["benchmark"] == "image_size"), key=lambda row: row["side"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.9), layout="constrained")
        over_images, over_cells, over_side = figure.subplots(1, 3)
        for axes, part, key, label in (
            (over_images, by_images, "images", f"test images, {fewest} cells"),
            (over_cells, by_cells, "cells", f"cells, {least:,} test images"),
        ):
            found = {
                name: (text, colour, [row.get(f"{name}_s") for row in part])
                for name, (text, colour) in STAGES.items()
            }
            curves(axes, [row[key] for row in part], found, label)
            axes.set(title="seconds of a stage")
        found = {
            name: (text, colour, [row["ms_per_image"][name] for row in by_side])
            for name, (text, colour) in WORK.items()
        }
        curves(over_side, [row["side"] for row in by_side], found, "side of an image in pixels, EfficientNet-B0")
        over_side.set(title="milliseconds per image")
        return figure


def main() -> None:
    rows = [json.loads(line) for line in Path(RESULTS).read_text().splitlines()]
    figure = draw(rows)
    with mpl.rc_context(SAVE_RC):
        figure.savefig(OUT, metadata=SVG_METADATA)


if __name__ == "__main__":
    main()
