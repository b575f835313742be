"""Faithfulness by hand on functions that stand for networks, and against pytorch-grad-cam's ROAD."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from auglens import compat
from auglens.metrics import FAITHFULNESS, faithfulness
from auglens.metrics.faithfulness import ROAD_SHARES
from auglens.metrics.imputation import impute

FILL = (0.5, 0.5, 0.5)


def share_of_red(images):
    """P(class 0) = the mean of the red of the upper left quarter; class 1 has the rest."""
    half = images.shape[2] // 2
    red = images[:, 0, :half, :half].mean((1, 2), dtype=np.float64)
    return np.stack([red, 1 - red], axis=1)


def red_images(value=0.8, number=1, size=8):
    images = np.zeros((number, 3, size, size), np.float32)
    images[:, 0] = value
    return images


def quarter(size=8):
    mask = np.zeros((1, size, size))
    mask[:, : size // 2, : size // 2] = 1.0
    return mask


def run(images, maps, predict=share_of_red, **changes):
    found = faithfulness(predict, images, maps, **{"fill": (0.0, 0.5, 0.5), "seed": 0, **changes})
    return {name: float(values[0]) for name, values in found.items()}


def test_a_map_of_all_that_counts_drops_nothing():
    """Seen through the quarter, the class keeps its 0.8. Once the quarter's 16 pixels are gone, nothing is left of
    the class, and once they are there it has all: the blurred image is as red as the image."""
    found = run(red_images(), quarter())
    assert (found["average_drop"], found["increase_in_confidence"]) == (0.0, 0.0)
    # 16 steps of 4 pixels: 0.8, 0.6, 0.4, 0.2 and 0 from then on; half of the first counts.
    assert found["deletion"] == pytest.approx((0.4 + 0.6 + 0.4 + 0.2) / 16)
    assert found["insertion"] == pytest.approx(0.8)


def test_a_map_of_all_that_does_not_count_drops_everything():
    found = run(red_images(), 1 - quarter())
    assert found["average_drop"] == pytest.approx(100)
    # The quarter goes last, in steps 13 to 16.
    assert found["deletion"] == pytest.approx((0.4 + 12 * 0.8 + 0.6 + 0.4 + 0.2) / 16)


def test_average_drop_and_increase_by_hand():
    """Half of the map's light halves the class's share: 100 · (0.8 − 0.4) / 0.8. Class 1, predicted where red is
    weak, gains where the map hides red."""
    half = np.where(quarter() > 0, 0.5, 1.0)
    found = run(red_images(0.8), half)
    assert (found["average_drop"], found["increase_in_confidence"]) == (pytest.approx(50), 0.0)
    found = run(red_images(0.25), half)
    assert (found["average_drop"], found["increase_in_confidence"]) == (0.0, 100.0)


def test_insertion_starts_from_a_blurred_image():
    """A function of one pixel's contrast: blurred away, it comes back with the first step of the right map."""
    images = np.zeros((1, 3, 32, 32), np.float32)
    images[0, :, 16, 16] = 1.0
    maps = np.zeros((1, 32, 32))
    maps[0, 16, 16] = 1.0

    def spike(changed):
        found = changed[:, 0, 16, 16].astype(np.float64)
        return np.stack([found, 1 - found], axis=1)

    found = run(images, maps, spike, fill=(0.0, 0.0, 0.0))
    assert found["insertion"] > 0.96
    assert found["deletion"] < 0.04
    away = run(images, np.roll(maps, 8, axis=1) + 1e-3 * (1 - maps), spike, fill=(0.0, 0.0, 0.0))
    assert away["insertion"] < 0.5


def test_random_maps_are_at_chance():
    """What a random map removes is a random half of the class: both areas lie at the middle, ROAD at 0."""
    generator = np.random.default_rng(0)
    images, maps = red_images(0.8, 300, 16), generator.random((300, 16, 16))
    found = faithfulness(share_of_red, images, maps, fill=(0.0, 0.5, 0.5), seed=0)
    assert found["deletion"].mean() == pytest.approx(0.4, abs=0.01)
    assert found["insertion"].mean() == pytest.approx(0.8, abs=1e-6)  # blurring loses nothing here
    assert found["road"].mean() == pytest.approx(0.0, abs=1e-3)


def test_insertion_of_random_maps_is_at_chance():
    """A chessboard, blurred: a random order takes or brings half of the contrast with half of the pixels."""
    board = np.indices((16, 16)).sum(0) % 2
    images = np.broadcast_to(board, (200, 3, 16, 16)).astype(np.float32)

    def contrast(changed):
        found = (changed[:, 0] * (2 * board - 1)).sum((1, 2), dtype=np.float64) / board.sum()
        return np.stack([found, 1 - found], axis=1)

    maps = np.random.default_rng(0).random((200, 16, 16))
    found = faithfulness(contrast, images, maps, fill=(0.5, 0.5, 0.5), seed=0, scores=("insertion", "deletion"))
    start = contrast(gaussian_filter(images[:1], (0, 0, 5 / 14, 5 / 14), mode="nearest"))[0, 0]
    assert found["deletion"].mean() == pytest.approx(0.5, abs=0.01)
    assert found["insertion"].mean() == pytest.approx((start + 1) / 2, abs=0.01)


def test_pixels_that_tie_go_in_one_random_order():
    """Half of the pixels tie: the first half of the steps must not be the image's upper rows."""
    maps = np.zeros((1, 16, 16))
    maps[0, 0, 0] = 1e-6
    upper = lambda images: np.stack([images[:, 0, :8].mean((1, 2)), 1 - images[:, 0, :8].mean((1, 2))], 1)  # noqa: E731
    found = faithfulness(upper, red_images(0.8, 1, 16), maps, fill=(0, 0, 0), seed=0, scores=("deletion",))
    assert found["deletion"][0] == pytest.approx(0.4, abs=0.05)
    other = faithfulness(upper, red_images(0.8, 1, 16), maps, fill=(0, 0, 0), seed=1, scores=("deletion",))
    assert found["deletion"] != other["deletion"]


@pytest.mark.parametrize("bad", [0.0, 0.7, np.nan])
def test_a_map_that_orders_nothing_is_undefined_and_others_are_not_touched(bad):
    images, maps = red_images(number=3), np.concatenate([quarter(), np.full((1, 8, 8), bad), quarter()])
    found = faithfulness(share_of_red, images, maps, fill=FILL, seed=0)
    alone = faithfulness(share_of_red, images[:1], quarter(), fill=FILL, seed=0)
    for name in FAITHFULNESS:
        assert np.isnan(found[name]).tolist() == [False, True, False]
        assert found[name][0] == found[name][2] == alone[name][0]


def test_a_hole_becomes_the_mean_of_its_neighbours():
    """By hand: one pixel from eight, direct ones 1/6, diagonal ones 1/12; at a corner from three."""
    image = np.arange(12.0).reshape(1, 3, 4)
    removed = np.zeros((3, 4), bool)
    removed[1, 1] = True
    direct, diagonal = (1 + 4 + 6 + 9) / 6, (0 + 2 + 8 + 10) / 12
    assert impute(image, removed)[0, 1, 1] == pytest.approx(direct + diagonal)
    removed[:] = False
    removed[0, 0] = True
    assert impute(image, removed)[0, 0, 0] == pytest.approx((1 / 6 + 4 / 6 + 5 / 12) / (5 / 12))
    assert np.array_equal(impute(image, np.zeros((3, 4), bool)), image)
    with pytest.raises(ValueError, match="expected at least one pixel to stay"):
        impute(image, np.ones((3, 4), bool))


def test_imputation_and_road_equal_pytorch_grad_cams():
    compat.import_torchvision()
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    generator = np.random.default_rng(0)
    image, removed = generator.random((3, 12, 9)), generator.random((12, 9)) > 0.4
    peer = NoisyLinearImputer(noise=0.0)(torch.from_numpy(image).float(), torch.from_numpy(~removed).float())
    np.testing.assert_allclose(impute(image, removed), peer.numpy(), rtol=0, atol=1e-6)

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 100, 3)).eval()

    def predict(images):
        with torch.no_grad():
            return net(torch.from_numpy(images)).double().softmax(1).numpy()

    images, maps = generator.random((5, 3, 12, 12)).astype(np.float32), generator.random((5, 12, 12))
    found = faithfulness(predict, images, maps, fill=FILL, seed=0, scores=("road",))["road"]
    targets = [ClassifierOutputSoftmaxTarget(int(row.argmax())) for row in predict(images)]
    percentiles = [100 - 100 * share for share in ROAD_SHARES]
    expected = np.mean(
        [
            ROADCombined(percentiles)(torch.from_numpy(images), maps.astype(np.float32), targets, net)
            for _ in range(8)
        ],
        axis=0,
    )
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-3)  # both add noise of 0.01


IMAGES, MAPS = red_images(number=2), np.concatenate([quarter(), quarter()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[:, :2]}, "images: expected floats [N,3,H,W], got float32 [2, 2, 8, 8]; pass pixels"),
        ({"images": IMAGES * 2}, "images: expected pixels in [0, 1], got others; pass them before normalising"),
        (
            {"maps": MAPS[:, :4]},
            "maps: expected one per image, [2, 8, 8], got [2, 4, 8]; finish them at the images' size",
        ),
        (
            {"scores": ("drop",)},
            f"scores: no score 'drop'; use some of {', '.join(FAITHFULNESS)}",
        ),
        ({"steps": 0}, "steps: expected 1 or more, got 0; 16 is the default"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    given = {"predict": share_of_red, "images": IMAGES, "maps": MAPS, "fill": FILL, "seed": 0} | changes
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        faithfulness(**given)
