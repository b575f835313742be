"""runs: all finished cells of the MLflow store as one table that can be asked questions (docs/runs.md)."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auglens import artifacts, config, tracking
from auglens.stages import layout

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# What a terminal shows without being asked, as many from the left as fit.
USUAL = ("cell", "data", "model", "method", "target", "accuracy", "f1", "mad_mean", "pearson_mean", "started")
WIDEST = 40  # characters of a text on a terminal
# A question reads the table `runs` and nothing else: no file, network, extension, setting or Python value.
SEALED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
UNKNOWN_COLUMN = re.compile(
    r'Referenced column "(.+?)" not found|have a column named "(.+?)"|[Cc]olumn "(.+?)" (?:in|does not exist|must)'
)
UNKNOWN_TABLE = re.compile(r'Table with name "?(.+?)"? does not exist|Referenced table "(.+?)" not found')


def run(sql: str | None = None, to: str | None = None, columns: str | None = None, every: bool = False) -> None:
    """sql: one SELECT over `runs`; to: a .parquet or .csv file; columns: names, '*', or '' to list them."""
    if to is not None and Path(to).suffix not in (".parquet", ".csv"):
        raise ValueError(f"--to {to}: expected a file that ends in .parquet or .csv; rename it")
    if sql is not None and columns is not None:
        raise ValueError("--columns: expected alone, got it with --sql; name the columns in the SELECT")
    settings = config.load().tracking
    found = tracking.read_table(settings.uri, settings.experiment, layout.root(), every=every)
    everything = arrow(found)
    names: list[str] = everything.column_names
    fitting = columns is None and sql is None and to is None and sys.stdout.isatty()
    if columns == "":
        table, note = _description(found), "{rows} columns"
    elif sql is not None:
        table, note = frame(ask(everything, sql)), "{rows} rows"
    else:
        chosen = USUAL if fitting else names if columns in (None, "*") else _chosen(str(columns), names)
        table = frame(everything.select([name for name in chosen if name in names]))
        note = f"{{rows}} runs, {{columns}} of {len(names)} columns: --columns '*' shows all, --columns lists them"
    if to is None:
        _print(table, note, fitting=fitting)
    else:
        artifacts.save_table(to, table)
        print(f"runs: {len(table)} rows, {len(table.columns)} columns: {to}")


def arrow(found: tracking.RunTable) -> pa.Table:
    """The table with the type of every column fixed, so that an empty one is not guessed."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("ms"),
    }
    schema = pa.schema([(column.name, types[column.type]) for column in found.columns])
    return pa.Table.from_pylist(found.rows, schema=schema)


def ask(runs: pa.Table, sql: str) -> pa.Table:
    """The answer of one SELECT over the table `runs`; ValueError in one line for anything else and for mistakes.

    Nothing limits how long it takes or how much it returns: Ctrl-C ends it.
    """
    import duckdb

    with duckdb.connect(":memory:", config=SEALED) as connection:
        connection.register("runs", runs)
        connection.execute("SET lock_configuration = true")
        connection.execute("BEGIN TRANSACTION READ ONLY")
        try:
            kinds = [statement.type.name for statement in connection.extract_statements(sql)]
            if kinds != ["SELECT"]:
                got = ", ".join(kinds) or "none"
                raise ValueError(f"--sql: expected one SELECT over the table runs, got {got}; --to saves results")
            return connection.sql(sql).to_arrow_table()
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.PermissionException:
            raise ValueError(
                "--sql: expected a SELECT that reads the table runs alone, got one that reaches for files or "
                "extensions, which is refused; --to saves results"
            ) from None
        except duckdb.Error as error:
            raise ValueError(f"--sql: {_mistake(str(error), sql, runs.column_names)}") from None


def frame(table: pa.Table) -> pd.DataFrame:
    """Whole numbers and truth values keep their type beside absent ones; lists, intervals, … become text."""
    import pandas as pd
    import pyarrow as pa

    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"--sql: expected each column once, got {twice[0]!r} again; name one with AS")
    nullable = {pa.bool_(): pd.BooleanDtype()} | {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    for place, column in enumerate(table.columns):
        kind = column.type
        plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if pa.types.is_decimal(kind):  # what sum() makes of whole numbers
            column = column.cast(pa.float64())
        elif not (plain or pa.types.is_string(kind) or pa.types.is_timestamp(kind)):
            column = pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
        table = table.set_column(place, names[place], column)
    return table.to_pandas(types_mapper=nullable.get)


def _mistake(message: str, sql: str, columns: list[str]) -> str:
    """DuckDB's message in one line; for an unknown name the nearest ones."""
    dotted = [name for name in re.findall(r"\w+(?:\.\w+)+", sql) if name.replace(".", "_") in columns]
    if dotted:  # a parameter as params.yaml has it, which SQL takes for a table's column
        return f"{dotted[0]!r} is the column {dotted[0].replace('.', '_')}"
    table = next((name for found in UNKNOWN_TABLE.findall(message) for name in found if name), None)
    if table:
        return f"no table {table!r}; the nearest is runs, the only one"
    column = next((name for found in UNKNOWN_COLUMN.findall(message) for name in found if name), None)
    if column and column.casefold() not in {name.casefold() for name in columns}:
        return no_column(column, columns) + ("" if f'"{column}"' not in sql else "; text goes in single quotes")
    text = re.sub(r"^[\w ]+ Error: ", "", message.split("\n\nLINE")[0])
    return f"{' '.join(text.split())}; correct the query (columns: `auglens runs --columns`)"


def no_column(name: str, columns: list[str]) -> str:
    lower = {column.casefold(): column for column in columns}
    near = [lower[found] for found in difflib.get_close_matches(name.casefold(), lower, 3, 0.6)]
    nearest = f"the nearest are {', '.join(near)}" if near else "none is near"
    return f"no column {name!r}; {nearest} (all of them: `auglens runs --columns`)"


def _chosen(text: str, columns: list[str]) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in columns:
            raise ValueError(f"--columns: {no_column(name, columns)}")
    return list(dict.fromkeys(names))


def _description(found: tracking.RunTable) -> pd.DataFrame:
    import pandas as pd

    rows = [(column.name, column.type, column.kind, column.filled, column.source) for column in found.columns]
    return pd.DataFrame(rows, columns=["column", "type", "of", "runs", "in MLflow"])


def _print(table: pd.DataFrame, note: str, *, fitting: bool) -> None:
    """Readable on a terminal, there with as many columns as fit if so asked; else CSV, for other programs."""
    if sys.stdout.isatty():
        lines, shown = aligned(table, shutil.get_terminal_size().columns if fitting else None)
        print(*lines, note.format(rows=len(table), columns=shown), sep="\n")
        return
    try:
        table.to_csv(sys.stdout, index=False, float_format="%.10g", lineterminator="\n")
        sys.stdout.flush()
    except BrokenPipeError:  # `auglens runs | head`; Python would complain again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def aligned(table: pd.DataFrame, width: int | None) -> tuple[list[str], int]:
    """Lines of columns, numbers to the right, and how many columns fit into `width` characters (None: all)."""
    import pandas as pd

    blocks: list[list[str]] = []
    total = 0
    for name in table:
        column = table[name]
        cells = [str(name), *(_cell(value) for value in column.tolist())]
        size = max(len(cell) for cell in cells)
        total += size + 2
        if width is not None and blocks and total - 2 > width:
            break
        right = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        blocks.append([cell.rjust(size) if right else cell.ljust(size) for cell in cells])
    return ["  ".join(row).rstrip() for row in zip(*blocks, strict=True)], len(blocks)


def _cell(value: Any) -> str:
    """A value as short text; control characters, which could steer a terminal, as question marks."""
    import pandas as pd

    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M}"
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
