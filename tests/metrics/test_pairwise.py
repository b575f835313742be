from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from auglens.metrics import compare_all, compare_maps, map_metric_names, sides, to_fixed
from auglens.saliency import finish
from auglens.saliency.finishing import repeated_edges

NAMES = map_metric_names()


def relu(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.maximum(rng.standard_normal(shape), 0)


MAKERS = {
    "random": lambda rng, shape: rng.random(shape),
    "quantised": lambda rng, shape: rng.integers(0, 5, shape) / 4,
    "many zeros": relu,
    "faint on a high floor": lambda rng, shape: 1 + 1e-4 * rng.random(shape),
    "nearly equal": lambda rng, shape: 0.5 + rng.random(shape[1:]) / 4 + 1e-6 * rng.random(shape),
}


def assert_every_pair(found: dict[str, np.ndarray], maps: np.ndarray, overlap=(20, 10, 5)) -> None:
    models, images = maps.shape[:2]
    assert tuple(found) == map_metric_names(overlap)
    for values in found.values():
        assert values.dtype == np.float64
        assert values.shape == (models, models, images)
        np.testing.assert_array_equal(values, values.transpose(1, 0, 2))
    for a in range(models):
        for b in range(models):
            for name, expected in compare_maps(maps[a], maps[b], overlap).items():
                np.testing.assert_array_equal(found[name][a, b], expected, err_msg=name)
    # squares of small differences keep their digits: no difference of large squares is taken
    expected = ((maps[:, None].astype(np.float64) - maps[None]) ** 2).mean(axis=(3, 4))
    np.testing.assert_allclose(found["msd"], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MAKERS)
def test_equals_compare_maps_for_every_pair(kind, dtype):
    maps = MAKERS[kind](np.random.default_rng(3), (5, 4, 23, 17)).astype(dtype)
    maps[3] = maps[1]  # two models alike, to the last bit
    found = compare_all(maps)
    assert_every_pair(found, maps)
    assert not found["mad"][1, 3].any()
    assert not found["msd"][1, 3].any()


@settings(max_examples=60, deadline=None)
@given(
    maps=arrays(np.float32, (4, 1, 3, 4), elements=st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, -1.0, np.nan])),
    y=st.floats(0.5, 99.5),
)
def test_equals_compare_maps_under_heavy_ties_and_holes(maps, y):
    found = compare_all(maps, overlap=(y,))
    for a, b in np.ndindex(4, 4):
        for name, expected in compare_maps(maps[a], maps[b], overlap=(y,)).items():
            np.testing.assert_allclose(found[name][a, b], expected, rtol=0, atol=1e-9, err_msg=name)


def test_by_hand_and_scipy():
    p, q = np.array([[0.0, 0.0], [0.5, 1.0]]), np.array([[0.0, 0.5], [0.5, 0.0]])
    found = compare_all([np.stack([p, q])], overlap=(50, 25))
    assert found["mad"][0, 1, 0] == 1.5 / 4
    assert found["msd"][0, 1, 0] == 1.25 / 4
    assert found["pearson"][0, 1, 0] == pytest.approx(stats.pearsonr(p.ravel(), q.ravel()).statistic, abs=1e-15)
    assert found["spearman"][0, 1, 0] == pytest.approx(stats.spearmanr(p.ravel(), q.ravel()).statistic, abs=1e-15)
    assert found["overlap_50"][0, 1, 0] == 1 / 3
    assert found["overlap_25"][0, 1, 0] == 0


def test_degenerate_maps_and_the_diagonal():
    maps = np.random.default_rng(0).random((5, 6, 5, 5), dtype=np.float32)
    maps[0, 0] = 0.1
    maps[1, 1] = maps[2, 1] = 0
    maps[1, 2, 3, 3] = np.nan
    maps[:4, 3, 0, 0] = np.inf  # one model left
    maps[:, 4, 0, 0] = np.nan  # none left
    found = compare_all(maps)
    for a, b in np.ndindex(5, 5):
        for name, expected in compare_maps(maps[a], maps[b]).items():
            np.testing.assert_allclose(found[name][a, b], expected, rtol=0, atol=1e-9, err_msg=name)
    diagonal = {name: values.diagonal().T for name, values in found.items()}  # [M,N]
    broken = ~np.isfinite(maps).all(axis=(2, 3))
    constant = (maps == maps[:, :, :1, :1]).all(axis=(2, 3))
    for name in ("mad", "msd"):
        np.testing.assert_array_equal(diagonal[name], np.where(broken, np.nan, 0))
    for name in ("overlap_20", "overlap_10", "overlap_5"):
        np.testing.assert_array_equal(diagonal[name], np.where(broken, np.nan, 1))
    for name in ("pearson", "spearman"):
        expected = np.where(broken | constant, np.nan, 1)
        np.testing.assert_allclose(diagonal[name], expected, rtol=0, atol=1e-12)


def test_images_one_by_one_and_progress():
    maps = relu(np.random.default_rng(1), (4, 6, 12, 12)).astype(np.float32)
    whole, done = compare_all(maps), []
    one_by_one = compare_all((maps[:, n] for n in range(6)), progress=done.append)
    order = np.random.default_rng(2).permutation(4)
    shuffled = compare_all(maps[order])
    assert done == [1] * 6
    for name in NAMES:
        np.testing.assert_array_equal(whole[name], one_by_one[name])
        np.testing.assert_allclose(whole[name][order][:, order], shuffled[name], rtol=0, atol=1e-14)
    assert {values.shape for values in compare_all(maps[:, :0]).values()} == {(4, 4, 0)}
    assert {values.shape for values in compare_all(iter(())).values()} == {(0, 0, 0)}
    assert {values.shape for values in compare_all(maps[:1]).values()} == {(1, 1, 6)}


def test_edges_and_threads_are_those_of_compare_maps():
    raw = relu(np.random.default_rng(7), (4, 9, 5, 5)).astype(np.float32)
    maps = np.stack([finish(one, 32) for one in raw])
    edges = repeated_edges((5, 5), 32)
    alone = compare_all(maps, edges=edges, threads=1)
    for name, values in compare_all(maps, edges=edges, threads=3).items():
        assert values.tobytes() == alone[name].tobytes()
        np.testing.assert_array_equal(values[1, 2], compare_maps(maps[1], maps[2], edges=edges)[name])


def test_every_map_is_sorted_once(monkeypatch):
    calls, real = [], sides.side
    monkeypatch.setattr(sides, "side", lambda *arguments: calls.append(1) or real(*arguments))
    maps = np.random.default_rng(0).random((7, 3, 6, 6))
    compare_all(maps)
    assert len(calls) == 21
    calls.clear()
    to_fixed(maps[0], maps[1, 0])
    assert len(calls) == 4


def test_to_fixed_is_compare_maps_with_one_map():
    rng = np.random.default_rng(4)
    maps, fixed = relu(rng, (6, 9, 11)).astype(np.float32), rng.random((9, 11), dtype=np.float32)
    maps[0], maps[1, 2, 2], maps[2] = 0.1, np.nan, fixed
    for one in (fixed, fixed.astype(np.float64), np.zeros((9, 11)), np.full((9, 11), np.nan)):
        found = to_fixed(maps, one, overlap=(20, 5))
        expected = compare_maps(maps, np.broadcast_to(one, maps.shape), overlap=(20, 5))
        assert tuple(found) == tuple(expected)
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes(), name
    assert to_fixed(maps, fixed)["msd"][2] == 0
    assert np.isnan(to_fixed(maps, maps[1])["mad"]).all()
    assert to_fixed(maps[:0], fixed)["mad"].shape == (0,)


def test_the_room_loads_no_scipy_before_it_is_needed() -> None:
    code = "import sys, auglens.metrics; print(*({'torch', 'scipy', 'ot', 'sklearn'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


CUBE = np.zeros((2, 4, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_all(CUBE), "maps: expected [M,N,H,W], got shape [2, 4, 4]; or pass [M,H,W] per image"),
        (lambda: compare_all([CUBE, CUBE[:1]]),
         "maps of image 1: expected one shape [M,H,W], got [1, 4, 4] against [2, 4, 4] before; "
         "finish all to one size"),
        (lambda: compare_all([CUBE[0]]),
         "maps of image 0: expected maps [N,H,W] with H and W at least 1, got shape [4, 4]"),
        (lambda: compare_all([CUBE.astype(int)]),
         "maps of image 0: expected floating-point maps, got int64; convert with .astype('float32')"),
        (lambda: compare_all([CUBE], (0.0,)),
         "overlap: expected percentages in (0, 100), got 0; for a tenth write 10"),
        (lambda: to_fixed(CUBE, CUBE[0, 1:]),
         "fixed: expected the maps' shape [H,W], got [3, 4] against [4, 4]; finish both to one size"),
        (lambda: to_fixed(CUBE, CUBE),
         "fixed: expected one map [H,W], got shape [2, 4, 4]"),
        (lambda: to_fixed(CUBE, CUBE[0], (20, 20)),
         "overlap: expected each percentage once, got [20, 20]; remove the repeated one"),
    ],
)  # fmt: skip
def test_refuses(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        call()
    assert str(error.value) == message
