"""MLflow's own pages over published cells, in a browser: the comparison of two, and the table of runs."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracking.test_server import free_port, start, stop, wait

from auglens.tracking import CellRecord, DatasetRecord, Tracker

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Route

pytestmark = pytest.mark.browser

PAGE_MS = 90_000  # MLflow's pages are megabytes of JavaScript, and test machines may be busy
# MLflow 3.17 asks who is logged in; a server without accounts has no such address. Nothing else may be refused.
NO_ACCOUNTS = "/ajax-api/2.0/mlflow/users/current"
# MLflow writes the browser's notice of a layout that took two frames to the console; a busy machine brings it
# about (W3C Resize Observer, "deliver resize loop error": what was not delivered is, in the next frame).
TWO_FRAMES = "ResizeObserver loop completed with undelivered notifications."
NAMES = ("accuracy", "f1", "mad_mean", "pearson_mean", "overlap_5_mean")
METRICS = {
    "equalize-1": dict(zip(NAMES, (0.6383, 0.6312, 0.2011, 0.5177, 0.0862), strict=True)),
    "noise-2": dict(zip(NAMES, (0.6224, 0.6177, 0.1903, 0.5623, 0.1197), strict=True)),
}
# One grey pixel.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
DATA = DatasetRecord(
    name="cifar10",
    content="c" * 64,
    source="5" * 64,
    shape=(3, 32, 32),
    dtype="uint8",
    classes=10,
    counts={"train": 4576, "validation": 509, "test": 1017},
)


class Visitor:
    """A page that reaches one server alone, and what went wrong on it."""

    def __init__(self, page: Page, server: str) -> None:
        self.page, self.server = page, server
        self.wrong: list[str] = []
        self.outside: list[str] = []
        page.set_default_timeout(PAGE_MS)
        page.route("**/*", self._route)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self._complaint(said.text, said.location["url"]))

    def _route(self, route: Route, request: Request) -> None:
        if request.url.startswith((f"{self.server}/", "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(request.url)
            route.abort()

    def _complaint(self, text: str, url: str) -> None:
        no_accounts = "404" in text and url == f"{self.server}{NO_ACCOUNTS}"
        two_frames = text.endswith(TWO_FRAMES) and url.startswith(f"{self.server}/static-files/")
        if not (no_accounts or two_frames):
            self.wrong.append(f"{text} ({url})")

    def row(self, name: str) -> list[str]:
        """The texts right of the metric `name`, at its height, from left to right."""
        label = self.page.locator('a[title="Plot chart"]', has_text=name).first
        label.scroll_into_view_if_needed()
        box = label.bounding_box()
        assert box is not None
        found = []
        for cell in self.page.locator(".ReactVirtualized__Grid span").all():
            place = cell.bounding_box()
            if place and place["x"] > box["x"] + 100 and abs(place["y"] - box["y"]) < 15:
                found.append((place["x"], cell.inner_text()))
        return [text for _, text in sorted(found)]


def test_two_cells_are_compared_metric_by_metric(
    chromium: Browser, migrated: Path, tmp_path: Path, make_record: Callable[..., CellRecord]
) -> None:
    root, port = tmp_path / "server", free_port()
    root.mkdir()
    shutil.copy(migrated, root / "mlflow.db")
    files = {"curves.png": PICTURE, "maps/raw.npz": b"raw"}
    records = [
        make_record(cell, params={"aug": cell.rpartition("-")[0]}, metrics=values, dataset=DATA, files=files)
        for cell, values in METRICS.items()
    ]
    with Tracker.connect(f"sqlite:///{root}/mlflow.db", "auglens", root) as tracker:
        ids = [published.run_id for published in tracker.publish_all(records)]
        experiment = tracker.store.experiment_id
    server = start(root, port)
    try:
        wait(server, root, port)
        page = chromium.new_page(viewport={"width": 1280, "height": 2200})
        visitor = Visitor(page, f"http://127.0.0.1:{port}")
        page.goto(f'{visitor.server}/#/compare-runs?runs=["{ids[0]}","{ids[1]}"]&experiments=["{experiment}"]')
        page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
        page.locator('a[title="Plot chart"]', has_text="overlap_5_mean").first.wait_for()
        page.get_by_text("curves.png").first.wait_for()  # of the artefacts, MLflow compares those in no folder
        page.locator(".js-plotly-plot").first.wait_for()
        page.screenshot(path=tmp_path / "comparison.png", full_page=True)
        for name in NAMES:
            # The page shows three decimals.
            assert visitor.row(name) == [f"{round(METRICS[cell][name], 3):g}" for cell in METRICS], name
        assert visitor.row("train_loss") == ["0.1", "0.1"]
        shown = page.inner_text("body")
        for cell in METRICS:
            assert cell in shown
        assert "raw.npz" not in shown

        page.goto(f"{visitor.server}/#/experiments/{experiment}/runs")
        page.get_by_text("equalize-1").first.wait_for()
        page.get_by_text(f"cifar10 ({'c' * 8}-").first.wait_for()
        page.screenshot(path=tmp_path / "runs.png")
        shown = page.inner_text("body")
        assert "Training" in shown
        assert "Testing" in shown
        page.close()
    finally:
        stop(server)
    assert visitor.wrong == []
    assert visitor.outside == []
