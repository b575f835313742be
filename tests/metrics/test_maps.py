from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from auglens.metrics import compare_maps, is_constant, map_metric_names
from auglens.metrics.sides import grid, side
from auglens.saliency import finish
from auglens.saliency.finishing import repeated_edges

OVERLAP = (20, 10, 5)
NAMES = ("mad", "msd", "pearson", "spearman", "overlap_20", "overlap_10", "overlap_5")


def literal(p: np.ndarray, q: np.ndarray, overlap=OVERLAP) -> dict[str, float]:
    """The definitions, word for word, with scipy's correlations and numpy's percentile, in float64."""
    p, q = p.astype(np.float64).ravel(), q.astype(np.float64).ravel()
    found = {"mad": np.mean(np.abs(p - q)), "msd": np.mean((p - q) ** 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        found["pearson"] = stats.pearsonr(p, q).statistic if len(p) > 1 else np.nan
        found["spearman"] = stats.spearmanr(p, q).statistic if len(p) > 1 else np.nan
    for y in overlap:
        in_p, in_q = p >= np.percentile(p, 100 - y), q >= np.percentile(q, 100 - y)
        found[f"overlap_{y:g}"] = (in_p & in_q).sum() / (in_p | in_q).sum()
    return found


def relu_maps(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Half of the pixels exactly 0, as Grad-CAM's ReLU leaves them."""
    return np.maximum(rng.standard_normal(shape), 0).astype(dtype)


MAKERS = {
    "random": lambda rng, shape, dtype: rng.random(shape).astype(dtype),
    "quantised": lambda rng, shape, dtype: (rng.integers(0, 5, shape) / 4).astype(dtype),
    "many zeros": relu_maps,
    "negative": lambda rng, shape, dtype: rng.standard_normal(shape).astype(dtype),
    "faint on a high floor": lambda rng, shape, dtype: (1 + 1e-4 * rng.random(shape)).astype(dtype),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", MAKERS)
def test_equals_scipy_and_numpy_per_image(kind, dtype):
    rng = np.random.default_rng(3)
    p, q = (MAKERS[kind](rng, (6, 23, 17), dtype) for _ in range(2))
    found = compare_maps(p, q)
    assert tuple(found) == NAMES
    for n in range(len(p)):
        for name, expected in literal(p[n], q[n]).items():
            assert found[name][n] == pytest.approx(expected, abs=1e-9, nan_ok=True), (name, n)
    assert all(values.dtype == np.float64 and values.shape == (6,) for values in found.values())


@settings(max_examples=150, deadline=None)
@given(
    maps=arrays(np.float32, (2, 1, 4, 5), elements=st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, -1.0])),
    y=st.floats(0.5, 99.5),
)
def test_equals_the_literal_definitions_under_heavy_ties(maps, y):
    found, expected = compare_maps(maps[0], maps[1], overlap=(y,)), literal(maps[0], maps[1], overlap=(y,))
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9, nan_ok=True), name


def test_by_hand():
    p = np.array([[[0.0, 0.0], [0.5, 1.0]]])
    q = np.array([[[0.0, 0.5], [0.5, 0.0]]])
    found = compare_maps(p, q, overlap=(50, 25))
    assert found["mad"][0] == 1.5 / 4
    assert found["msd"][0] == 1.25 / 4
    # deviations p: −3/8 −3/8 1/8 5/8, q: −1/4 1/4 1/4 −1/4
    assert found["pearson"][0] == pytest.approx(-0.125 / np.sqrt(0.6875 * 0.25), abs=1e-15)
    # ranks p: 1.5 1.5 3 4, q: 1.5 3.5 3.5 1.5
    assert found["spearman"][0] == pytest.approx(-1 / np.sqrt(4.5 * 4), abs=1e-15)
    # Y=50: thresholds 0.25 and 0.25: {2,3} and {1,2}. Y=25: 0.625 and 0.5: {3} and the ties {1,2}
    assert found["overlap_50"][0] == 1 / 3
    assert found["overlap_25"][0] == 0


def test_ties_enlarge_a_region():
    p = np.array([[[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]])
    q = np.array([[[1.0, 0.9, 0.8, 0.7, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]]])
    # 90th percentiles 1.0 and 0.91: P's "10 %" are its three ties
    assert compare_maps(p, q, overlap=(10,))["overlap_10"][0] == 1 / 3


def test_degenerate_maps():
    rng = np.random.default_rng(0)
    varied = rng.random((6, 5, 5), dtype=np.float32)
    other = varied.copy()
    other[0] = 0.1  # 25 × float32(0.1): the mean of equal values need not equal them
    other[1] = 0
    other[2, 1, 1] = np.nan
    other[3, 1, 1] = np.inf
    other[4] = 0.1
    varied[4] = 0.7
    np.testing.assert_array_equal(is_constant(other), [True, True, True, True, True, False])
    for p, q in ((varied, other), (other, varied)):
        found = compare_maps(p, q)
        np.testing.assert_array_equal(np.isnan(found["pearson"]), [True, True, True, True, True, False])
        np.testing.assert_array_equal(np.isnan(found["spearman"]), [True, True, True, True, True, False])
        for name in ("mad", "msd", "overlap_20", "overlap_10", "overlap_5"):
            np.testing.assert_array_equal(np.isnan(found[name]), [False, False, True, True, False, False])
        # a constant map's region is the whole image: the overlap is the other region's share of it
        assert found["overlap_20"][0] == 5 / 25
        assert found["overlap_20"][4] == 1
        assert [found[name][5] for name in NAMES] == [0, 0, 1, 1, 1, 1, 1]


def test_one_pixel():
    p, q = np.array([[[0.0]], [[np.nan]]]), np.array([[[0.25]], [[0.5]]])
    found = compare_maps(p, q)
    assert is_constant(p).tolist() == [True, True]
    assert (found["mad"][0], found["msd"][0], found["overlap_5"][0]) == (0.25, 0.0625, 1)
    assert np.isnan([found["pearson"][0], found["spearman"][0]]).all()
    assert np.isnan([values[1] for values in found.values()]).all()


def test_constant_means_equal_to_the_last_bit():
    p = np.full((1, 4, 4), 0.1, dtype=np.float32)
    q = p.copy()
    q[0, 2, 3] = np.nextafter(np.float32(0.1), np.float32(1))
    assert is_constant(np.concatenate([p, q])).tolist() == [True, False]
    assert compare_maps(q, q)["pearson"][0] == pytest.approx(1, abs=1e-15)
    assert compare_maps(q, q)["spearman"][0] == pytest.approx(1, abs=1e-15)


def test_symmetry_permutation_and_neighbours():
    rng = np.random.default_rng(1)
    p, q = (relu_maps(rng, (9, 12, 12), np.float32) for _ in range(2))
    forward, backward = compare_maps(p, q), compare_maps(q, p)
    order = rng.permutation(9)
    shuffled, alone = compare_maps(p[order], q[order]), compare_maps(p[4:5], q[4:5])
    for name in NAMES:
        np.testing.assert_array_equal(forward[name], backward[name])
        np.testing.assert_array_equal(forward[name][order], shuffled[name])
        assert forward[name][4] == alone[name][0]


@settings(max_examples=50, deadline=None)
@given(
    p=arrays(np.float64, (1, 3, 4), elements=st.floats(0, 1)),
    scale=st.floats(0.1, 10),
    shift=st.floats(-2, 2),
)
def test_ranges_and_rank_invariance(p, scale, shift):
    q = scale * p[:, ::-1] + shift
    found = compare_maps(p, q)
    for name in ("pearson", "spearman"):
        assert np.isnan(found[name][0]) or -1 <= found[name][0] <= 1
    for y in OVERLAP:
        assert 0 <= found[f"overlap_{y}"][0] <= 1
    # cubing keeps the order of these values, so ranks and the rank correlation stay
    step = np.round(p, 3)
    same = compare_maps(step, step**3)
    assert np.isnan(same["spearman"][0]) or same["spearman"][0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_sorting_is_exact_on_every_kind_of_number(dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    values = np.array([0.0, -0.0, tiny, -tiny, huge, -huge, 1, -1, 0.5, 0.5], dtype=dtype)
    found = side(values.reshape(2, 5), grid(2, 5, OVERLAP))
    np.testing.assert_array_equal(found.ranks, 2 * stats.rankdata(values) - 11)
    assert found.thresholds.tolist() == [np.percentile(values.astype(np.float64), 100 - y) for y in OVERLAP]


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-70, 1e70, 1.7e308])
def test_no_size_of_the_values_changes_a_correlation(scale):
    rng = np.random.default_rng(5)
    p, q = rng.integers(-1, 2, (2, 1, 6, 6)).astype(np.float64)
    plain, scaled = compare_maps(p, q), compare_maps(p * scale, q * scale)
    for name in ("pearson", "spearman", "overlap_20"):
        assert scaled[name][0] == pytest.approx(plain[name][0], abs=1e-14), name
    floor = 2.0 + p * np.spacing(2.0)  # one rounding step up or down
    assert compare_maps(floor, q)["pearson"][0] == pytest.approx(plain["pearson"][0], abs=1e-14)


@settings(max_examples=100, deadline=None)
@given(values=arrays(np.float64, st.integers(1, 40), elements=st.floats(-5, 5)), percent=st.floats(0.01, 99.99))
def test_percentile_is_numpys_to_the_last_bit(values, percent):
    assert side(values[None], grid(1, len(values), (percent,))).thresholds == [
        np.percentile(values, 100 - percent)
    ]


@pytest.mark.parametrize(
    ("cells", "size"), [((7, 7), 224), ((3, 5), 32), ((4, 4), 4), ((1, 6), (9, 20)), ((8, 8), 5)]
)
def test_repeated_edges_are_counted_as_often_as_they_are_there(cells, size):
    rng = np.random.default_rng(6)
    raw = np.maximum(rng.standard_normal((2, 8, *cells)), 0).astype(np.float32)
    raw[0, 0], raw[1, 1, 0, 0] = 0, np.nan
    p, q = finish(raw[0], size), finish(raw[1], size)
    edges = repeated_edges(cells, size)
    for one in (p, p.astype(np.float64)):
        whole, kept = compare_maps(one, q), compare_maps(one, q, edges=edges)
        for name in NAMES:
            np.testing.assert_allclose(kept[name], whole[name], rtol=0, atol=1e-13, err_msg=name)


def test_no_number_of_threads_changes_a_bit():
    p, q = (relu_maps(np.random.default_rng(seed), (23, 64, 64), np.float32) for seed in (0, 1))
    alone = compare_maps(p, q, threads=1)
    for threads in (2, 5, None):
        found = compare_maps(p, q, threads=threads)
        assert all(found[name].tobytes() == alone[name].tobytes() for name in NAMES)
    with pytest.raises(ValueError, match=r"threads: expected 1 or more, got 0; leave it out for one per core"):
        compare_maps(p, q, threads=0)


def test_where_nothing_can_be_kept_the_loops_are_compiled_anew():
    code = """
import numpy as np
from auglens.metrics import compare_maps
maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
print(compare_maps(maps[:1], maps[1:])["mad"][0])
"""
    nowhere = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}
    done = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4.0"]


def test_edges_that_leave_nothing_are_refused():
    maps = np.zeros((1, 4, 6))
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        compare_maps(maps, maps, edges=(3, 3, 1, 1))
    assert str(error.value) == (
        "edges: expected 1 or more each, with a row and a column between them, got (3, 3, 1, 1) for maps of 4×6;"
        " pass what `repeated_edges` says"
    )


def test_inputs_stay_and_empty_is_fine(tmp_path):
    p = np.random.default_rng(0).random((3, 4, 4), dtype=np.float32)
    p[0, 0, 0] = np.nan
    p.setflags(write=False)
    before = p.copy()
    compare_maps(p, p[::-1])
    np.testing.assert_array_equal(p, before)
    np.save(tmp_path / "p.npy", p)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    np.testing.assert_equal(compare_maps(mapped, mapped), compare_maps(p, p))
    empty = compare_maps(p[:0], p[:0], overlap=(2.5,))
    assert tuple(empty) == map_metric_names((2.5,)) == ("mad", "msd", "pearson", "spearman", "overlap_2.5")
    assert all(values.shape == (0,) for values in empty.values())


@pytest.mark.parametrize(
    ("p", "q", "overlap", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), (20,),
         "reference: expected maps [N,H,W] with H and W at least 1, got shape [4, 4]"),
        (np.zeros((2, 0, 4)), np.zeros((2, 0, 4)), (20,),
         "reference: expected maps [N,H,W] with H and W at least 1, got shape [2, 0, 4]"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4), dtype=np.uint8), (20,),
         "other: expected floating-point maps, got uint8; convert with .astype('float32')"),
        (np.zeros((2, 4, 4)), np.zeros((3, 4, 4)), (20,),
         "other: expected the reference's shape, got [3, 4, 4] against the reference's [2, 4, 4]; "
         "explain both on the same images"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), (20, 100),
         "overlap: expected percentages in (0, 100), got 100; for a tenth write 10"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), (float("nan"),),
         "overlap: expected percentages in (0, 100), got nan; for a tenth write 10"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), (5, 20, 5.0),
         "overlap: expected each percentage once, got [5, 20, 5.0]; remove the repeated one"),
    ],
)  # fmt: skip
def test_refuses(p, q, overlap, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        compare_maps(p, q, overlap)
    assert str(error.value) == message
