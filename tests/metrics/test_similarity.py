from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, optimize, stats
from scipy.spatial import distance
from skimage.metrics import structural_similarity

from auglens.metrics import (
    FURTHER,
    HIGHER_IS_CLOSER,
    compare_further,
    higher_is_closer,
    map_metric_names,
    transport,
)

RAW = ("js", "emd", "centre_shift")


def relu(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Half of the cells exactly 0, as Grad-CAM's ReLU leaves them."""
    return np.maximum(rng.standard_normal(shape), 0)


MAKERS = {
    "random": lambda rng, shape: rng.random(shape),
    "quantised": lambda rng, shape: (rng.integers(0, 3, shape) / 2).round(2) + (rng.random(shape) < 0.05),
    "many zeros": relu,
    "faint on a high floor": lambda rng, shape: 0.5 + 1e-4 * rng.random(shape),
}


def centres(height: int, width: int) -> np.ndarray:
    """Cell centres [P,2] as fractions of the image's sides, row by row."""
    return np.array([((y + 0.5) / height, (x + 0.5) / width) for y in range(height) for x in range(width)])


def linear_programme(p: np.ndarray, q: np.ndarray) -> float:
    """The definition: the cheapest of all plans with p as row sums and q as column sums."""
    cells = p.size
    points, a, b = centres(*p.shape), p.ravel() / p.sum(), q.ravel() / q.sum()
    rows = np.kron(np.eye(cells), np.ones(cells))
    columns = np.kron(np.ones(cells), np.eye(cells))
    costs = distance.cdist(points, points).ravel()
    found = optimize.linprog(costs, A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    assert found.status == 0
    return float(found.fun)


def raw_only(p: np.ndarray, q: np.ndarray, names: tuple[str, ...] = RAW) -> dict[str, np.ndarray]:
    """Measures of raw maps alone."""
    return compare_further(np.zeros((len(p), 7, 7)), np.zeros((len(p), 7, 7)), p, q, names)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MAKERS)
def test_ssim_equals_scikit_image(kind, dtype):
    rng = np.random.default_rng(2)
    raw = np.ones((5, 3, 3))
    for shape in ((5, 23, 17), (5, 7, 7), (5, 8, 64)):
        p, q = (np.clip(MAKERS[kind](rng, shape), 0, 1).astype(dtype) for _ in range(2))
        p[1] = 0.25  # constant maps have an SSIM: of luminance alone where both are
        p[2], q[2] = 0.5, 0.75
        found = compare_further(p, q, raw, raw, ("ssim",))["ssim"]
        # in float64: scikit-image computes float32 maps in float32
        pairs = zip(p.astype(np.float64), q.astype(np.float64), strict=True)
        expected = [structural_similarity(a, b, data_range=1) for a, b in pairs]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    same = compare_further(p, p, raw, raw, ("ssim",))["ssim"]
    np.testing.assert_allclose(same, 1, rtol=0, atol=1e-12)


def test_ssim_by_hand():
    # one window of 49 pixels: p all 1/2, q one pixel 1, the others 0: means 1/2 and 1/49, no covariance
    p, q = np.full((1, 7, 7), 0.5), np.zeros((1, 7, 7))
    q[0, 3, 3] = 1
    variance = (1 - 1 / 49) / 48  # sample variance: Σx² − 49 m² = 1 − 1/49, over 48
    luminance = (2 * 0.5 / 49 + 1e-4) / (0.25 + 1 / 49**2 + 1e-4)
    expected = luminance * 9e-4 / (variance + 9e-4)
    assert compare_further(p, q, p, q, ("ssim",))["ssim"][0] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("kind", MAKERS)
def test_js_and_centre_shift_equal_scipy(kind):
    rng = np.random.default_rng(5)
    p, q = (MAKERS[kind](rng, (20, 7, 9)).astype(np.float32) for _ in range(2))
    found = raw_only(p, q, ("centre_shift", "js"))
    assert list(found) == ["centre_shift", "js"]
    for n in range(len(p)):
        a, b = p[n].astype(np.float64), q[n].astype(np.float64)
        assert found["js"][n] == pytest.approx(
            distance.jensenshannon(a.ravel(), b.ravel(), base=2) ** 2, abs=1e-12
        )
        shift = np.subtract(ndimage.center_of_mass(a), ndimage.center_of_mass(b)) / a.shape
        assert found["centre_shift"][n] == pytest.approx(np.hypot(*shift), abs=1e-13)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (1, 6)])
@pytest.mark.parametrize("kind", MAKERS)
def test_emd_equals_a_linear_programme_and_scipy(kind, shape):
    rng = np.random.default_rng(7)
    p, q = (MAKERS[kind](rng, (4, *shape)) + np.eye(*shape) for _ in range(2))
    found = raw_only(p, q, ("emd",))["emd"]
    for n in range(len(p)):
        # the programme's own feasibility tolerance is 1e-7
        assert found[n] == pytest.approx(linear_programme(p[n], q[n]), abs=1e-7)
    points = centres(*shape)
    if 1 not in shape:
        expected = stats.wasserstein_distance_nd(points, points, p[0].ravel(), q[0].ravel())
        assert found[0] == pytest.approx(expected, abs=1e-7)
    else:
        expected = stats.wasserstein_distance(points[:, 1], points[:, 1], p[0].ravel(), q[0].ravel())
        assert found[0] == pytest.approx(expected, abs=1e-13)


def test_distances_by_hand():
    p, q = np.zeros((4, 5, 4)), np.zeros((4, 5, 4))
    p[:, 2, 1] = 3.0
    q[0, 2, 2] = 7.0  # one cell to the right: a quarter of the width; how much mass there is does not count
    q[1, 3, 2] = 1.0  # one down as well: a fifth of the height
    q[2, 1, 1] = q[2, 3, 1] = 1.0  # half up, half down: the centre stays, the mass moves
    q[3, 2, 1], q[3, 2, 3] = 0.75, 0.25  # three quarters stay, one moves half the width
    found = raw_only(p, q)
    np.testing.assert_allclose(found["emd"], [0.25, np.hypot(0.25, 0.2), 0.2, 0.125], rtol=0, atol=1e-15)
    np.testing.assert_allclose(found["centre_shift"], [0.25, np.hypot(0.25, 0.2), 0, 0.125], rtol=0, atol=1e-15)
    # disjoint maps are 1 bit apart; else m = 7/8, 1/8: (log2(8/7) + 3/4 log2(6/7) + 1/4 log2 2) / 2
    expected = (np.log2(8 / 7) + 0.75 * np.log2(6 / 7) + 0.25) / 2
    np.testing.assert_allclose(found["js"], [1, 1, 1, expected], rtol=0, atol=1e-15)
    corner, far = np.zeros((1, 32, 32)), np.zeros((1, 32, 32))
    corner[0, 0, 0] = far[0, -1, -1] = 1
    assert raw_only(corner, far)["emd"][0] == pytest.approx(np.sqrt(2) * 31 / 32, abs=1e-14)


@settings(max_examples=60, deadline=None)
@given(maps=arrays(np.float64, (3, 1, 4, 3), elements=st.sampled_from([0.0, 1e-3, 0.25, 0.5, 1.0])))
def test_invariants_under_heavy_ties(maps):
    p, q, r = maps
    pq, qp, scaled = raw_only(p, q), raw_only(q, p), raw_only(p * 1e-30, q * 1e12)
    for name in RAW:
        np.testing.assert_allclose(pq[name], qp[name], rtol=0, atol=1e-14)
        np.testing.assert_allclose(pq[name], scaled[name], rtol=0, atol=1e-12)
    if p.any() and q.any():
        assert 0 <= pq["js"][0] <= 1
        assert pq["centre_shift"][0] <= pq["emd"][0] + 1e-14 <= np.sqrt(2)
        assert raw_only(p, p)["emd"][0] == raw_only(p, p)["js"][0] == raw_only(p, p)["centre_shift"][0] == 0
    if p.any() and q.any() and r.any():
        assert pq["emd"][0] <= raw_only(p, r)["emd"][0] + raw_only(r, q)["emd"][0] + 1e-12


def test_degenerate_maps_give_nan_and_leave_the_others():
    rng = np.random.default_rng(0)
    good, broken = rng.random((7, 8, 8)), rng.random((7, 8, 8))
    broken[0] = 0
    broken[1, 2, 2] = -1e-9
    broken[2, 2, 2] = np.nan
    broken[3, 2, 2] = np.inf
    broken[4] = 0.3  # flat, but a distribution: the mass lies evenly
    broken[5] *= 1e-320  # subnormal, still a distribution
    for p, q in ((good, broken), (broken, good)):
        found = compare_further(p, q, p, q)
        for name in RAW:
            np.testing.assert_array_equal(np.isnan(found[name]), [True] * 4 + [False] * 3, err_msg=name)
        np.testing.assert_array_equal(np.isnan(found["ssim"]), [False, False, True, True, False, False, False])
    assert np.isnan(raw_only(broken, broken)["emd"][:4]).all()
    huge = good * 1e308  # whose plain sum is infinite
    np.testing.assert_allclose(raw_only(huge, good[::-1])["emd"], raw_only(good, good[::-1])["emd"], atol=1e-14)
    # a single cell says nothing about where
    assert np.isnan(list(raw_only(np.ones((2, 1, 1)), np.ones((2, 1, 1))).values())).all()


def test_order_neighbours_and_inputs(tmp_path):
    rng = np.random.default_rng(1)
    finished, raw = rng.random((2, 40, 64, 64), dtype=np.float32), relu(rng, (2, 40, 7, 7)).astype(np.float32)
    before = finished.copy(), raw.copy()
    finished.setflags(write=False)
    raw.setflags(write=False)
    found = compare_further(*finished, *raw)
    assert tuple(found) == FURTHER
    order = rng.permutation(40)
    shuffled = compare_further(*finished[:, order], *raw[:, order])
    alone = compare_further(*finished[:, 21:22], *raw[:, 21:22])
    for name, values in found.items():
        assert values.dtype == np.float64
        assert values.shape == (40,)
        np.testing.assert_array_equal(values[order], shuffled[name])
        assert values[21] == alone[name][0]
    np.testing.assert_array_equal(finished, before[0])
    np.testing.assert_array_equal(raw, before[1])
    np.save(tmp_path / "p.npy", finished[0])
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    np.testing.assert_array_equal(compare_further(mapped, finished[1], *raw)["ssim"], found["ssim"])
    empty = compare_further(*finished[:, :0], *raw[:, :0])
    assert {values.shape for values in empty.values()} == {(0,)}
    assert compare_further(*finished, *raw, ()) == {}


FRESH = """
import os, sys
import numpy as np
import auglens.metrics
loaded = sys.modules.keys() & {"scipy", "ot"}
maps = np.arange(128.0).reshape(2, 1, 8, 8)
one = auglens.metrics.compare_further(*maps, *maps)["emd"][0]
heavy = {"torch", "sklearn", "matplotlib", "pandas", "networkx", "jax", "tensorflow", "cupy", "ot"}
print(*loaded, *heavy & {name.split(".")[0] for name in sys.modules}, sorted(k for k in os.environ if "POT_" in k))
os.environ["POT_BACKEND_DISABLE_PYTORCH"] = "1"  # seconds of this test's time
import ot  # as a user's own code may, after ours
cost = np.linalg.norm((np.indices((8, 8)).reshape(2, -1, 1) - np.indices((8, 8)).reshape(2, 1, -1)) / 8, axis=0)
print(abs(one - ot.emd2(*(maps[:, 0].reshape(2, -1) / maps.sum((1, 2, 3))[:, None]), cost)) < 1e-14)
import ot.lp.emd_wrap
print(ot.lp.emd_wrap.emd_c is not None, ot.emd2.__module__)
"""


def test_emd_brings_in_the_solver_alone():
    environment = {**os.environ, "POT_BACKEND_DISABLE_JAX": "0"}
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines()[:2] == ["['POT_BACKEND_DISABLE_JAX']", "True"]
    assert done.stdout.splitlines()[2].startswith("True ot.lp")


def test_emd_without_the_solver(monkeypatch):
    maps = np.eye(3)[None]
    monkeypatch.setattr(transport.importlib.util, "find_spec", lambda name: None)
    transport._import_solver.cache_clear()
    assert raw_only(maps, maps)["emd"][0] == 0  # nothing to move
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        raw_only(maps, maps[:, ::-1] + 1)
    expected = "emd: expected the package POT, got none; `pip install POT`, or leave emd out"
    assert str(error.value) == expected
    transport._import_solver.cache_clear()


def test_threads_that_need_the_solver_import_it_once(monkeypatch):
    real, asked = transport._solver_alone, []

    def slowly(folder):
        asked.append(folder)
        time.sleep(0.2)
        return real(folder)

    monkeypatch.setattr(transport, "_solver_alone", slowly)
    transport._import_solver.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        solvers = list(pool.map(lambda _: transport._solver(), range(4)))
    transport._import_solver.cache_clear()
    assert len(asked) == 1
    assert len(set(map(id, solvers))) == 1


@pytest.mark.parametrize("loaded", [True, False])
def test_emd_through_the_whole_of_pot(monkeypatch, loaded):
    """Where it is loaded already, or laid out in another way."""

    def fails(folder):
        assert not loaded
        raise ImportError("no such module")

    rng = np.random.default_rng(3)
    p, q = rng.random((2, 3, 5, 5))
    expected, solver, asked = raw_only(p, q)["emd"], transport._solver(), []
    if loaded:
        monkeypatch.setitem(sys.modules, "ot", np)
    else:
        monkeypatch.delitem(sys.modules, "ot", raising=False)
    monkeypatch.setattr(transport, "_solver_alone", fails)
    monkeypatch.setattr(transport.importlib, "import_module", lambda name: asked.append(name) or solver)
    transport._import_solver.cache_clear()
    np.testing.assert_array_equal(raw_only(p, q)["emd"], expected)
    transport._import_solver.cache_clear()
    assert asked == ["ot.lp.emd_wrap"]
    assert not set(transport._BACKENDS) & set(os.environ)


def test_a_solver_that_stops_early_is_an_error(monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(transport, "_PIVOTS", 1)
    with pytest.warns(UserWarning, match="numItermax"), pytest.raises(ValueError, match="optimal transport, got"):
        raw_only(*rng.random((2, 1, 9, 9)), ("emd",))


FINISHED, GRID = np.zeros((2, 8, 8)), np.ones((2, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((FINISHED, FINISHED, GRID, GRID, ("emd", "sim")),
         "names: expected some of ssim, js, emd, centre_shift, got 'sim'; did you mean 'ssim'?"),
        ((FINISHED, FINISHED[0], GRID, GRID),
         "other: expected maps [N,H,W] with H and W at least 1, got shape [8, 8]"),
        ((FINISHED, FINISHED, GRID.astype(int), GRID),
         "reference_raw: expected floating-point maps, got int64; convert with .astype('float32')"),
        ((FINISHED, FINISHED[:1], GRID, GRID),
         "other: expected the reference's shape, got [1, 8, 8] against the reference's [2, 8, 8]; "
         "explain both on the same images"),
        ((FINISHED, FINISHED, GRID, GRID[:, 1:]),
         "other_raw: expected reference_raw's shape, got [2, 2, 3] against reference_raw's [2, 3, 3]; "
         "explain both at one layer"),
        ((FINISHED, FINISHED, GRID[:1], GRID[:1]),
         "reference_raw: expected one per finished map (2), got 1; pass the maps of the same images"),
        ((FINISHED[:, 2:], FINISHED[:, 2:], GRID, GRID),
         "ssim: expected maps of at least 7×7 pixels, got 6×8; leave ssim out"),
        ((FINISHED, FINISHED, np.zeros((2, 33, 32)), np.zeros((2, 33, 32))),
         "emd: expected raw maps of at most 1,024 cells, got 33×32; leave emd out"),
    ],
)  # fmt: skip
def test_refuses(arguments, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        compare_further(*arguments)
    assert str(error.value) == message


def test_what_is_left_out_is_not_asked_of_the_maps():
    large = np.ones((1, 33, 33))
    assert compare_further(large, large, large, large, ("ssim", "js"))["js"][0] == 0
    assert raw_only(large, large, ("centre_shift",))["centre_shift"][0] == 0


def test_which_way_a_metric_points():
    closer = {"pearson", "spearman", "overlap_20", "overlap_10", "overlap_5", "ssim"}
    for name in (*map_metric_names(), "class_kld", *FURTHER):
        assert higher_is_closer(name) is (name in closer)
        assert higher_is_closer(f"true_{name}") is higher_is_closer(f"predicted_{name}") is (name in closer)
    assert higher_is_closer("overlap_2.5")
    assert set(HIGHER_IS_CLOSER) == {*map_metric_names(()), "class_kld", *FURTHER}
    own = {"texture": False, "true_colour": True}
    assert higher_is_closer("texture", own) is higher_is_closer("true_texture", own) is False
    assert higher_is_closer("true_colour", own)
    # by its values: maps moved apart are less close on every measure
    rng = np.random.default_rng(4)
    p = rng.random((1, 16, 16))
    near, far = 0.95 * p + 0.05 * rng.random(p.shape), rng.random(p.shape)
    one, other = compare_further(p, near, p, near), compare_further(p, far, p, far)
    assert all(bool(one[name][0] > other[name][0]) is higher_is_closer(name) for name in FURTHER)


@pytest.mark.parametrize(
    ("name", "near"), [("ssmi", "ssim"), ("true_pearsn", "pearson"), ("overlap_x", "overlap_20")]
)
def test_an_unknown_direction_is_refused(name, near):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        higher_is_closer(name)
    expected = f"metric: expected a known metric, got {name!r}; did you mean {near!r}?"
    assert str(error.value) == f"{expected} A metric of one's own stands in `own`"
