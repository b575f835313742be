"""The look shared by all figures: colours safe for colour-blind readers, names, alt texts, how to save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from auglens.stats import CONTROLS, REFERENCE

# For drawing; the functions of this package apply it themselves. (Any: matplotlib types the keys one by one.)
STYLE: Any = {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where a title is anyway with nothing above the axes: looking is most of a layout's time
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
}

# For saving: `with rc_context(SAVE_RC): figure.savefig(path, metadata=SVG_METADATA)`. With a random salt or a
# date two SVGs of one figure differ. fonttype none keeps text as text: small, and searchable.
SAVE_RC: Any = {"svg.hashsalt": "auglens", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
SVG_METADATA: dict[str, Any] = {"Date": None}

# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, VERMILION, GREY, BLACK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A8A8A", "#222222"
SEGMENT_COLOURS = (BLUE, ORANGE, GREY)
HEAT = "YlGnBu"  # light to dark, so that it also reads with colour blindness and in grey

_METRICS = {
    "mad": "MAD",
    "msd": "MSD",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "class_kld": "Class-KLD",
    "ssim": "SSIM",
    "js": "Jensen–Shannon",
    "emd": "Earth mover's distance",
    "centre_shift": "Centre shift",
}


def aug_label(aug: str) -> str:
    """`affine+color_jitter` → `affine + color jitter`."""
    return aug.replace("_", " ").replace("+", " + ")


def metric_label(metric: str, *, unit: bool = False) -> str:
    """`overlap_20` → `Overlap 20 %`; a metric not known here keeps its name; on request with its unit."""
    if unit and metric == "class_kld":
        return "Class-KLD (nats)"
    if metric.startswith("overlap_"):
        return f"Overlap {metric.removeprefix('overlap_')} %"
    return _METRICS.get(metric, metric)


def aug_colour(aug: str) -> str:
    """Augs blue, controls grey, the reference black."""
    if aug == REFERENCE:
        return BLACK
    return GREY if aug in CONTROLS else BLUE


def describe_figure(figure: Figure, alt: str) -> Figure:
    """Attach the alt text, which `alt_text` returns, and give the figure back."""
    figure.set_label(alt)
    return figure


def alt_text(figure: Figure) -> str:
    """What the figure shows, in words, for those who do not see it: one to three sentences."""
    return str(figure.get_label())


def name_rows(axes: Axes, augs: list[str], *, visible: bool = True) -> None:
    """Rows 0, 1, … from the top down, one aug each, controls in italics."""
    axes.set_yticks(range(len(augs)), [aug_label(aug) for aug in augs])
    axes.set_ylim(len(augs) - 0.4, -0.6)
    italic_controls(axes.get_yticklabels(), augs)
    axes.tick_params(axis="y", length=0, labelleft=visible)


def italic_controls(labels: Sequence[Text], augs: Sequence[str]) -> None:
    """Sets the labels of controls apart by their slant."""
    for label, aug in zip(labels, augs, strict=True):
        label.set_fontstyle("italic" if aug in CONTROLS else "normal")


@dataclass(frozen=True)
class Box:
    """What `draw_boxes` shows of some values: float [N], their place and colour."""

    values: Any
    y: float
    colour: str


def draw_boxes(axes: Axes, boxes: Sequence[Box], *, height: float) -> None:
    """Lying boxes: quartiles, median, whiskers from the 5th to the 95th percentile of the finite values.

    No outliers are drawn: thousands of points hide what they are drawn over, and swell the file. All boxes'
    lines are one artist of each kind: in a study of many augs one each would be most of the figure's time.
    """
    known, found = [], []
    for box in boxes:
        array = np.asarray(box.values, dtype=np.float64)
        finite = array[np.isfinite(array)]
        if len(finite):
            known.append(box)
            found.append(np.percentile(finite, [5, 25, 50, 75, 95]))
        else:
            place: Any = {"transform": axes.get_yaxis_transform(), "va": "center", "color": GREY}
            axes.text(0.01, box.y, "no finite value", **place)
    if not known:
        return
    low, q25, median, q75, high = np.array(found).T
    y, colours = np.array([box.y for box in known]), [box.colour for box in known]
    axes.hlines(y, low, high, color=colours, linewidth=1)
    ends, twice = np.concatenate([low, high]), np.tile(y, 2)
    axes.vlines(ends, twice - height / 4, twice + height / 4, color=colours * 2, linewidth=1)
    axes.barh(y, q75 - q25, left=q25, height=height, color=colours, alpha=0.45, edgecolor=colours, linewidth=1)
    axes.vlines(median, y - height / 2, y + height / 2, color=BLACK, linewidth=1.6)


def grid_of(figure: Figure, count: int, columns: int, **options: Any) -> list[Axes]:
    """`count` axes in rows of `columns`; places left over stay empty."""
    columns = min(columns, count)
    rows = -(-count // columns)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return axes[:count]
