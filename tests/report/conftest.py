"""What the report's tests share: a small study with known extremes, and its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auglens.report import BrowserData, Finding, Picture, Section, browser_data, render, table

METRICS = {"mad": "MAD", "pearson": "Pearson", "class_kld": "Class-KLD"}
AUGS = ("cutmix", "color_jitter", "affine+color_jitter", "identity")
CONTROLS = ("identity", "noise", "reseed")
HOSTILE = "</script><script>window.broken = 1</script><!--"
CLASSES = ("cat", "dog", HOSTILE, "<b>&amp;\u2028ship")
SVG = (
    '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd">\n'
    '<svg width="600pt" height="300pt" viewBox="0 0 600 300" xmlns="http://www.w3.org/2000/svg">\n'
    "<!-- text --><metadata>matplotlib</metadata>\n"
    '<path d="M 1.23456 2.98765 \nL -3.00001 4 \nz"\n style="stroke-width: 0.123456"/></svg>\n'
)


@dataclass(frozen=True)
class Study:
    images: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]
    table: pd.DataFrame
    maps: dict[str, np.ndarray[Any, Any]]

    def browser(self, **options: Any) -> BrowserData:
        return browser_data(
            self.images, self.rows, CLASSES, self.table, self.maps, METRICS, controls=CONTROLS, **options
        )


def make_study(count: int, augs: Sequence[str] = AUGS, *, grid: int = 8, side: int = 32, seed: int = 0) -> Study:
    """`count` test images in reversed order among as many others; the reference and the augs, a seed each."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 100, side).astype(np.uint8)
    base = rng.integers(0, 50, (2 * count, 3, 1, 1), dtype=np.uint8)
    images = base + (ramp[:, None] + ramp)
    labels = rng.integers(0, len(CLASSES), count)
    frames, maps = [], {}
    for at, name in enumerate(("reference", *augs)):
        maps[name] = rng.random((count, grid, grid), dtype=np.float32)
        predicted = np.where(rng.random(count) < 0.6, labels, (labels + 1) % len(CLASSES))
        frame = {"aug": name, "seed": 0 if at == 0 else 3, "image": np.arange(count), "label": labels}
        frame |= {"predicted": predicted, "confidence": rng.random(count)}
        if at:
            frame |= {metric: rng.normal(size=count) for metric in METRICS}
        frames.append(pd.DataFrame(frame))
    return Study(images, np.arange(2 * count)[::-2], pd.concat(frames, ignore_index=True), maps)


@pytest.fixture(scope="session")
def study() -> Study:
    """40 images. Of cutmix, image 7 has the highest MAD, 0.987654, image 3 the next, image 11 none; the second
    map of cutmix is constant, the fourth not finite."""
    study = make_study(40)
    at = study.table["aug"] == "cutmix"
    mad = study.table.loc[at, "mad"].clip(upper=0.5).to_numpy(copy=True)
    mad[[7, 3, 11]] = 0.987654, 0.9, np.nan
    study.table.loc[at, "mad"] = mad
    study.maps["cutmix"][1] = 0.25
    study.maps["cutmix"][3, 0, 0] = np.nan
    return study


@pytest.fixture(scope="session")
def make_page(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """render(…) with something of everything; keywords replace parts of it."""
    path = tmp_path_factory.mktemp("figures") / "one.svg"
    path.write_text(SVG)
    numbers = pd.DataFrame(
        {
            "aug": ["cutmix", "identity", "affine", "elastic", "shear"],
            "mean": [10.5, 9.25, float("nan"), -100.0, -250.0],
            "n": [3, 20, 100, 1, 7],
        }
    )
    parts: dict[str, Any] = {
        "title": f"What moves? {HOSTILE}",
        "findings": [
            Finding("claim/one", f"cutmix moved by 0.018 [0.011, 0.025], 93 % {HOSTILE}"),
            Finding("open/two", "Nothing else."),
            Finding("mind/three", "The reference sees half the steps."),
            Finding("what/ever", "Without a group."),
        ],
        "facts": {"Study": "cfe304dd7b02", HOSTILE: HOSTILE},
        "sections": [
            Section("floor", "How far", HOSTILE, [Picture(path, f'"{HOSTILE}', f"Caption {HOSTILE}")]),
            Section("empty", "Nothing to see", ""),
        ],
        "tables": [
            table("Means", f"Caption {HOSTILE}", numbers, group="Group", source="means.csv", controls=CONTROLS),
            table("Long", "Cut.", pd.DataFrame({"aug": [HOSTILE] * 50}), source="reports/long.csv", rows=20),
        ],
        "fingerprint": {"study key": "cfe304dd7b02bde9"},
        "versions": {"python": "3.12", HOSTILE: HOSTILE},
        "commands": ["dvc repro", HOSTILE],
        "parameters": f"data: {{name: {HOSTILE}}}\n",
    }  # fmt: skip

    def make(**replaced: Any) -> str:
        return render(**{**parts, "browser": study.browser(), **replaced})

    return make


@pytest.fixture(scope="session")
def page_file(make_page: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(make_page(), encoding="utf-8")
    return path
