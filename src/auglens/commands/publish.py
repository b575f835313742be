"""publish: this study's metric report, tables and figures → reports/published/NAME, to be committed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from auglens import artifacts
from auglens.report.page import compact_svg
from auglens.stages import layout

PUBLISHED = Path("reports/published")
FILES = (layout.METRICS, layout.RUNS, layout.CURVES, layout.AUGS, Path("params.yaml"))


def run(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f"publish: expected a name of small letters, digits and -, got {name!r}; rename it")
    missing = [str(path) for path in (*FILES, layout.COMPARISON, layout.ANALYSIS) if not path.exists()]
    if missing:
        raise ValueError(f"publish: {', '.join(missing)}: no such file; run `dvc repro` first")
    with artifacts.atomic_folder(PUBLISHED / name) as folder:
        shutil.copytree(layout.COMPARISON, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        shutil.copytree(layout.ANALYSIS, folder / "analysis", copy_function=shutil.copyfile)
        shutil.rmtree(folder / "confusion")  # a row per image and model: their figures say the same
        for path in FILES:
            shutil.copyfile(path, folder / path.name)
        for path in folder.rglob("*.svg"):  # they stay in the repository for good
            path.write_text(compact_svg(path.read_text(encoding="utf-8")) + "\n", encoding="utf-8")
    print(f"publish: {PUBLISHED / name}")
