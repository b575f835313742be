"""Typed save and load of everything on disk: atomic (write, fsync, rename) and schema-checked.

A reader never sees half a file: every writer fills a temporary neighbour first. Nothing time-, path- or
run-dependent is written, so that equal values give equal bytes.
"""

from auglens.artifacts.pictures import save_figure, save_picture
from auglens.artifacts.replacing import atomic, atomic_folder
from auglens.artifacts.study import (
    MAP_ARRAYS,
    SPLITS,
    Maps,
    Prepared,
    load_checkpoint,
    load_maps,
    load_prepared,
    save_checkpoint,
    save_maps,
    save_prepared,
)
from auglens.artifacts.tables import load_table, save_table, save_tables, table_head
from auglens.artifacts.values import (
    Array,
    hash_values,
    load_arrays,
    load_json,
    save_arrays,
    save_json,
    save_text,
    sha256,
)

__all__ = [
    "MAP_ARRAYS",
    "SPLITS",
    "Array",
    "Maps",
    "Prepared",
    "atomic",
    "atomic_folder",
    "hash_values",
    "load_arrays",
    "load_checkpoint",
    "load_json",
    "load_maps",
    "load_prepared",
    "load_table",
    "save_arrays",
    "save_checkpoint",
    "save_figure",
    "save_json",
    "save_maps",
    "save_picture",
    "save_prepared",
    "save_table",
    "save_tables",
    "save_text",
    "sha256",
    "table_head",
]
