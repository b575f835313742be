"""One's own images: a folder or tar archive, labelled by `labels.csv` or by class folders.

    labels.csv  images/…  [masks/…]            columns id, label and, optionally, split; others are ignored
    [images/][split/]class/image  [masks/…]    splits are called train, val (or validation) and test

An id is a file's name under `images/`, with or without its ending. A mask has the path of its image under
`masks/`, with any ending.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from auglens.data.sources import Source
from auglens.data.sources.archive import read_tar
from auglens.data.sources.pictures import decode, mask_of, square

Array = np.ndarray[Any, Any]
Reader = Callable[[], bytes]

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp")
TABLE = "labels.csv"
SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Entry:
    """One image before it is read. name: see Files.images; split: "" where none is given."""

    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Files:
    """What the folder or archive holds, each with a function that reads it; sorted by name."""

    where: str
    images: Mapping[str, Reader]  # names under images/, or under the top where there is no such folder
    masks: Mapping[str, Reader]  # names under masks/
    table: Reader | None


def load(source: str | Path, *, size: int, label: str = "label", fit: str = "crop") -> Source:
    """Read all images; `fit` = crop: bring the shorter side to `size` pixels (antialiased) and cut out the centre;
    squeeze: bring both sides to `size`, for pictures whose edges matter.

    Masks go the same way with the nearest pixel and are 1 where they were above 0; small objects may vanish.
    Transparency is dropped, EXIF's turn is applied. label: the column of labels.csv that holds the
    class. Raises ValueError in one line naming the file.
    """
    files = _open(Path(source))
    entries = _by_table(files, files.table(), label) if files.table else _by_folder(files)
    labels = sorted({entry.label for entry in entries}, key=_numbers_first)
    images = np.empty((len(entries), 3, size, size), np.uint8)
    masks = np.empty((len(entries), size, size), np.uint8) if files.masks else None
    stems = _by_stem(files.masks)
    for row, entry in enumerate(entries):
        where = f"{files.where}: {entry.name}"
        picture = decode(files.images[entry.name](), where)
        images[row] = np.asarray(square(picture, size, Image.Resampling.BICUBIC, fit)).transpose(2, 0, 1)
        if masks is not None:
            found = stems.get(_stem(entry.name), [])
            if len(found) != 1:
                raise ValueError(
                    f"{where}: expected one mask, got {len(found)}; keep one masks/{_stem(entry.name)}.png "
                    "(all 0 where nothing is marked) or remove masks/"
                )
            name = found[0]
            masks[row] = mask_of(files.masks[name](), f"{files.where}: masks/{name}", picture, size, fit)
    rows = {split: np.flatnonzero([entry.split == split for entry in entries]) for split in SPLITS.values()}
    return Source(
        images,
        np.array([labels.index(entry.label) for entry in entries], np.int64),
        tuple(labels),
        {split: found for split, found in rows.items() if len(found)},
        masks,
        tuple(entry.name for entry in entries),
    )


def _open(source: Path) -> Files:
    """List a folder (read as needed) or an archive (held in memory)."""
    readers: dict[str, Reader]
    if source.is_dir():
        readers = {name: (source / name).read_bytes for name in _walk(source)}
    elif source.is_file():
        readers = {name: partial(bytes, data) for name, data in read_tar(source, _visible).items()}
    else:
        raise ValueError(f"{source}: no such folder or archive; set data.source to the folder of your images")
    top = _wrapper(readers)
    readers = {name.removeprefix(top): read for name, read in sorted(readers.items())}
    pictures = {name: read for name, read in readers.items() if name.lower().endswith(ENDINGS)}
    masks = {name[6:]: read for name, read in pictures.items() if name.startswith("masks/")}
    images = {name[7:]: read for name, read in pictures.items() if name.startswith("images/")}
    images = images or {name: read for name, read in pictures.items() if not name.startswith("masks/")}
    if not images:
        raise ValueError(
            f"{source}: holds no images ({' '.join(ENDINGS)}); set data.source to the folder of yours"
        )
    return Files(str(source), images, masks, readers.get(TABLE))


def _walk(root: Path) -> Iterator[str]:
    inside = root.resolve()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if not _visible(relative):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise ValueError(f"{root}: {relative} links out of the folder; put the file itself there")
            yield relative


def _visible(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _wrapper(names: Collection[str]) -> str:
    """ "top/" if one folder holds everything and is neither a class, a split nor `images`; else ""."""
    tops = {PurePosixPath(name).parts[0] for name in names}
    top = next(iter(tops), "")
    if len(tops) != 1 or top in (*SPLITS, "images"):
        return ""
    deep = all(len(PurePosixPath(name).parts) > 2 for name in names)
    return f"{top}/" if deep or f"{top}/{TABLE}" in names else ""


def _by_folder(files: Files) -> list[Entry]:
    """Entries of `class/image` or `split/class/image`, by name."""
    entries = []
    depths = {len(PurePosixPath(name).parts) for name in files.images}
    for name in files.images:
        parts = PurePosixPath(name).parts
        if len(depths) > 1 or len(parts) not in (2, 3):
            raise ValueError(
                f"{files.where}: expected {TABLE}, or all images as class/image or as split/class/image, "
                f"got {name}; sort them so or add {TABLE}"
            )
        split = _split(parts[0], f"{files.where}: folder {parts[0]}") if len(parts) == 3 else ""
        entries.append(Entry(name, parts[-2], split))
    return entries


def _by_table(files: Files, data: bytes, label: str) -> list[Entry]:
    """Entries of `labels.csv` in its order."""
    where = f"{files.where}: {TABLE}"
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="")
        columns = rows.fieldnames or []
        missing = [name for name in ("id", label) if name not in columns]
        if missing:
            raise ValueError(f"{where}: lacks the column {missing[0]}; its first line must name id and {label}")
        stems, seen, entries = _by_stem(files.images), set(), []
        for row in rows:
            line = f"{where} line {rows.line_num}"
            name = _find(row["id"], files.images, stems, line)
            if name in seen:
                raise ValueError(f"{line}: image {row['id']!r} is listed twice; remove one of the lines")
            if not row[label]:
                raise ValueError(f"{line}: image {row['id']!r} has no label; give it one or remove the line")
            seen.add(name)
            entries.append(Entry(name, row[label], _split(row["split"], line) if "split" in columns else ""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{where}: not a CSV table in UTF-8 ({type(error).__name__}); save it anew") from None
    return entries


def _find(name: str, images: Mapping[str, Reader], stems: Mapping[str, list[str]], line: str) -> str:
    """The image that an id means. Ids are looked up among the files listed: none can reach another file."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{line}: id {name!r} leads out of the folder; name a file under images/")
    found = [name] if name in images else stems.get(name, [])
    if len(found) != 1:
        number = "no image" if not found else f"{len(found)} images ({', '.join(found)})"
        raise ValueError(f"{line}: expected one image for id {name!r}, got {number}; correct the id or the files")
    return found[0]


def _split(name: str, where: str) -> str:
    if name not in SPLITS:
        raise ValueError(f"{where}: expected a split called train, val or test, got {name!r}; rename it")
    return SPLITS[name]


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = {}
    for name in names:
        stems.setdefault(_stem(name), []).append(name)
    return stems


def _numbers_first(label: str) -> tuple[bool, int, str]:
    """Sorts 10 after 9."""
    return not label.isdecimal(), int(label) if label.isdecimal() else 0, label
