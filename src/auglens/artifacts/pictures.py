"""Figures and pictures as files, byte-equal for equal content. Imports matplotlib only where one is saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auglens.artifacts.replacing import atomic
from auglens.artifacts.values import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(path: Path | str, figure: Figure) -> None:
    """As SVG or PNG by the name's end, byte-equal for equal figures (fixed ids, no date)."""
    import matplotlib as mpl

    suffix = Path(path).suffix[1:]
    metadata = {"Date": None} if suffix == "svg" else {"Software": None}
    with atomic(path) as temporary, mpl.rc_context({"svg.hashsalt": "auglens"}):
        _lay_out(figure, suffix)
        figure.savefig(temporary, format=suffix, metadata=metadata)


@contextlib.contextmanager
def _bars_measured_once(figure: Figure) -> Iterator[None]:
    """A colour bar beside many panels is measured for every one of them; where it stands still, once is enough."""

    def once(axes: Any) -> Any:
        measure, known = axes.get_tightbbox, {}

        def measured(*words: Any, **options: Any) -> Any:
            place = tuple(axes.get_position(original=True).bounds)
            if place not in known:
                known[place] = measure(*words, **options)
            return known[place]

        return measured

    bars: list[Any] = [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]
    for axes in bars:
        axes.get_tightbbox = once(axes)
    try:
        yield
    finally:
        for axes in bars:
            del axes.get_tightbbox


def _lay_out(figure: Figure, suffix: str) -> None:
    """The engine places the axes, and goes: with one, `savefig` draws everything once in vain before its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    engine, dpi = figure.get_layout_engine(), figure.dpi
    if engine is None or not figure.axes:
        return
    (FigureCanvasSVG if suffix == "svg" else FigureCanvasAgg)(figure)
    figure.dpi = 72 if suffix == "svg" else dpi  # SVG is measured in points
    with _bars_measured_once(figure):
        engine.execute(figure)
    figure.dpi = dpi
    figure.set_layout_engine(None)


def save_picture(path: Path | str, pixels: Array) -> None:
    """uint8 [height, width, 3] as PNG."""
    from PIL import Image

    with atomic(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
