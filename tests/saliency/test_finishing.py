"""Finished maps by hand, against OpenCV, and what must hold of any."""

from __future__ import annotations

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from auglens.saliency import finish
from auglens.saliency.finishing import interpolation

SIZES = [
    ((7, 7), (224, 224)),
    ((8, 8), (64, 64)),
    ((2, 5), (31, 17)),
    ((7, 7), (7, 7)),
    ((16, 16), (8, 8)),  # OpenCV averages where both sides are halved
    ((16, 16), (7, 9)),  # and samples without smoothing elsewhere
    ((12, 12), (4, 4)),
    ((14, 3), (5, 6)),
    ((1, 4), (8, 8)),
]


def random_maps(shape, number=20, seed=0):
    """Rectified noise: ties at zero, as Grad-CAM has them."""
    return np.maximum(np.random.default_rng(seed).standard_normal((number, *shape)), 0).astype(np.float32)


def literal(raw, size):
    """One map, in pytorch-grad-cam's order: scale, resize, scale."""
    scaled = raw - raw.min()
    scaled = scaled / (1e-7 + scaled.max())
    resized = cv2.resize(np.float32(scaled), size[::-1], interpolation=cv2.INTER_LINEAR)
    resized = resized - resized.min()
    return resized / (1e-7 + resized.max())


def test_by_hand():
    """A column of 2 and 6 becomes 0 and 1, and centres at -0.25, 0.25, 0.75, 1.25 give 0, 1/4, 3/4, 1."""
    finished = finish(np.array([[[2.0], [6.0]]]), (4, 1))
    np.testing.assert_allclose(finished[0, :, 0], [0, 0.25, 0.75, 1], rtol=0, atol=3e-7)  # ε is 1e-7 of 1, twice


def test_the_second_scaling_stretches_what_shrinking_cut():
    """Thirds of 0, 1, 2, 3, 4, 5 keep the centres 1 and 4, which become 0 and 1."""
    finished = finish(np.arange(6.0).reshape(1, 1, 6), (1, 2))
    np.testing.assert_allclose(finished[0, 0], [0, 1], rtol=0, atol=3e-7)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_equals_opencv(shape, size):
    raw = random_maps(shape)
    expected = np.stack([literal(one, size) for one in raw])
    finished = finish(raw, size)
    assert finished.dtype == np.float32
    np.testing.assert_allclose(finished, expected, rtol=0, atol=1e-6)  # float32 sums of values up to 1


@pytest.mark.parametrize("magnitude", [1e-12, 1e-7, 1e-3, 1e6])
def test_equals_opencv_at_any_range(magnitude):
    """Near 1e-14 the ε of both scalings shows, and must show alike."""
    raw = random_maps((7, 7)) * np.float32(magnitude)
    expected = np.stack([literal(one, (28, 28)) for one in raw])
    np.testing.assert_allclose(finish(raw, 28), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_float64_stays_float64(shape, size):
    raw = random_maps(shape)
    finished = finish(raw.astype(np.float64), size)
    assert finished.dtype == np.float64
    np.testing.assert_allclose(finished, finish(raw, size), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(7, 224), (16, 5), (3, 3), (1, 4), (9, 2)])
def test_an_interpolation_keeps_constants(source, target):
    np.testing.assert_allclose(interpolation(source, target).sum(1), 1, rtol=0, atol=1e-15)


def test_values_lie_in_0_to_1_and_reach_both_ends():
    finished = finish(random_maps((7, 7)), 56)
    assert (finished.min((1, 2)) == 0).all()
    np.testing.assert_allclose(finished.max((1, 2)), 1, rtol=0, atol=1e-6)
    assert finished.max() <= 1


def test_a_map_depends_on_no_other_to_the_last_bit():
    raw = random_maps((7, 7), number=33)
    raw[5] = np.nan
    together = finish(raw, 50)
    alone = np.concatenate([finish(raw[at : at + 1], 50) for at in range(len(raw))])
    assert together.tobytes() == alone.tobytes()


def test_a_mirrored_map_gives_a_mirrored_map():
    raw = random_maps((5, 8))
    np.testing.assert_allclose(finish(raw[:, :, ::-1], (21, 30)), finish(raw, (21, 30))[:, :, ::-1], atol=1e-6)


def test_degenerate_maps():
    """Constant maps are all zero, maps with a NaN or infinity all NaN, and neither touches its neighbour."""
    good = random_maps((4, 4), number=1)[0]
    nan, infinite = good.copy(), good.copy()
    nan[1, 2], infinite[0, 0] = np.nan, np.inf
    raw = np.stack([np.zeros((4, 4)), np.full((4, 4), 3.5), nan, infinite, good]).astype(np.float32)
    finished = finish(raw, 9)
    assert (finished[:2] == 0).all()
    assert np.isnan(finished[2:4]).all()
    assert finished[4].tobytes() == finish(good[None], 9)[0].tobytes()


def test_degenerate_maps_are_finished_in_silence(recwarn):
    finish(np.full((2, 3, 3), np.nan, np.float32), 6)
    finish(np.full((2, 3, 3), np.inf, np.float32), 6)
    assert not recwarn.list


def test_the_raw_maps_stay_as_they_were():
    raw = random_maps((7, 7))
    before = raw.copy()
    finish(raw, 7)
    finish(raw.astype(np.float64), 7)
    assert raw.tobytes() == before.tobytes()


def test_no_maps_at_all():
    assert finish(np.zeros((0, 7, 7), np.float32), 8).shape == (0, 8, 8)


@pytest.mark.parametrize(
    ("raw", "size", "message"),
    [
        (np.zeros((4, 4)), 8, "raw: expected floats [N, h, w], got float64 [4, 4]; pass raw maps"),
        (np.zeros((1, 4, 4), int), 8, "raw: expected floats [N, h, w], got int64 [1, 4, 4]; pass raw maps"),
        (np.zeros((1, 0, 4)), 8, "raw: expected floats [N, h, w], got float64 [1, 0, 4]; pass raw maps"),
        (
            np.zeros((1, 4, 4)),
            (8, 0),
            "size: expected sides of 1 pixel or more, got 8×0; pass the image's size",
        ),
    ],
)
def test_bad_input(raw, size, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        finish(raw, size)


def test_finishing_loads_no_torch():
    code = "import sys; from auglens.saliency import finish; print('torch' in sys.modules, finish.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False finish"


def test_unknown_names_are_missing_attributes():
    import auglens.saliency

    with pytest.raises(AttributeError, match=r"^module 'auglens.saliency' has no attribute 'finnish'$"):
        _ = auglens.saliency.finnish
