"""Typed save and load of everything on disk: atomic (write, fsync, rename) and schema-checked.

A reader never sees half a file: every writer fills a temporary neighbour first. Nothing time-, path- or
run-dependent is written, so that equal values give equal bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # pandas takes half a second to import, and training does not need it
    import pandas as pd
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
ATTRS = b"PANDAS_ATTRS"  # where pandas keeps a table's attrs in Parquet


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Like `atomic` for a whole folder; an earlier folder of that name is replaced."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(path: Path | str) -> str:
    """Hexadecimal digest of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_values(values: object) -> str:
    """Hexadecimal sha256 of `values` as canonical JSON: how every key is made."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """numpy scalars as Python's; NaN and infinities, which JSON has not, as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def save_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(path: Path | str, values: object) -> None:
    save_text(path, json.dumps(_plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def load_json(path: Path | str, keys: Sequence[str] = ()) -> Any:
    """The values in `path`; ValueError where it is missing, is not JSON or lacks one of `keys`."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path}: not JSON; delete it and run `dvc repro`") from None
    missing = [key for key in keys if not isinstance(values, dict) or key not in values]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; delete it and run `dvc repro`")
    return values


def save_table(path: Path | str, table: pd.DataFrame) -> None:
    """A table as Parquet, or as CSV where the name ends so (floats with 10 significant digits)."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            table.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")
        else:
            table.to_parquet(temporary, index=False, compression="zstd")


@contextlib.contextmanager
def _reading_parquet(path: Path | str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (pa.ArrowInvalid, OSError):
        raise ValueError(f"{path}: not a Parquet table; delete it and run `dvc repro`") from None


def load_table(
    path: Path | str, columns: Sequence[str] = (), *, beside: Sequence[str] | None = None
) -> pd.DataFrame:
    """The Parquet table in `path`; ValueError where it is missing, unreadable or lacks one of `columns`.

    beside: where given, only `columns` and those of these that there are get read.
    """
    import pandas as pd

    present, _ = _head(path, columns)
    wanted = None if beside is None else [name for name in present if name in {*columns, *beside}]
    with _reading_parquet(path):
        return pd.read_parquet(path, columns=wanted)


def table_head(path: Path | str) -> tuple[list[str], dict[str, Any]]:
    """(names of the columns, attrs) of the Parquet table in `path`, its rows unread; errors as of `load_table`."""
    return _head(path, ())


def _head(path: Path | str, columns: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    import pyarrow.parquet as pq

    with _reading_parquet(path):
        schema = pq.read_schema(path)
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise ValueError(f"{path}: lacks the columns {', '.join(missing)}; delete it and run `dvc repro`")
    return schema.names, json.loads((schema.metadata or {}).get(ATTRS, b"{}"))


def save_tables(
    path: Path | str,
    parts: Sequence[tuple[Path, Mapping[str, Any]]],
    columns: Sequence[str] = (),
    *,
    first: Sequence[str] = (),
) -> None:
    """The Parquet tables of `parts` below one another as one: what pandas writes of their `concat`.

    parts: (table, column → one value for all its rows); first: columns that come first. A column that a part
    lacks is undefined in its rows. The rows never become a DataFrame, which takes several times their memory.
    ValueError where a table is missing, unreadable or lacks one of `columns`.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables, heads = [], []
    for source, values in parts:
        _, attrs = _head(source, columns)
        with _reading_parquet(source):
            table = pq.read_table(source)
        tables.append((table, values))
        heads.append(table.slice(0, 1).to_pandas().assign(**values))
        heads[-1].attrs = attrs
    # pandas says which type a column has that some parts lack, and what is told of it.
    head = pd.concat(heads, ignore_index=True)
    head = head[[*first, *(name for name in head if name not in first)]]
    schema = pa.Schema.from_pandas(head, preserve_index=False)
    if head.attrs:  # kept where they are those of every part
        schema = schema.with_metadata((schema.metadata or {}) | {ATTRS: json.dumps(head.attrs).encode()})
    chunks = []
    for table, values in tables:
        columns = [
            table[field.name].cast(field.type) if field.name in table.column_names
            else pa.repeat(pa.scalar(values.get(field.name), field.type), len(table))
            for field in schema
        ]  # fmt: skip
        chunks.append(pa.Table.from_arrays(columns, schema=schema))
    with atomic(path) as temporary:
        pq.write_table(pa.concat_tables(chunks), temporary, compression="zstd")


def save_arrays(path: Path | str, **arrays: Array) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_arrays(path: Path | str, names: Sequence[str]) -> dict[str, Array]:
    """The named arrays of an NPZ file; ValueError where it is missing, damaged or lacks one."""
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run `dvc repro` to make it") from None
    except KeyError as error:
        raise ValueError(f"{path}: lacks {error.args[0]}; delete it and run `dvc repro`") from None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError):
        raise ValueError(f"{path}: not an NPZ file of arrays; delete it and run `dvc repro`") from None


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


MAP_ARRAYS = ("raw", "logits", "targets", "size", "map_key")


@dataclass(frozen=True)
class Maps:
    """One cell's explanations. raw float32 [N,h,w]; logits float32 [N,C]; targets int64 [N]; size: pixels."""

    raw: Array
    logits: Array
    targets: Array
    size: int  # side of the finished map = of the image that the network sees
    map_key: str


def save_maps(path: Path | str, maps: Maps) -> None:
    scalars = {"size": np.int64(maps.size), "map_key": np.str_(maps.map_key)}
    arrays = {"raw": maps.raw, "logits": maps.logits, "targets": maps.targets} | scalars
    save_arrays(path, **{name: np.asarray(value) for name, value in arrays.items()})


def load_maps(path: Path | str) -> Maps:
    arrays = load_arrays(path, MAP_ARRAYS)
    raw, logits, targets = arrays["raw"], arrays["logits"], arrays["targets"]
    if raw.ndim != 3 or logits.ndim != 2 or targets.shape != (len(raw),) or len(logits) != len(raw):
        shapes = f"raw {raw.shape}, logits {logits.shape}, targets {targets.shape}"
        raise ValueError(f"{path}: expected raw [N,h,w], logits [N,C], targets [N], got {shapes}; delete it")
    return Maps(raw, logits, targets, int(arrays["size"]), str(arrays["map_key"]))


@dataclass(frozen=True)
class Prepared:
    """The prepared data. images uint8 [N,3,H,W], memory-mapped; labels int64 [N]; masks uint8 [N,H,W] or None;
    train, validation, test int64: rows of `images`; manifest: classes, mean, std, content and more."""

    images: Array
    labels: Array
    masks: Array | None
    train: Array
    validation: Array
    test: Array
    manifest: dict[str, Any]


SPLITS = ("train", "validation", "test")


def save_prepared(folder: Path | str, prepared: Prepared) -> None:
    with atomic_folder(folder) as temporary:
        np.save(temporary / "images.npy", prepared.images)
        np.save(temporary / "labels.npy", prepared.labels)
        if prepared.masks is not None:
            np.save(temporary / "masks.npy", prepared.masks)
        save_arrays(temporary / "split.npz", **{name: getattr(prepared, name) for name in SPLITS})
        save_json(temporary / "manifest.json", prepared.manifest)


def load_prepared(folder: Path | str) -> Prepared:
    root = Path(folder)
    manifest = load_json(root / "manifest.json", ("classes", "mean", "std", "content"))
    split = load_arrays(root / "split.npz", SPLITS)
    try:
        images = np.load(root / "images.npy", mmap_mode="r")
        labels = np.load(root / "labels.npy")
        masks = np.load(root / "masks.npy", mmap_mode="r") if (root / "masks.npy").exists() else None
    except (OSError, ValueError):
        raise ValueError(f"{root}: images.npy or labels.npy is missing or damaged; run `dvc repro`") from None
    return Prepared(images, labels, masks, split["train"], split["validation"], split["test"], manifest)


def save_checkpoint(path: Path | str, tensors: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Torch tensors as safetensors. The metadata is one JSON text: several keys come in random order."""
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, {"auglens": json.dumps(_plain(metadata), sort_keys=True)})


def load_checkpoint(path: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, metadata) of a checkpoint; ValueError where it is missing or is not one of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["auglens"])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint; run `dvc repro` to train it") from None
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError):
        raise ValueError(f"{path}: not an auglens checkpoint; delete it and run `dvc repro`") from None
