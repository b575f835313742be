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


def blobs(size: int, count: int = 5) -> torch.Tensor:
    """bool [count,size,size]: smooth regions."""
    coarse = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[:, 0] > 0.5


@pytest.mark.parametrize("size", [16, 24, 32, 48, 56, 64, 224])
@pytest.mark.parametrize("source", [29, 32, 96])
def test_a_mask_goes_where_the_image_goes_that_is_its_mask(source: int, size: int) -> None:
    masks = blobs(source)
    images = (masks[:, None] * torch.tensor(255, dtype=torch.uint8)).expand(-1, 3, -1, -1)
    found = plain(size).masks(masks)
    assert found.dtype == torch.bool
    assert 0 < found.sum() < found.numel()
    for channel in plain(size)(to_unit(images)).unbind(1):
        assert torch.equal(found, channel >= 0.5)
    assert torch.equal(plain(size).masks(masks.to(torch.uint8)), found)
    assert torch.equal(View(size, MEAN, STD).masks(masks.to(torch.uint8) * 255), found)
    alone = torch.cat([plain(size).masks(mask[None]) for mask in masks])
    assert torch.equal(found, alone)


def test_masks_by_hand_and_by_pillow() -> None:
    """A row of four at half and at twice the size: at half, antialiased, weights are 1, 3, 3, 1 of 8."""
    masks = torch.tensor([[1, 1, 0, 0]] * 4, dtype=torch.bool)[None]
    assert plain(2).masks(masks).tolist() == [[[True, False]] * 2]
    assert plain(8).masks(masks).tolist() == [[[True] * 4 + [False] * 4] * 8]
    small = torch.zeros(1, 32, 32, dtype=torch.bool)
    small[0, 5, 5] = True
    assert not plain(16).masks(small).any()  # it vanishes
    for size in (20, 50):
        for mask, found in zip(blobs(32), plain(size).masks(blobs(32)).numpy(), strict=True):
            pixels = Image.fromarray(mask.numpy().astype(np.float32))
            theirs = np.asarray(pixels.resize((size, size), Image.Resampling.BILINEAR))
            clear = abs(theirs - 0.5) > 1e-5
            assert (found == (theirs >= 0.5))[clear].all()
            assert clear.mean() > 0.9


@pytest.mark.parametrize(
    ("masks", "got"),
    [
        (torch.zeros(2, 1, 4, 4, dtype=torch.bool), "bool [2, 1, 4, 4]"),
        (torch.zeros(2, 4, 4), "float32 [2, 4, 4]"),
    ],
)
def test_masks_of_another_kind_are_refused(masks: torch.Tensor, got: str) -> None:
    with pytest.raises(ValueError, match="masks") as caught:
        plain(8).masks(masks)
    assert str(caught.value) == f"masks: expected uint8 or bool [B,H,W], got {got}; pass one mask per image"
