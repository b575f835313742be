"""Tables as Parquet or CSV. Imports pandas and pyarrow only where one is read or written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auglens.artifacts.replacing import atomic

if TYPE_CHECKING:  # pandas takes half a second to import, and training does not need it
    import pandas as pd

ATTRS = b"PANDAS_ATTRS"  # where pandas keeps a table's attrs in Parquet


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
