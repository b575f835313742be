"""Every benchmark, one after another: `make bench`, or `python -m benchmarks [NAME ...]`.

Rows go to standard output as they come, and to benchmarks/results.jsonl, where a script's rows replace those of
its last run. At the end a table: what was met and what was not. About two hours on two cores; nothing else should
run beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.timing import note

SCRIPTS = {
    "gradcam": (),
    "scorecam": (),
    "windows": (),
    "map_metrics": (),
    "measure_memory": (),
    "augmentations": (),
    "training": (),
    "startup": (),
    "image_size": (),
    "rounding": (),
    "many_cells": (),
    "growth": ("many_cells", "growth"),
    "study": (),
}
RESULTS = Path(__file__).parent / "results.jsonl"


def run(name: str) -> list[dict[str, Any]]:
    """The rows of one script, printed as they come."""
    words = SCRIPTS[name] or (name,)
    command = [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]]
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=RESULTS.parents[1]) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            rows.append({"benchmark": name} | json.loads(line))
    if not rows:
        note(f"{name}: no rows, exit code {process.returncode}")
    return rows


def keep(rows: list[dict[str, Any]]) -> None:
    """Into RESULTS, in the order of SCRIPTS, in the place of the same scripts' last rows."""
    new = {row["benchmark"] for row in rows}
    old = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    rows = [row for row in old if row["benchmark"] not in new] + rows
    rows.sort(key=lambda row: list(SCRIPTS).index(row["benchmark"]))
    RESULTS.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def told(row: dict[str, Any]) -> str:
    """One row in words: ratios, limit, equality."""
    parts = [
        f"{one['ratio']:.2f}× {name} (target {one['target']:g})" for name, one in row.get("times_peer", {}).items()
    ]
    if "share" in row.get("of_limit", {}):
        parts.append(f"{row['of_limit']['share']:.0%} of: {row['of_limit']['limit']}")
    if "equal" in row:
        parts.append(f"apart {row['equal']['largest_difference']:.1e} (at most {row['equal']['tolerance']:g})")
    if "seconds" in row and not isinstance(row["seconds"], dict):
        parts.append(f"{row['seconds']:.2f} s")
    mark = {True: "met", False: "MISSED", None: ""}[row.get("met")]
    return f"{mark:7}{row['benchmark']}: {row.get('row', row['subject'])}: {'; '.join(parts)}"


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SCRIPTS]
    if unknown:
        print(f"benchmarks: unknown {', '.join(unknown)}; one or more of {', '.join(SCRIPTS)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or SCRIPTS:
        found = run(name)
        keep(found)
        rows += found
    print("\n".join(told(row) for row in rows), file=sys.stderr)
    return 0 if all(row.get("met", True) for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
