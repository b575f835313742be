"""What the tests of the active room share: one thread, a small network whose statistics have moved, images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.active.oracles import network, pictures
from torch import nn

from auglens.active.step import Training


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> nn.Module:
    return network()


@pytest.fixture(scope="session")
def training() -> Training:
    """14 images of 32 pixels, of 4 classes, with masks, one of which is empty and one of which is full."""
    images = pictures(14, seed=3)
    masks = torch.zeros(14, 32, 32, dtype=torch.uint8)
    for row in range(12):
        masks[row, row : row + 14, 20 - row : 30 - row] = 1
    masks[13] = 255
    return Training(images, torch.arange(14) % 4, masks)
