"""The pictures of single cells, of which a study has hundreds: laid out once, then printed for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import font_manager, rc_context
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from auglens.figures.performance import INK_FROM, MOST_WRITTEN, confusion_figure, shares_of, training_curves
from auglens.figures.style import BLACK, STYLE, aug_label

Pixels = NDArray[np.uint8]
NUMBER = 7.0  # points, as in `confusion_figure`


class _Sheet:
    """A figure whose layout and fixed parts are drawn once; `changing`: what each print draws onto them."""

    def __init__(self, figure: Figure, changing: Iterable[Artist]) -> None:
        self.figure, self.changing = figure, list(changing)
        self.canvas = FigureCanvasAgg(figure)
        with rc_context(STYLE):
            self.canvas.draw()
            figure.set_layout_engine("none")
            for artist in self.changing:
                artist.set_alpha(0)  # what is not visible would lose its place
            self.canvas.draw()
        for artist in self.changing:
            artist.set_alpha(None)
        self.empty: Any = self.canvas.copy_from_bbox(figure.bbox)

    def printed(self) -> Pixels:
        self.canvas.restore_region(self.empty)
        for artist in self.changing:
            self.figure.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


def _title(figure: Figure) -> Text:
    return next(text for text in figure.axes[0].get_children() if isinstance(text, Text) and text.get_text())


class CellPictures:
    """Confusion matrix and curves of one cell after another, uint8 [height, width, 3].

    Like `confusion_figure` and `training_curves` of that cell alone, in a tenth of the time; but the curves of all
    cells are on the same axes, accuracy from 0 to 1, so that those of two runs compare side by side.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        size = len(class_names)
        figure = confusion_figure(np.zeros((size, size)), class_names, "aug")
        axes = figure.axes[0]
        for text in list(axes.texts):
            text.remove()
        self.matrix, self.matrix_title = axes.images[0], _title(figure)
        self.matrix_sheet = _Sheet(figure, [self.matrix, self.matrix_title])
        self.font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), NUMBER / 72 * figure.dpi)
        height = figure.bbox.height
        centres = axes.transData.transform(np.stack(np.meshgrid(range(size), range(size)), -1).reshape(-1, 2))
        self.centres = np.stack([centres[:, 0], height - centres[:, 1]], axis=1)
        self.curves_sheets: dict[int, _Sheet] = {}

    def confusion(self, matrix: NDArray[Any], title: str) -> Pixels:
        """matrix: int [C, C], rows labels."""
        shares = shares_of(matrix)
        self.matrix.set_data(shares)
        self.matrix_title.set_text(title)
        pixels = self.matrix_sheet.printed()
        if len(matrix) > MOST_WRITTEN:
            return pixels
        image = Image.fromarray(pixels)
        pen = ImageDraw.Draw(image)
        rise = -self.font.getbbox("0", anchor="ms")[1] / 2  # from a digit's middle to its foot
        for (x, y), count, share in zip(self.centres, np.ravel(matrix), shares.ravel(), strict=True):
            ink = "white" if share > INK_FROM else BLACK
            pen.text((x, y + rise), str(int(count)), fill=ink, font=self.font, anchor="ms")
        return np.asarray(image)

    def curves(self, history: pd.DataFrame) -> Pixels:
        """history: one row per epoch of one cell, as `training_curves` takes it."""
        run = history.sort_values("epoch")
        sheet = self.curves_sheets.get(len(run)) or self._curves_sheet(run)
        training, validation, title = sheet.changing
        training.set(ydata=run["train_accuracy"])
        validation.set(ydata=run["validation_accuracy"])
        title.set(text=aug_label(str(run["aug"].iloc[0])))
        return sheet.printed()

    def _curves_sheet(self, run: pd.DataFrame) -> _Sheet:
        figure = training_curves(run)
        axes = figure.axes[0]
        axes.set_ylim(0, 1)
        return self.curves_sheets.setdefault(len(run), _Sheet(figure, [*axes.lines[:2], _title(figure)]))
