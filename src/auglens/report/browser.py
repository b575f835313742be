"""What the image browser holds: test images as tiles on sheets, raw maps in 8 bits, metrics, predictions."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auglens.config import REFERENCE
from auglens.report.selection import Selection, select_images

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 1000  # images
PAGE = 7_900_000  # bytes of the whole page
BUDGET = 4_000_000  # of them for the browser, at most
LEAST = 200_000  # and at least, however large the rest
TILE = 96  # pixels: larger images are made smaller
SHEET = 2048  # side of a sheet in pixels, at most
QUALITY = 85


@dataclass(frozen=True)
class Sheets:
    """The images as tiles on JPEG sheets. sheets: base64; tile: (height, width) of an image;
    step: of its place."""

    sheets: tuple[str, ...]
    tile: tuple[int, int]
    step: tuple[int, int]
    columns: int
    per_sheet: int


@dataclass(frozen=True)
class BrowserData:
    """K images, the reference and A augs (the reference first among the models), M metrics.

    grids: uint8 [K,1+A,h,w], each map from its minimum (0) to its maximum (255), all zero where constant;
    missing: bool [K,1+A], the map has no finite range; values: float32 [K,A,M]; predicted: int [1+A,K];
    confidence: per cent, int [1+A,K], or None.
    """

    selection: Selection
    total: int
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    controls: frozenset[str]
    metrics: tuple[str, ...]
    metric_labels: tuple[str, ...]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.int64] | None
    grids: NDArray[np.uint8]
    missing: NDArray[np.bool_]
    values: NDArray[np.float32]
    sheets: Sheets

    def payload(self) -> dict[str, Any]:
        """As browser.js reads it: plain JSON, bulk arrays in base64, little-endian."""
        return {
            "total": self.total,
            "ranks": self.selection.ranks,
            "classes": list(self.classes),
            "images": self.selection.images.tolist(),
            "labels": self.labels.tolist(),
            "models": [
                {"name": name, "seed": seed, "control": name in self.controls}
                for name, seed in zip(self.models, self.seeds, strict=True)
            ],
            "metrics": [
                {"name": name, "label": label}
                for name, label in zip(self.metrics, self.metric_labels, strict=True)
            ],
            "predicted": self.predicted.tolist(),
            "confidence": None if self.confidence is None else self.confidence.tolist(),
            "grid": list(self.grids.shape[2:]),
            "grids": _base64(self.grids.tobytes()),
            "missing": np.argwhere(self.missing).tolist(),
            "values": _base64(self.values.astype("<f4").tobytes()),
            "sheets": list(self.sheets.sheets),
            "tile": list(self.sheets.tile),
            "step": list(self.sheets.step),
            "columns": self.sheets.columns,
            "perSheet": self.sheets.per_sheet,
        }


def first_seeds(table: pd.DataFrame) -> dict[str, int]:
    """aug → the first of its seeds in the table, the reference first: whose maps the browser shows."""
    first = table.drop_duplicates("aug")
    seeds = {str(aug): int(seed) for aug, seed in zip(first["aug"], first["seed"], strict=True)}
    if REFERENCE not in seeds:
        raise ValueError(f"table: no rows of the reference, got {', '.join(seeds) or 'none'}; run `dvc repro`")
    return {REFERENCE: seeds.pop(REFERENCE), **seeds}


def budget_left(page: str) -> int:
    """How many bytes the browser may take beside `page`, the page rendered without it."""
    return min(max(PAGE - len(page.encode()), LEAST), BUDGET)


def browser_data(
    images: NDArray[np.uint8],
    rows: NDArray[Any],
    classes: Sequence[str],
    table: pd.DataFrame,
    maps: Mapping[str, NDArray[np.floating[Any]]],
    metrics: Mapping[str, str],
    *,
    controls: Collection[str] = (),
    limit: int = LIMIT,
    budget: int = BUDGET,
) -> BrowserData:
    """images: uint8 […,3,H,W]; rows: which of them are the N test images; table: one row per aug, seed and image
    of distinct replicates, with label, predicted, the metrics and perhaps confidence; maps: aug → raw float
    [N,h,w] of the cells that `first_seeds(table)` names; metrics: column → label.

    At most `limit` images (see `select_images`), fewer where they would take more than `budget` bytes.
    ValueError: maps absent or of other shapes than the reference's, rows that do not match, columns missing.
    """
    seeds = first_seeds(table)
    augs = [name for name in seeds if name != REFERENCE]
    columns = {name: () if name == REFERENCE else tuple(metrics) for name in seeds}
    cells = {name: _cell(table, name, seed, len(rows), columns[name]) for name, seed in seeds.items()}
    shape = (len(rows), *np.shape(maps.get(REFERENCE, ()))[1:])
    for name in seeds:
        if np.shape(maps.get(name, ())) != shape or len(shape) != 3:
            got = list(np.shape(maps[name])) if name in maps else "none"
            raise ValueError(f"maps: expected raw maps {list(shape)} of {name}, got {got}; run `dvc repro`")
    labels = cells[REFERENCE]["label"].to_numpy(np.int64)
    predicted = np.stack([cell["predicted"].to_numpy(np.int64) for cell in cells.values()])
    count = len(rows)
    values = np.array([[cells[aug][name] for name in metrics] for aug in augs], dtype=np.float64)
    values = values.reshape(len(augs), len(metrics), count)
    right = predicted == labels
    while True:
        selection = select_images(labels, values, right[:1] & ~right[1:], limit=limit)
        held = selection.images
        sheets = make_sheets(images, np.asarray(rows)[held])
        coded = shape[1] * shape[2] * len(seeds) + 4 * len(augs) * len(metrics)  # in base64: a third more
        written = 12 + 8 * len(seeds)  # numbers and names, at most
        size = sum(map(len, sheets.sheets)) + len(held) * (coded * 4 // 3 + written)
        if size <= budget or len(held) == 1:
            break
        limit = max(1, min(len(held) - 1, len(held) * budget // size))
    stacked = np.stack([np.asarray(maps[name])[held] for name in seeds], axis=1)
    grids, missing = quantise(stacked)
    told = all("confidence" in cell for cell in cells.values())
    confidence = [np.nan_to_num(100 * cell["confidence"].to_numpy(np.float64)[held]) for cell in cells.values()] \
        if told else []  # fmt: skip
    return BrowserData(
        selection=selection,
        total=count,
        classes=tuple(str(name) for name in classes),
        labels=labels[held],
        models=tuple(seeds),
        seeds=tuple(seeds.values()),
        controls=frozenset(controls),
        metrics=tuple(metrics),
        metric_labels=tuple(metrics.values()),
        predicted=predicted[:, held],
        confidence=np.rint(confidence).astype(np.int64) if told else None,
        grids=grids,
        missing=missing,
        values=np.ascontiguousarray(values[:, :, held].transpose(2, 0, 1), dtype=np.float32),
        sheets=sheets,
    )


def quantise(raw: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Raw maps, float [...,h,w] → uint8 of the same shape, each from its minimum (0) to its maximum (255), and
    bool [...]: which have a NaN or an infinity. Those and constant maps are all zero."""
    raw = np.asarray(raw, dtype=np.float64)
    missing = ~np.isfinite(raw).all(axis=(-2, -1))
    known = np.where(missing[..., None, None], 0.0, raw)
    low = known.min(axis=(-2, -1), keepdims=True)
    span = known.max(axis=(-2, -1), keepdims=True) - low
    return np.rint(255 * (known - low) / np.where(span > 0, span, 1)).astype(np.uint8), missing


def make_sheets(images: NDArray[np.uint8], rows: NDArray[Any]) -> Sheets:
    """images[rows], uint8 [K,3,H,W], as tiles from left to right and top to bottom on JPEG sheets.

    A place is a multiple of 8 pixels, JPEG's block, so that no tile bleeds into its neighbour; colours are kept at
    full resolution for the same reason. Images above 96 pixels are made smaller.
    """
    height, width = images.shape[2:]
    factor = min(1.0, TILE / max(height, width))
    tile = (max(1, round(height * factor)), max(1, round(width * factor)))
    step = (-(-tile[0] // 8) * 8, -(-tile[1] // 8) * 8)
    columns, lines = SHEET // step[1], SHEET // step[0]
    columns = min(columns, max(1, int(np.ceil(np.sqrt(len(rows) * step[0] / step[1])))))
    per_sheet = columns * lines
    sheets = []
    for start in range(0, len(rows), per_sheet):
        chosen = rows[start : start + per_sheet]
        sheet = np.zeros((-(-len(chosen) // columns) * step[0], columns * step[1], 3), dtype=np.uint8)
        for at, row in enumerate(chosen):
            picture = np.asarray(images[row]).transpose(1, 2, 0)
            if factor < 1:
                small = Image.fromarray(np.ascontiguousarray(picture)).resize(tile[::-1], Image.Resampling.LANCZOS)
                picture = np.asarray(small)
            padding = ((0, step[0] - tile[0]), (0, step[1] - tile[1]), (0, 0))
            top, left = at // columns * step[0], at % columns * step[1]
            padded = picture if tile == step else np.pad(picture, padding, mode="edge")
            sheet[top : top + step[0], left : left + step[1]] = padded
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, "JPEG", quality=QUALITY, subsampling=0)
        sheets.append(_base64(file.getvalue()))
    return Sheets(tuple(sheets), tile, step, columns, per_sheet)


def _cell(table: pd.DataFrame, aug: str, seed: int, count: int, metrics: Sequence[str]) -> pd.DataFrame:
    """One model's rows in the order of the test images."""
    absent = [name for name in ("image", "label", "predicted", *metrics) if name not in table]
    if absent:
        raise ValueError(f"table: lacks the columns {', '.join(absent)}; run `dvc repro`")
    cell = table[(table["aug"] == aug) & (table["seed"] == seed)].sort_values("image")
    if not np.array_equal(cell["image"].to_numpy(), np.arange(count)):
        raise ValueError(f"table: expected the images 0 to {count - 1} of {aug}-{seed} once each; run `dvc repro`")
    return cell


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
