"""What tests share: the real data packs, found in AUGLENS_DATA, else in ../shared/data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side: several threads each would wait for one another

ROOT = Path(__file__).parents[1]


def data_folder() -> Path:
    return Path(os.environ.get("AUGLENS_DATA", ROOT.parent / "shared/data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data packs; the test is skipped, and listed with the reason, where it is missing."""
    folder = data_folder()
    if not (folder / "build_cifar10.py").exists():
        pytest.skip(f"no real data in {folder}; set AUGLENS_DATA")
    return folder
