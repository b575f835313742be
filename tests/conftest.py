"""What tests share: the real data packs, found in AUGLENS_DATA, else in ../shared/data, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side: several threads each would wait for one another

ROOT = Path(__file__).parents[1]


def data_folder() -> Path:
    return Path(os.environ.get("AUGLENS_DATA", ROOT.parent / "shared/data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of whole studies first: each is one worker's (`--dist loadfile`), and the other does the rest."""
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data packs. Named in AUGLENS_DATA it must be there: the test fails where it is not.
    Without that variable, as on a machine that has no packs, the test is skipped, and listed with the reason."""
    folder = data_folder()
    if not (folder / "build_cifar10.py").exists():
        if "AUGLENS_DATA" in os.environ:
            pytest.fail(f"AUGLENS_DATA: no real data in {folder}; name the folder of the packs, or unset it")
        pytest.skip(f"no real data in {folder}; set AUGLENS_DATA")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium without a window; the test fails, and is not skipped, where it is missing."""
    from tests.browser import launch_chromium

    with launch_chromium() as browser:
        yield browser
