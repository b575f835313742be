"""What may be claimed: planted clusters and shifts are found, a null makes no claim beyond the nominal rate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform
from tests.stats.planted import AUGS, METRICS, planted

from auglens.stats import average_seeds, correlation_map, pair_counts
from auglens.stats.cells import Cells, cells_of
from auglens.stats.clustering import agreement, clusters_of, structure, tree
from auglens.stats.floor import floor_summary, floor_table, means_table
from auglens.stats.permutations import orders, p_value, pair_table, permuted, self_resemblance, top_pairs
from auglens.stats.resampling import image_weights
from auglens.stats.similarity import block_means, correlation_table, correlations, covariances, models_table

CLOSER = {"mad": False, "msd": False, "pearson": True, "spearman": True}
ONE_MODEL = {"equalize": 1, "identity": 1}
NO_WEIGHTS = np.empty((0, 40), dtype=np.int32)


def all_claims(
    table: pd.DataFrame, metrics: tuple[str, ...], *, seed: int, permutations: int, draws: int = 2
) -> dict[str, pd.DataFrame]:
    cells = cells_of(table, metrics)
    weights = image_weights(len(cells.images), draws, seed=seed)
    found = covariances(cells, metrics, weights)
    alike = {metric: correlations(found.whole[metric]) for metric in metrics}
    clusters, _, agreed = structure(
        cells, found, metrics, weights, permutations=permutations, confidence=0.95, seed=seed
    )
    return {
        "clusters": clusters,
        "agreement": agreed,
        "pairs": pair_table(cells, found, metrics, permutations=permutations, confidence=0.95, seed=seed),
        "resemblance": self_resemblance(cells, alike, permutations=permutations, seed=seed),
    }


# What is planted is found.


def test_planted_clusters_are_found_and_no_others() -> None:
    planted_clusters = [("affine", "elastic"), ("cutmix", "color_jitter", "equalize")]
    table = planted(seed=0, images=300, clusters=planted_clusters, cluster_sd=0.8, replicates=ONE_MODEL)
    found = all_claims(table, METRICS, seed=0, permutations=4999, draws=100)
    clusters = found["clusters"]
    claimed = clusters.loc[clusters["claimed"], "members"]
    assert {frozenset(members.split(", ")) for members in claimed} == {frozenset(c) for c in planted_clusters}
    of_all = clusters[clusters["source"] == "all"].set_index("members")
    assert (of_all.loc[claimed, "support"] >= 0.95).all()
    pairs = found["pairs"].set_index(["aug_a", "aug_b"])
    alike = {pair for pair, row in pairs.iterrows() if row["p_similar_holm"] <= 0.05}
    assert ("affine", "elastic") in alike
    assert ("color_jitter", "cutmix") in alike
    within = {frozenset(p) for c in planted_clusters for p in [(a, b) for a in c for b in c if a < b]}
    assert {frozenset(pair) for pair in alike} <= within
    assert (found["resemblance"]["p"] <= 0.001).all()
    assert (found["agreement"]["mantel_r"] > 0.5).all()


def test_a_planted_shift_lies_above_the_floor_and_nothing_else_does() -> None:
    table = planted(seed=1, images=300, shift={"cutmix": 1.0}, replicates=ONE_MODEL, metrics=("mad", "pearson"))
    cells = cells_of(table, ["mad", "pearson"])
    floor = floor_table(cells, ["mad", "pearson"], image_weights(300, 200, seed=0), 0.95, CLOSER)
    summary = floor_summary(floor).set_index(["aug", "metric"])["verdict"]
    # A higher Pearson is a smaller move: the same shift lies below the floor there.
    assert summary[("cutmix", "mad")] == "above"
    assert summary[("cutmix", "pearson")] == "below"
    assert (summary.drop("cutmix") == "within").all()
    assert set(floor["control"]) == {"identity", "noise", "reseed"}
    assert {"identity", "noise", "reseed"} <= set(floor["aug"])  # the controls have rows of their own
    row = floor.set_index(["aug", "metric", "control"]).loc[("cutmix", "mad", "noise")]
    assert row["low"] <= 1.0 <= row["high"]
    assert row["difference"] == pytest.approx(row["mean"] - row["control_mean"])


# A null makes no claim: 500 seeded draws, the nominal rate.

NULLS = 500


def within_nominal(hits: int, of: int, rate: float = 0.05) -> bool:
    """Whether that many rejections are to be expected at `rate`: the central 99.9 % of the binomial."""
    low, high = scipy_stats.binom.interval(0.999, of, rate)
    return bool(low <= hits <= high)


@pytest.fixture(scope="module")
def nulls() -> list[dict[str, pd.DataFrame]]:
    """500 studies in which the augs do nothing: every model's deviations are its own."""
    metrics = ("mad", "pearson")
    return [
        all_claims(
            planted(seed=n, metrics=metrics, images=40, augs=AUGS, replicates=ONE_MODEL),
            metrics,
            seed=n,
            permutations=99,
        )
        for n in range(NULLS)
    ]


def test_the_test_of_one_pair_is_false_at_the_nominal_rate(nulls: list[dict[str, pd.DataFrame]]) -> None:
    pair = [one["pairs"].set_index(["aug_a", "aug_b"]).loc[("affine", "elastic"), "p_similar"] for one in nulls]
    assert within_nominal(int((np.array(pair) <= 0.05).sum()), NULLS)
    # Counts are few whole numbers: their test may be false less often than the rate, never more often.
    for name in ("p_strong", "p_weak"):
        counted = [one["pairs"].set_index(["aug_a", "aug_b"]).loc[("affine", "elastic"), name] for one in nulls]
        assert (np.array(counted) <= 0.05).sum() <= scipy_stats.binom.ppf(0.999, NULLS, 0.05)


def test_self_resemblance_is_false_at_the_nominal_rate(nulls: list[dict[str, pd.DataFrame]]) -> None:
    p = [one["resemblance"].set_index("metric").loc["mad", "p"] for one in nulls]
    assert within_nominal(int((np.array(p) <= 0.05).sum()), NULLS)


def test_no_claim_on_noise_of_any_pair_or_cluster(nulls: list[dict[str, pd.DataFrame]]) -> None:
    """A whole study makes a false claim in at most 5 % of the draws: Holm's correction and the longest stem."""
    limit = scipy_stats.binom.ppf(0.999, NULLS, 0.05)
    for name in ("p_similar_holm", "p_strong_holm", "p_weak_holm"):
        assert sum(bool((one["pairs"][name] <= 0.05).any()) for one in nulls) <= limit, name
    claims = sum(bool(one["clusters"]["claimed"].any()) for one in nulls)
    assert claims <= limit
    assert claims > 0  # the test can fail: it is not simply never claiming


def test_no_claim_on_noise_against_the_floor() -> None:
    rows, claims, tested = 0, 0, 0
    for n in range(NULLS):
        spreads = dict.fromkeys(AUGS, 0.1) | {"identity": 0.1, "noise": 0.1, "reseed": 0.3}
        table = planted(seed=n, metrics=("mad", "pearson"), images=40, replicates=ONE_MODEL, seed_sd=spreads)
        cells = cells_of(table, ["mad", "pearson"])
        floor = floor_table(cells, ["mad", "pearson"], image_weights(40, 120, seed=n), 0.95, CLOSER)
        augs = floor[floor["aug"].isin(AUGS)]
        one = augs[(augs["aug"] == "affine") & (augs["metric"] == "mad") & (augs["control"] == "noise")]
        rows, tested = rows + int((one["p"] <= 0.05).sum()), tested + len(one)
        verdicts = floor_summary(floor).set_index("aug")["verdict"].drop(["identity", "noise", "reseed"])
        claims += bool(verdicts.isin(["above", "below"]).any())
    assert within_nominal(rows, tested)
    assert claims <= scipy_stats.binom.ppf(0.999, NULLS, 0.05)


# The parts, against oracles.


def test_correlations_of_seed_means_are_those_of_the_correlation_map() -> None:
    table = planted(seed=2, images=50, replicates=ONE_MODEL)
    cells = cells_of(table, METRICS)
    found = correlation_table(cells, covariances(cells, METRICS, image_weights(50, 100, seed=0)), 0.95)
    for metric in METRICS:
        expected = correlation_map(table, metric)
        for row in found[found["metric"] == metric].itertuples():
            assert row.correlation == pytest.approx(expected.loc[row.aug_a, row.aug_b], abs=1e-12)
            assert row.low <= row.correlation <= row.high


def test_correlations_of_models_are_means_over_pairs_of_models() -> None:
    table = planted(seed=3, images=50, augs=("affine", "cutmix"), metrics=("mad",), replicates={"cutmix": 1})
    cells = cells_of(table, ["mad"])
    found = models_table(cells, covariances(cells, ["mad"], image_weights(50, 100, seed=0)), ["mad"], 0.95)
    wide = table.pivot(index="image", columns=["aug", "seed"], values="mad").corr()
    own = [wide.loc[("affine", a), ("affine", b)] for a, b in ((1, 2), (1, 3), (2, 3))]
    across = [wide.loc[("affine", a), ("cutmix", 1)] for a in (1, 2, 3)]
    rows = found[found["metric"] == "mad"].set_index(["aug_a", "aug_b"])
    assert rows.loc[("affine", "affine"), "correlation"] == pytest.approx(np.tanh(np.arctanh(own).mean()))
    assert rows.loc[("affine", "cutmix"), "correlation"] == pytest.approx(np.tanh(np.arctanh(across).mean()))
    assert np.isnan(rows.loc[("cutmix", "cutmix"), "correlation"])  # one model: nothing to compare it with
    assert rows["model_pairs"].tolist() == [3, 3, 0]


def test_pairs_are_counted_as_pair_counts_does() -> None:
    table = planted(seed=4, images=60, clusters=[("affine", "elastic")], replicates=ONE_MODEL)
    cells = cells_of(table, METRICS)
    found = covariances(cells, METRICS, image_weights(60, 50, seed=0))
    rows = pair_table(cells, found, METRICS, permutations=99, confidence=0.95, seed=0)
    averaged = average_seeds(table, METRICS)
    strong, weak = pair_counts({metric: correlation_map(averaged, metric) for metric in METRICS})
    for name, frame in (("strong", strong), ("weak", weak)):
        expected = frame.set_index(["aug_a", "aug_b"])["count"]
        assert rows.set_index(["aug_a", "aug_b"])[name].sort_index().equals(expected.sort_index().rename(name)), (
            name
        )
    assert rows["strong_share"].sum() == pytest.approx(4)  # four places per metric in every draw
    assert (rows["strong_low"] <= rows["strong_high"]).all()


def test_with_one_seed_nothing_is_claimed() -> None:
    table = planted(seed=5, images=60, seeds=1, clusters=[("affine", "elastic")], shift={"cutmix": 9.0})
    cells = cells_of(table, METRICS)
    weights = image_weights(60, 100, seed=0)
    floor = floor_table(cells, METRICS, weights, 0.95, CLOSER)
    assert set(floor["verdict"]) == {"cannot be known"}
    assert set(means_table(cells, METRICS, weights, 0.95)["covers"]) == {"images"}
    found = all_claims(table, METRICS, seed=0, permutations=99)
    assert found["pairs"][["p_strong", "p_weak", "p_similar"]].isna().all(axis=None)
    assert not found["clusters"]["claimed"].any()
    assert found["resemblance"]["p"].isna().all()


def test_undefined_values_leave_their_image_out_and_are_counted() -> None:
    table = planted(seed=6, images=30, augs=("affine", "cutmix"), metrics=("mad",))
    table.loc[(table["image"] == 4) & (table["aug"] == "affine") & (table["seed"] == 2), "mad"] = np.nan
    cells = cells_of(table, ["mad"])
    found = covariances(cells, ["mad"], image_weights(30, 100, seed=0))
    assert found.images == {"mad": 29}
    rest = cells_of(table[table["image"] != 4], ["mad"])
    again = covariances(rest, ["mad"], image_weights(29, 100, seed=0))
    assert found.whole["mad"] == pytest.approx(again.whole["mad"])


def test_constant_metrics_have_no_correlation_and_make_no_claim() -> None:
    table = planted(seed=7, images=30).assign(mad=0.5)
    found = all_claims(table, METRICS, seed=0, permutations=99)
    assert "mad" not in set(found["clusters"]["source"])
    assert np.isnan(found["resemblance"].set_index("metric").loc["mad", "p"])


def test_block_means_by_hand() -> None:
    values = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 4.0], [2.0, 4.0, 9.0]])
    averaging = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    found = block_means(values, averaging)
    assert found[0, 0] == pytest.approx(1)
    assert found[0, 1] == pytest.approx(3)
    assert np.isnan(found[1, 1])


def test_permutations_keep_the_number_of_models_of_every_aug() -> None:
    cells = Cells(("affine", "cutmix"), np.array([0, 0, 1, 1]), np.arange(4), np.arange(3), {})
    found = permuted(cells, 50, seed=0)
    assert found.shape == (50, 2, 4)
    assert (found.sum(2) == 1).all()
    assert (found.sum(1) == 0.5).all()
    assert (found == permuted(cells, 50, seed=0)).all()
    assert len({tuple(one.ravel()) for one in found}) == 6  # all ways to deal four models to two augs


def test_models_are_permuted_among_those_of_one_seed() -> None:
    """And those whose seed no other model has among themselves."""
    seeds = np.array([7, 1, 7, 1, 9, 1, 4])
    found = orders(seeds, 400, seed=0)
    assert (np.sort(found, axis=1) == np.arange(7)).all()
    for rows in ([0, 2], [1, 3, 5], [4, 6]):
        assert np.isin(found[:, rows], rows).all()
        assert len({tuple(one) for one in found[:, rows].tolist()}) == {2: 2, 3: 6}[len(rows)]
    assert len({tuple(one) for one in found.tolist()}) == 2 * 6 * 2


def test_shared_initial_weights_do_not_hide_what_augs_do() -> None:
    """Models of one seed are alike, which says nothing against augs: pairs of one aug never share a seed."""
    each = [(aug,) for aug in AUGS]
    table = planted(seed=3, images=200, clusters=each, cluster_sd=0.4, weights_sd=1.0, augs=AUGS)
    rows = all_claims(table, METRICS, seed=0, permutations=199)["resemblance"]
    assert (rows["p"] <= 0.01).all()
    assert (rows["difference"] > 0).all()


def test_shared_initial_weights_are_no_claim() -> None:
    """p is as small as 0.05 in one study of twenty, where nothing but the seed matters."""
    p = [
        self_resemblance(cells, alike, permutations=99, seed=0)["p"][0] for cells, alike in map(_alike, range(300))
    ]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.085  # 0.05 ± 2.7 standard errors
    assert 0.42 <= np.mean(np.array(p) <= 0.5) <= 0.58


def _alike(seed: int) -> tuple[Cells, dict[str, np.ndarray]]:
    table = planted(seed=seed, images=30, augs=AUGS[:5], metrics=("mad",), weights_sd=1.0)
    cells = cells_of(table, ["mad"])
    return cells, {"mad": correlations(covariances(cells, ["mad"], np.empty((0, 30), np.int32)).whole["mad"])}


def test_p_values_count_the_observed_among_the_permutations() -> None:
    assert p_value(np.array(3.0), np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 4)
    assert p_value(np.array(4.0), np.array([1.0, 2.0, 3.0])) == pytest.approx(1 / 4)
    assert np.isnan(p_value(np.array(np.nan), np.array([1.0])))


def test_top_pairs_take_ties_by_place_and_leave_nan_out() -> None:
    assert top_pairs(np.array([1.0, np.nan, 2.0, 2.0, 2.0]), 2).tolist() == [False, False, True, True, False]


def test_trees_are_scipys_and_a_stem_is_the_way_to_the_next_merge() -> None:
    points = np.array([[0.0], [1.0], [10.0], [12.0]])
    distance = np.abs(points - points.T)
    merges = tree(distance)
    assert merges == pytest.approx(linkage(points, "average"))
    found = clusters_of(merges)
    assert found[frozenset({0, 1})] == pytest.approx((1, 10.5 - 1))
    assert found[frozenset({2, 3})] == pytest.approx((2, 10.5 - 2))
    assert len(found) == 2


def test_agreement_of_equal_and_of_unrelated_distances() -> None:
    generator = np.random.default_rng(0)
    points = generator.standard_normal((7, 3))
    a = squareform(np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)), checks=False)
    b = generator.random(len(a))
    found = agreement(
        {"a": squareform(a), "b": squareform(a * 2), "c": squareform(b)}, permutations=199, seed=0
    ).set_index(["metric_a", "metric_b"])
    assert found.loc[("a", "b"), "mantel_r"] == pytest.approx(1)
    assert found.loc[("a", "b"), "cophenetic_r"] == pytest.approx(1)
    assert found.loc[("a", "b"), "mantel_p"] == pytest.approx(1 / 200, abs=0.006)
    assert found.loc[("a", "c"), "mantel_r"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    expected = np.corrcoef(cophenet(tree(squareform(a))), cophenet(tree(squareform(b))))[0, 1]
    assert found.loc[("a", "c"), "cophenetic_r"] == pytest.approx(expected)
    assert found.loc[("a", "c"), "mantel_p"] > 0.05


def test_claims_do_not_depend_on_how_many_draws_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    table = planted(seed=3, images=80, clusters=[("affine", "elastic")], replicates=ONE_MODEL)
    cells = cells_of(table, METRICS)
    weights = image_weights(80, 130, seed=0)

    def found() -> list[pd.DataFrame]:
        shared = covariances(cells, METRICS, weights)
        claims = all_claims(table, METRICS, seed=0, permutations=99, draws=130)
        tables = [correlation_table(cells, shared, 0.95), models_table(cells, shared, METRICS, 0.95)]
        return [*tables, *claims.values()]

    whole = found()
    monkeypatch.setattr("auglens.stats.similarity.AT_ONCE", 30 * 8 * len(METRICS) * len(cells.aug) ** 2)
    monkeypatch.setattr("auglens.stats.permutations.AT_ONCE", 7 * 8 * len(cells.augs) * len(cells.aug))
    steps: list[int] = []

    @contextlib.contextmanager
    def progress(_title: str, total: int) -> Iterator[Callable[[int], object]]:
        steps.append(-total)
        yield steps.append

    in_blocks = found()
    for one, other in zip(whole, in_blocks, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    blocks = list(covariances(cells, METRICS, weights, progress).blocks())
    assert [(which.start, which.stop) for which, _ in blocks] == [(n, min(n + 30, 130)) for n in range(0, 130, 30)]
    assert sum(steps) == 0
