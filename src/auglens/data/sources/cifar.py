"""CIFAR-10 and CIFAR-100 in their official layout, from an archive or a folder, whole or a subset.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from auglens.data.sources import Source
from auglens.data.sources.archive import read_tar
from auglens.data.sources.unpickler import text, unpickle

Array = np.ndarray[Any, Any]

SIZE = 32  # pixels


@dataclass(frozen=True)
class Layout:
    """File and key names of one data set, and what its official archive is known by."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    size: int  # bytes of the official archive
    md5: str
    get: str  # how to get it


LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{k}" for k in range(1, 6)),
        test="test_batch",
        meta="batches.meta",
        labels="labels",
        names="label_names",
        size=170_498_071,
        md5="c58f30108f718f92721af3b95e74349a",
        get="run `dvc update data.dvc` to fetch the official archive, or set data.source to your own copy",
    ),
    "cifar100": Layout(
        folder="cifar-100-python",
        train=("train",),
        test="test",
        meta="meta",
        labels="fine_labels",
        names="fine_label_names",
        size=169_001_437,
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        get=(
            "fetch https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz, or set data.source to your own copy"
        ),
    ),
}


def load(name: str, source: str | Path) -> Source:
    """`name`: cifar10 or cifar100; `source`: an archive, the unpacked folder or the folder above it.

    Images come in the order of the files, training before test. The official archive is known by its size
    and must have its md5; others are subsets, known by their content. Raises ValueError in one line.
    """
    layout = LAYOUTS[name]
    files = _read(Path(source), layout)
    content = {key: unpickle(data, f"{source}: {key}") for key, data in files.items()}
    classes = _classes(content[layout.meta], layout, f"{source}: {layout.meta}")
    parts = [
        _batch(content[key], layout.labels, len(classes), f"{source}: {key}")
        for key in (*layout.train, layout.test)
    ]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    train = len(labels) - len(parts[-1][1])
    given = {"train": np.arange(train), "test": np.arange(train, len(labels))}
    return Source(images, labels, classes, given)


def _read(source: Path, layout: Layout) -> dict[str, bytes]:
    """The bytes of the files that `layout` names; each must be there."""
    keys = (*layout.train, layout.test, layout.meta)
    if source.is_dir():
        root = source / layout.folder if (source / layout.folder).is_dir() else source
        files = {key: (root / key).read_bytes() for key in keys if (root / key).is_file()}
    elif source.is_file():
        _check_official(source, layout)
        wanted = {f"{folder}{key}": key for key in keys for folder in (f"{layout.folder}/", "")}
        members = read_tar(source, wanted.__contains__)
        files = {PurePosixPath(name).name: data for name, data in members.items()}
    else:
        raise ValueError(f"{source}: no such archive or folder; {layout.get}")
    missing = [key for key in keys if key not in files]
    if missing:
        raise ValueError(f"{source}: lacks {', '.join(missing)} of {layout.folder}; {layout.get}")
    return files


def _check_official(source: Path, layout: Layout) -> None:
    if source.stat().st_size != layout.size:
        return
    with source.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != layout.md5:
        raise ValueError(
            f"{source}: has the official archive's {layout.size:,} bytes, but md5 {md5}, "
            f"expected {layout.md5}; delete it and {layout.get}"
        )


def _classes(meta: Mapping[str, Any], layout: Layout, where: str) -> tuple[str, ...]:
    names = meta.get(layout.names)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise ValueError(f"{where}: expected a list of class names under {layout.names}; {layout.get}")
    return tuple(text(name) for name in names)


def _batch(content: Mapping[str, Any], key: str, classes: int, where: str) -> tuple[Array, Array]:
    """(images uint8 [n,3,32,32], labels int64 [n]) of one file, checked."""
    data, labels = content.get("data"), content.get(key)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * SIZE * SIZE,):
        got = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"{where}: expected data uint8 [n, 3072], got {got}; write the file anew")
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    whole = isinstance(values, list) and all(type(value) is int for value in values)
    if not isinstance(values, list) or not whole or len(values) != len(data):
        raise ValueError(f"{where}: expected {len(data):,} whole numbers under {key}; write the file anew")
    wrong = [value for value in values if not 0 <= value < classes]
    if wrong:
        raise ValueError(f"{where}: expected labels 0 to {classes - 1}, got {wrong[0]}; write the file anew")
    return data.reshape(-1, 3, SIZE, SIZE), np.array(values, np.int64)
