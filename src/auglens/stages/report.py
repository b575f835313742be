"""report: the comparison → reports/index.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from auglens import artifacts
from auglens.config import REFERENCE
from auglens.report import Picture, Table, render, table
from auglens.stages import layout

CAPTIONS = {
    "performance.svg": "Performance on the test images: mean over seeds, a dot per model, the reference dashed.",
    "metrics.svg": "How far the maps moved from the reference's, per test image. The controls (identity, noise,"
    " reseed) change nothing of interest: they are the noise floor.",
    "correlations.svg": "Which augs move the maps of the same images: correlation over test images, per metric.",
    "pairs.svg": "How often a pair is among the four most and the four least correlated, over the metrics.",
    "curves.svg": "Training: validation solid, training dashed.",
}
TABLES = {
    "performance_summary": ("Performance", "Mean and sd over distinct models; macro averages."),
    "metric_summary": (
        "Metrics of the maps",
        "Over the test images of seed-averaged values; n = images used.",
    ),
    "pairs_strong": ("Strong pairs", "In how many metrics a pair is among the most correlated."),
    "pairs_weak": ("Weak pairs", "In how many metrics a pair is among the least correlated."),
    "degenerate": (
        "Degenerate maps",
        "Constant, flat (raw range below 1e-6 of the median) and undefined values.",
    ),
    "segments": ("By correctness", "Both models right, one right, both wrong."),
}


def sentences(study: dict[str, Any], scores: pd.DataFrame, counts: pd.DataFrame) -> list[str]:
    """What the page says first: what was compared, what is absent, what is degenerate."""
    cells = study["cells"]
    models = len({row["checkpoint_sha256"] for row in cells if row["aug"] != REFERENCE})
    augs = len({row["aug"] for row in cells} - {REFERENCE})
    found = [
        f"{len(cells) - 1} cells of {augs} augs and controls, {models} distinct models, against one reference."
    ]
    accuracy = scores[scores["score"] == "accuracy"].set_index("aug")["mean"]
    others = accuracy.drop(REFERENCE)
    if len(others):
        found.append(
            f"Test accuracy: reference {accuracy[REFERENCE]:.3f}; highest {others.max():.3f} ({others.idxmax()}),"
            f" lowest {others.min():.3f} ({others.idxmin()})."
        )
    constant, flat = int(counts["constant"].sum()), int(counts["flat"].sum())
    found.append(f"Degenerate maps: {constant} constant and {flat} flat of {int(counts['images'].sum())}.")
    if study["absent"]:
        found.append(f"Absent, and so not compared: {', '.join(study['absent'])}.")
    return found


def pictures(folder: Path) -> list[Picture]:
    alt = artifacts.load_json(folder / "alt.json")
    names = [name for name in CAPTIONS if name in alt]
    names += [name for name in alt if name.startswith("extremes/")]
    sheet = Picture(layout.AUGS, "Sample images, untouched and under each aug.", "What the augs make of an image.")
    return [sheet, *(Picture(folder / name, alt[name], CAPTIONS.get(name, alt[name])) for name in names)]


def run() -> None:
    study = artifacts.load_json(layout.RUNS, ("study_key", "cells", "absent"))
    frames = {name: pd.read_csv(layout.COMPARISON / f"{name}.csv") for name in TABLES}
    tables: list[Table] = [table(*TABLES[name], frame) for name, frame in frames.items()]
    facts = {
        "study key": study["study_key"],
        "reference": study["reference_train_key"],
        "variant": study["variant"],
        "metrics": ", ".join(study["metrics"]),
        "Class-KLD ε": f"{study['kld_eps']:g}",
    }
    page = render(
        summary=sentences(study, frames["performance_summary"], frames["degenerate"]),
        pictures=pictures(layout.COMPARISON / "figures"),
        tables=tables,
        facts=facts,
        parameters=Path("params.yaml").read_text(encoding="utf-8"),
    )
    artifacts.save_text(layout.REPORT, page)
    print(f"report: {layout.REPORT}")
