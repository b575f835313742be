"""What the network sees of an image: the resizing and the normalising, against slow and separate ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from auglens.data.views import View, to_unit

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
IMAGES = torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def plain(size: int) -> View:
    """A view that resizes and does nothing else."""
    return View(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_pixels_are_normalised_channel_by_channel() -> None:
    seen = View(32, MEAN, STD)(to_unit(IMAGES))
    expected = (IMAGES.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(seen.double(), expected, rtol=1e-5, atol=1e-5)
    assert seen.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [16, 24, 56, 64])
def test_resizing_is_pillow_s(size: int) -> None:
    """Pillow filters where it shrinks, as we do. Its float images are resized channel by channel."""
    seen = plain(size)(to_unit(IMAGES)).numpy()
    for image, found in zip((IMAGES.float() / 255).numpy(), seen, strict=True):
        for channel, mine in zip(image, found, strict=True):
            theirs = Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(mine, np.asarray(theirs), atol=1e-5)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_an_image_does_not_depend_on_its_batch(size: int) -> None:
    view = View(size, MEAN, STD)
    whole = view(to_unit(IMAGES))
    alone = torch.cat([view(to_unit(image[None])) for image in IMAGES])
    assert torch.equal(whole, alone)


def test_the_input_stays_as_it_was() -> None:
    images = to_unit(IMAGES)
    View(32, MEAN, STD)(images)
    View(64, MEAN, STD)(images)
    assert torch.equal(images, to_unit(IMAGES))


def test_statistics_met_first_in_inference_serve_training_too() -> None:
    view = View(32, (0.11, 0.22, 0.33), STD)
    with torch.inference_mode():
        view(to_unit(IMAGES))
    images = to_unit(IMAGES).requires_grad_()
    view(images).sum().backward()
    expected = (1 / torch.tensor(STD)).view(1, 3, 1, 1).expand(images.shape)
    torch.testing.assert_close(images.grad, expected)
