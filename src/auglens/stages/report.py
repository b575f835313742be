"""report: comparison and analysis → reports/index.html."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from auglens import artifacts
from auglens.config import CONTROLS, REFERENCE
from auglens.report import (
    BrowserData,
    Picture,
    Section,
    Study,
    Table,
    browser_data,
    budget_left,
    findings,
    first_seeds,
    render,
    table,
)
from auglens.report.contents import AUGS, SECTIONS, TABLES, metric_label
from auglens.stages import layout

FOLDERS = {"comparison": layout.COMPARISON, "analysis": layout.ANALYSIS}
TITLE = "What does an augmentation change in what the classifier looks at?"
PACKAGES = ("auglens", "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "scikit-learn", "dvc", "mlflow")
COMMANDS = (
    "git checkout THE_COMMIT_OF_THIS_STUDY   # params.yaml and dvc.lock are part of it",
    "make study                              # or: dvc pull && dvc repro",
)
ROWS = 200  # of a table on the page; the CSV holds the rest


def load_tables() -> dict[str, pd.DataFrame]:
    """The tables that there are; a study of the reference alone has no analysis, a chainless one no chains."""
    found = {}
    for told in TABLES:
        path = FOLDERS[told.folder] / f"{told.file}.csv"
        if path.exists():
            found[told.file] = pd.read_csv(path)
    return found


def make_tables(frames: dict[str, pd.DataFrame]) -> list[Table]:
    return [
        table(told.title, told.caption, frames[told.file], group=told.group, controls=CONTROLS, rows=ROWS,
              source=f"reports/{told.folder}/{told.file}.csv")
        for told in TABLES if told.file in frames and len(frames[told.file])
    ]  # fmt: skip


def make_sections() -> list[Section]:
    alt = {name: artifacts.load_json(folder / "figures/alt.json") for name, folder in FOLDERS.items()}
    found = []
    for anchor, title, text, figures in SECTIONS:
        pictures = [
            Picture(FOLDERS[one.folder] / "figures" / one.file, alt[one.folder][one.file], one.caption)
            for one in figures
            if one.file in alt[one.folder]
        ]
        if anchor == "active":
            made = {name: told for name, told in alt["comparison"].items() if name.startswith("made/")}
            pictures += [
                Picture(layout.COMPARISON / "figures" / name, told, f"Made at the last step by {Path(name).stem}.")
                for name, told in made.items()
            ]
        if pictures or anchor not in ("active", "robustness"):  # of these a study may have nothing
            found.append(Section(anchor, title, text, pictures))
    sheet = Picture(layout.AUGS, "Sample images, untouched and under each aug.", "Sample images under each aug.")
    return [*found, Section("augs", AUGS, "", [sheet])]


def make_browser(study: dict[str, Any], page: str, labels: dict[str, str]) -> BrowserData:
    """The test images with the maps of each aug's first seed, in the bytes that the page has left."""
    prepared = artifacts.load_prepared(layout.SPLITS)
    values = artifacts.load_table(layout.PER_IMAGE, ("aug", "seed", "image", "label", "predicted"))
    for name in labels:
        if name not in values:  # a study of the reference alone compares nothing
            values[name] = float("nan")
    files = {
        aug: f"{REFERENCE}.npz" if aug == REFERENCE else f"{aug}-{seed}.npz"
        for aug, seed in first_seeds(values).items()
    }
    maps = {aug: artifacts.load_maps(layout.STUDY_MAPS / name).raw for aug, name in files.items()}
    return browser_data(
        prepared.images, prepared.test, prepared.manifest["classes"], values, maps, labels, controls=CONTROLS,
        budget=budget_left(page),
    )  # fmt: skip


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # mlflow and dvc are no part of the core
            continue
    return found


def run() -> None:
    study = artifacts.load_json(layout.RUNS, ("study_key", "cells", "absent", "metrics", "further"))
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json", ("name", "counts", "classes"))
    frames = load_tables()
    cells = study["cells"]
    distinct: dict[str, set[str]] = {}
    for row in cells:
        distinct.setdefault(row["aug"], set()).add(row["checkpoint_sha256"])
    told = Study(
        metrics=study["metrics"],
        further=study["further"],
        steps={row["aug"]: row["steps"] for row in reversed(cells)},
        replicates={aug: len(models) for aug, models in distinct.items()},
        absent=study["absent"],
    )
    models = sum(map(len, distinct.values()))
    facts = {
        "Data": f"{manifest['name']}, {len(manifest['classes'])} classes",
        "Cells": f"{len(cells)} ({models} distinct models)",
        "Test images": f"{manifest['counts']['test']:,}",
        "Explained": study["variant"],
        "Study": study["study_key"][:12],
    }
    page: dict[str, Any] = {
        "title": TITLE,
        "findings": findings(frames, told),
        "facts": facts,
        "sections": make_sections(),
        "tables": make_tables(frames),
        "fingerprint": {
            "study key": study["study_key"],
            "reference's train key": study["reference_train_key"],
            "data": str(manifest.get("content", "")),
            "Class-KLD ε": f"{study['kld_eps']:g}",
        },
        "versions": versions(),
        "commands": COMMANDS,
        "parameters": Path("params.yaml").read_text(encoding="utf-8"),
    }
    labels = {name: metric_label(name) for name in study["metrics"]}
    browser = make_browser(study, render(**page, browser=None), labels)
    artifacts.save_text(layout.REPORT, render(**page, browser=browser))
    size = layout.REPORT.stat().st_size / 1e6
    print(
        f"report: {layout.REPORT}, {size:.1f} MB, {len(browser.labels)} of {browser.total} test images to browse"
    )
