"""What influences explanations: models, factors, differences, methods, correlations, answers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle

from auglens.figures import alt_text, correlation_grid, factor_panels, level_curves, seconds_bars
from auglens.stats import (
    Factor,
    Models,
    answers,
    correlation_of_scores,
    find_factors,
    influence_tables,
    level_values,
    method_table,
    models_of,
    wide_table,
)
from auglens.stats.across import pearson, ranks
from auglens.stats.factors import level_labels, settings_of
from auglens.stats.influence import contrast
from auglens.stats.scores import ordered_methods, split_metric

BASE: dict[str, Any] = {"aug": "noise", "model.name": "resnet18", "train.batch_size": 16, "model.dropout": 0.0}
IOU, DROP, ACCURACY = ("iou_area", "gradcam"), ("average_drop", "gradcam"), ("accuracy", "")
Cell = tuple[Mapping[str, Any], int, Mapping[tuple[str, str], float]]


def made(cells: Sequence[Cell], train_keys: Sequence[str] | None = None) -> Models:
    """(what differs from BASE, seed, values) of each cell → models."""
    parameters = pd.DataFrame([{**BASE, **changes} for changes, _, _ in cells], dtype=object)
    parameters = parameters.astype(object).where(parameters.notna(), None)
    values = pd.DataFrame([dict(found) for _, _, found in cells])
    keys = pd.DataFrame({
        "train_key": train_keys or [f"t{n}" for n in range(len(cells))],
        "cell": [f"noise-{seed}" for _, seed, _ in cells],
        "seed": [seed for _, seed, _ in cells],
    })  # fmt: skip
    return models_of(parameters, values, keys)


def grid(changes: Sequence[Mapping[str, Any]], seeds: int = 2) -> Models:
    return made([(one, seed, {IOU: 0.5}) for one in changes for seed in range(seeds)])


def levels(factors: Sequence[Factor]) -> dict[str, list[str]]:
    return {factor.name: list(factor.levels) for factor in factors}


# --- models and factors


def test_one_at_a_time() -> None:
    models = grid([{}, {"train.batch_size": 32}, {"train.batch_size": 128}, {"model.dropout": 0.5}, {"x": 1}])
    start, factors = find_factors(models)
    assert (start, len(models.configurations), len(models.table)) == (0, 5, 10)
    assert levels(factors) == {"batch_size": ["16", "32", "128"], "dropout": ["0", "0.5"], "x": ["none", "1"]}
    assert [factor.baseline for factor in factors] == ["16", "0", "none"]


def test_a_full_grid_and_a_chosen_baseline() -> None:
    values = itertools.product(("resnet18", "resnet50", "resnet101"), (16, 64))
    models = grid([{"model.name": name, "train.batch_size": size} for name, size in values])
    assert len(models.configurations) == 6
    start, factors = find_factors(models)  # all are in two families and have two models: the first
    assert start == 0
    assert levels(factors) == {"depth": ["resnet18", "resnet50", "resnet101"], "batch_size": ["16", "64"]}
    start, factors = find_factors(models, 3)
    assert [(factor.name, factor.baseline) for factor in factors] == [("depth", "resnet50"), ("batch_size", "64")]
    assert factors[1].levels == {"16": 2, "64": 3}


def test_most_models_break_a_tie_and_a_factor_without_the_baseline_takes_its_largest_family() -> None:
    cells: list[Cell] = [({}, 1, {IOU: 0.1}), ({"train.batch_size": 32}, 1, {IOU: 0.1})]
    cells.append(({"train.batch_size": 32}, 2, {IOU: 0.1}))
    cells += [({"x": 1, "model.dropout": rate}, 1, {IOU: 0.1}) for rate in (0.1, 0.2, 0.3)]
    start, factors = find_factors(made(cells), 0)
    assert levels(factors) == {"batch_size": ["16", "32"], "dropout": ["0.1", "0.2", "0.3"]}
    assert factors[1].baseline == "0.1"
    assert find_factors(made(cells[:3]))[0] == 1
    assert start == 0


def test_two_things_changed_at_once_make_no_factor() -> None:
    assert find_factors(grid([{}, {"train.batch_size": 32, "model.dropout": 0.5}]))[1] == []


def test_what_cannot_matter_is_left_out() -> None:
    same = [
        {},
        {"model.norm": "batch", "model.norm_channels": 16, "model.norm_groups": None},
        {"model.norm": "batch", "model.norm_channels": 64},
        {"model.norm": "none", "model.norm_channels": 8},
        {"model.precode_size": 0, "model.precode_beta": 0.1},
        {"streams.init": 5, "streams.dropout": None, "score.seed": 3, "data.split_seed": 9},
        {"maps.method": "cam", "maps.batch_size": 3, "train.watch_test": True, "tracking.live": True},
        {"train.weight_decay_l1": 0.0},
    ]
    found = [settings_of({**BASE, **one}) for one in same]
    expected = [found[0], found[0], found[0], None, *[found[0]] * 4]
    assert [one == want for one, want in zip(found, expected, strict=True)] == [True] * 3 + [False] + [True] * 4
    group = [{"model.norm": "group", "model.norm_channels": n} for n in (16, 32)]
    group += [{"model.norm": "group", "model.norm_groups": 8}, {"model.norm": "none"}]
    precode = [
        {"model.precode_size": size, "model.precode_beta": beta} for size in (128, 256) for beta in (1e-3, 1e-4)
    ]
    decay = [{"train.weight_decay": 1e-4}, {"train.weight_decay_l1": 1e-5}]
    _, factors = find_factors(grid([{}, *group, *precode, *decay]))
    assert levels(factors) == {
        "weight_decay": ["no weight decay", "L1 1e-05", "L2 0.0001"],
        "norm": ["no norm", "batch norm", "8 groups", "group of 16 channels", "group of 32 channels"],
        "precode": ["no PRECODE", "128, β 0.0001", "128, β 0.001", "256, β 0.0001", "256, β 0.001"],
    }


def test_an_aug_and_its_parameters_are_one_setting() -> None:
    blur = {"aug": "gaussian_blur", "halves": 2}
    augs = [{"aug": "reference", "halves": 1}, {"aug": "affine", "halves": 2, "aug.affine.degrees": 20}]
    augs += [{**blur, "aug.gaussian_blur.sigma": sigma} for sigma in ("[0.5, 1.5]", "[1, 2]")]
    _, (factor,) = find_factors(grid(augs))
    told = [f"gaussian_blur (gaussian_blur.sigma {sigma})" for sigma in ("[0.5, 1.5]", "[1, 2]")]
    assert list(factor.levels) == ["affine", *told, "reference"]


def test_reseed_gives_the_reference_more_seeds() -> None:
    cells: list[Cell] = []
    for size in (16, 32):
        told = {"train.batch_size": size, "halves": 1}
        cells.append(({**told, "aug": "reference", "streams.init": 0}, 0, {IOU: 0.5}))
        cells += [({**told, "aug": "reseed", "streams.init": 1 + s}, s, {IOU: 0.5 + s / 10}) for s in (1, 2, 3)]
    models = made(cells)
    _, (factor,) = find_factors(models)
    assert (factor.name, len(models.rows(0)), len(models.rows(1))) == ("batch_size", 4, 4)
    assert models.table["pair"].tolist()[:4] == models.table["pair"].tolist()[4:]
    assert models.table["pair"].nunique() == 4


def test_labels_are_never_equal() -> None:
    contents = ["a" * 64, "b" * 64]
    assert level_labels("data", [("shapes", one) for one in contents]) == [
        "shapes (aaaaaaaa…)",
        "shapes (bbbbbbbb…)",
    ]
    assert len(set(level_labels("x", [(1,), ("1",), (1.0000001,)]))) == 3


def test_networks_of_other_kinds_are_no_depth() -> None:
    models = grid([{"model.name": name} for name in ("vgg16", "resnet50", "resnet18")])
    _, (depth, network) = find_factors(models)
    assert (depth.name, list(depth.levels), depth.baseline) == ("depth", ["resnet18", "resnet50"], "resnet18")
    assert (network.name, list(network.levels), network.baseline) == (
        "network",
        ["resnet18", "resnet50", "vgg16"],
        "vgg16",
    )
    assert [factor.name for factor in find_factors(grid([{"model.name": n} for n in ("a", "b")]))[1]] == [
        "network"
    ]


def test_equal_checkpoints_are_one_model_with_all_that_is_known_of_it() -> None:
    nan = float("nan")
    cells: list[Cell] = [
        ({}, 1, {IOU: nan, ACCURACY: 0.5}),
        ({}, 2, {IOU: 0.3, ACCURACY: 0.7}),
        ({}, 3, {IOU: 0.4}),
    ]
    models = made(cells, ["same", "same", "other"])
    assert models.table["train_key"].tolist() == ["same", "other"]
    assert models.values[IOU].tolist() == [0.3, 0.4]
    assert models.values[ACCURACY].tolist()[0] == 0.5
    assert models.of_cell.tolist() == [0, 0, 0]


# --- differences


def two(left: Sequence[float], right: Sequence[float], seeds: Sequence[int] | None = None) -> Models:
    cells: list[Cell] = [({}, seed, {IOU: value}) for seed, value in enumerate(left, 1)]
    named = seeds or range(1, len(right) + 1)
    return made(cells + [({"train.batch_size": 32}, s, {IOU: v}) for s, v in zip(named, right, strict=True)])


def rows_of(models: Models, method: str = "gradcam", score: str = "iou_area") -> pd.DataFrame:
    table = influence_tables(models, find_factors(models, 0)[1], 0.95)
    return table[(table["method"] == method) & (table["score"] == score)].set_index("level")


def test_means_spread_and_paired_difference_by_hand() -> None:
    rows = rows_of(two([0.1, 0.2, 0.3], [0.2, 0.4, 0.3]))
    base, row = rows.loc["16"], rows.loc["32"]
    assert (base["mean"], base["sd"], base["n"], base["baseline"]) == (
        pytest.approx(0.2),
        pytest.approx(0.1),
        3,
        True,
    )
    assert np.isnan(base["difference"])
    # Differences 0.1, 0.2, 0: mean 0.1, sd 0.1, half = t(0.975; 2) · 0.1 / √3 with t = 4.302653.
    half = 4.302652729911275 * 0.1 / np.sqrt(3)
    assert row[["difference", "low", "high"]].tolist() == pytest.approx([0.1, 0.1 - half, 0.1 + half])
    assert row["test"] == "paired"
    assert rows["best"].tolist() == [False, True]


def test_paired_and_welch_are_scipys() -> None:
    left, right = np.random.default_rng(3).normal(size=(2, 6))
    row = rows_of(two(left.tolist(), right.tolist())).loc["32"]
    found = oracle.ttest_rel(right, left)
    assert row["p"] == pytest.approx(found.pvalue, rel=1e-10)
    assert row[["low", "high"]].tolist() == pytest.approx(list(found.confidence_interval()), rel=1e-10)
    for seeds in ([7, 8, 9, 10], [1, 2, 9, 10]):  # none of the seeds shared, and not all of the smaller side's
        row = rows_of(two(left.tolist(), right[:4].tolist(), seeds)).loc["32"]
        found = oracle.ttest_ind(right[:4], left, equal_var=False)
        assert (row["test"], row["p"]) == ("welch", pytest.approx(found.pvalue, rel=1e-10))
        assert row[["low", "high"]].tolist() == pytest.approx(list(found.confidence_interval()), rel=1e-10)


def test_a_difference_changes_its_sign_with_its_sides() -> None:
    a, b = (pd.Series(values, index=["1", "2", "3"]) for values in ([0.1, 0.5, 0.2], [0.4, 0.3, 0.9]))
    one, other = contrast(a, b, 0.9), contrast(b, a, 0.9)
    assert (one.difference, one.low, one.p) == pytest.approx((-other.difference, -other.high, other.p))


def test_no_interval_without_spread() -> None:
    one = rows_of(two([0.1], [0.3])).loc["32"]
    assert one["difference"] == pytest.approx(0.2)
    assert one[["low", "high", "p"]].isna().all()
    assert np.isnan(one["sd"])
    same = rows_of(two([0.1, 0.1], [0.3, 0.3])).loc["32"]
    assert same[["low", "high", "p"]].isna().all()
    assert same["sd"] == 0


def test_best_follows_the_direction_and_is_not_given_to_equals() -> None:
    cells: list[Cell] = [
        ({"train.batch_size": size}, seed, {DROP: drop + seed / 100, IOU: 0.5, ACCURACY: drop})
        for size, drop in ((16, 40.0), (32, 30.0), (64, 50.0))
        for seed in (1, 2)
    ]
    models = made(cells)
    assert rows_of(models, score="average_drop")["best"].tolist() == [False, True, False]
    assert rows_of(models)["best"].tolist() == [False] * 3
    assert rows_of(models, "", "accuracy")["best"].tolist() == [False, False, True]


def test_undefined_values_are_left_out_and_counted() -> None:
    nan = float("nan")
    rows = rows_of(two([0.1, nan, 0.3], [0.2, 0.4, nan]))
    assert rows["n"].tolist() == [2, 2]
    assert rows["mean"].tolist() == pytest.approx([0.2, 0.3])
    assert rows.loc["32", "test"] == "welch"  # one seed alone is shared
    rows = rows_of(two([0.1, 0.2], [nan, nan]))
    assert rows["n"].tolist() == [2, 0]
    assert rows.loc["32", ["mean", "sd", "difference", "low"]].isna().all()
    assert not rows["best"].any()


def test_the_mean_of_the_methods_and_holm() -> None:
    noise = np.random.default_rng(0)
    names = ("cam", "gradcam", "scorecam", "centre")
    cells: list[Cell] = [
        ({"train.batch_size": size}, seed, {("iou_area", name): 0.3 + 0.01 * noise.normal() for name in names})
        for size in (16, 32, 64)
        for seed in (1, 2, 3)
    ]
    models = made(cells)
    table = influence_tables(models, find_factors(models)[1], 0.95)
    wanted = models.values[[("iou_area", name) for name in names[:3]]].mean(axis=1)[3:6].mean()
    assert table.loc[(table["method"] == "all") & (table["level"] == "32"), "mean"].item() == pytest.approx(wanted)
    assert list(dict.fromkeys(table["method"])) == ["cam", "gradcam", "scorecam", "all", "centre"]
    own = table[table["method"].isin(names[:3]) & ~table["baseline"]]
    p = own["p"].to_numpy()
    order = np.argsort(p)
    slow = np.empty(6)
    slow[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(6, 0, -1)), 1)
    assert own["p_holm"].tolist() == pytest.approx(slow.tolist())
    assert table.loc[table["method"] == "centre", "p_holm"].isna().all()


def test_the_table_as_the_thesis_prints_it() -> None:
    models = made([
        ({"model.name": name}, seed, {ACCURACY: 0.8 + seed / 100 + shift, DROP: 50.0 + shift})
        for name, shift in (("resnet18", 0.0), ("resnet34", -0.1)) for seed in (1, 2)
    ])  # fmt: skip
    wide = wide_table(influence_tables(models, find_factors(models)[1], 0.95))
    assert wide.to_numpy().tolist() == [
        ["↑ Accuracy, %", "", "81.50 ± 0.71 *", "71.50 ± 0.71"],
        ["↓ Average Drop, %", "Grad-CAM", "50.00 ± 0.00", "49.90 ± 0.00 *"],
    ]
    assert list(wide)[2:] == ["resnet18 (baseline, n = 2)", "resnet34 (n = 2)"]


# --- over all models


def test_methods_are_compared_on_the_same_models_and_with_the_floors() -> None:
    noise = np.random.default_rng(1)
    cells: list[Cell] = []
    for size, seed in itertools.product((16, 32), (1, 2, 3)):
        of_model = noise.normal()
        found = {("iou_area", m): level + of_model + 0.01 * noise.normal()
                 for m, level in (("cam", 0.1), ("scorecam", 0.3), ("centre", 0.2), ("ones", 0.0))}  # fmt: skip
        cells.append(({"train.batch_size": size}, seed, found))
    models = made(cells)
    table = method_table(models, 0.95).set_index("method")
    assert list(table.index) == ["cam", "scorecam", "ones", "centre"]
    assert table["best"].tolist() == [False, True, False, False]
    found = oracle.ttest_rel(models.values["iou_area", "cam"], models.values["iou_area", "scorecam"])
    assert table.loc["cam", "p"] == pytest.approx(found.pvalue)
    assert table.loc["cam", ["low", "high"]].tolist() == pytest.approx(list(found.confidence_interval()))
    assert table["units"].tolist() == [6] * 4  # two configurations: models
    assert (table.loc["scorecam", "best_floor"], table.loc["scorecam", "over_floor_low"] > 0) == ("centre", True)
    assert table.loc["cam", "over_floor_high"] < 0


def clustered(effect: float, seed: int = 0, configurations: int = 8) -> Models:
    noise = np.random.default_rng(seed)
    cells: list[Cell] = []
    for size in range(configurations):
        x, own = noise.normal(size=2)
        for number in (1, 2, 3):
            accuracy = x + 0.1 * noise.normal()
            y = effect * accuracy + (1 - effect) * (own + 0.1 * noise.normal())
            cells.append(({"train.batch_size": size}, number, {ACCURACY: accuracy, IOU: y}))
    return made(cells)


def correlated(models: Models, seed: int) -> pd.Series:
    found = correlation_of_scores(models, draws=100, confidence=0.95, seed=seed)
    return found[found["method"] == "gradcam"].iloc[0]


def test_correlations_are_scipys() -> None:
    models = clustered(0.4)
    row = correlation_of_scores(models, draws=200, confidence=0.95, seed=0).iloc[0]
    x, y = models.values[ACCURACY], models.values[IOU]
    assert row["pearson"] == pytest.approx(oracle.pearsonr(x, y).statistic)
    assert row["spearman"] == pytest.approx(oracle.spearmanr(x, y).statistic)
    assert (row["models"], row["configurations"]) == (24, 8)
    assert row["pearson_low"] < row["pearson"] < row["pearson_high"]


def test_weighted_correlations_are_those_of_the_repeated_models() -> None:
    noise = np.random.default_rng(2)
    x, y = np.round(noise.normal(size=(2, 12)), 1)  # rounded: some are tied
    weights = noise.integers(0, 4, (5, 12)).astype(np.float64)
    rho = pearson(ranks(x, weights), ranks(y, weights), weights)
    r = pearson(x, y, weights)
    for n, one in enumerate(weights.astype(int)):
        long_x, long_y = np.repeat(x, one), np.repeat(y, one)
        assert r[n] == pytest.approx(oracle.pearsonr(long_x, long_y).statistic)
        assert rho[n] == pytest.approx(oracle.spearmanr(long_x, long_y).statistic)
    assert np.isnan(pearson(np.full(12, 0.1), y, weights)).all()


def test_the_bootstrap_draws_configurations_uses_its_seed_and_leaves_global_state_alone() -> None:
    models = clustered(0.4)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    one, again, other = (correlated(models, seed) for seed in (1, 1, 2))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]  # noqa: NPY002
    pd.testing.assert_series_equal(one, again)
    assert one["pearson_low"] != other["pearson_low"]
    assert one["pearson"] == other["pearson"]
    # Ten times the seeds are no more configurations: the interval stays as wide.
    rows = np.repeat(np.arange(24), 10)
    many = Models(models.table.iloc[rows].reset_index(drop=True), models.values.iloc[rows].reset_index(drop=True),
                  models.configurations, models.of_cell)  # fmt: skip
    widths = [row["pearson_high"] - row["pearson_low"] for row in (one, correlated(many, 1))]
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)


def test_too_few_configurations_or_constant_values_give_no_correlation() -> None:
    few = correlation_of_scores(clustered(0.9, configurations=3), draws=100, confidence=0.95, seed=0)
    assert few[["pearson", "pearson_low", "spearman"]].isna().all(axis=None)
    assert set(few["configurations"]) == {3}
    constant = made([({"train.batch_size": n}, 1, {ACCURACY: n / 10, IOU: 0.5}) for n in range(6)])
    found = correlation_of_scores(constant, draws=100, confidence=0.95, seed=0)
    assert found[["pearson", "pearson_low"]].isna().all(axis=None)


# --- answers


def told(models: Models) -> dict[str, tuple[str, str]]:
    _, factors = find_factors(models, 0)
    table = influence_tables(models, factors, 0.95)
    correlation = correlation_of_scores(models, draws=200, confidence=0.95, seed=0)
    found = answers(table, factors, method_table(models, 0.95), correlation)
    return {one.name: (one.kind, one.text) for one in found}


def planted(effect: float, seed: int) -> Models:
    noise = np.random.default_rng(seed)
    cells: list[Cell] = []
    for name, number in itertools.product(("resnet18", "resnet34", "resnet50"), (1, 2, 3, 4)):
        shift = effect if name == "resnet50" else 0.0
        values = {ACCURACY: 0.8 + 0.01 * noise.normal()}
        for method in ("cam", "scorecam"):
            values["iou_area", method] = 0.3 + shift + 0.01 * noise.normal()
            values["average_drop", method] = 50 + 100 * shift + noise.normal()
        cells.append(({"model.name": name}, number, values))
    return made(cells)


def test_a_planted_effect_is_claimed_and_no_effect_is_not() -> None:
    kind, text = told(planted(0.2, 0))["depth"]
    assert kind == "claim"
    assert "resnet50: better in IoU (area) +" in text
    assert "; worse in Average Drop +" in text
    assert "resnet34: no difference shown in 2 scores, such as IoU (area) (" in text
    kinds = [told(planted(0.0, seed))["depth"][0] for seed in range(40)]
    # Two families of Holm's, one per score, at 5 % each: more than 10 of 40 studies with a false claim are rarer
    # than 1 in 500.
    assert kinds.count("claim") <= 10


def test_what_was_not_varied_or_cannot_be_known_says_so() -> None:
    found = told(two([0.1], [0.3]))
    assert found["depth"] == ("open", "Network depth: not varied in these runs.")
    assert found["training"] == (
        "open",
        "Batch size, against 16 (1 model), scores averaged over the map methods. 32: cannot be claimed, since the "
        "spread over seeds is unknown (n = 1) or nil: IoU (area) +20.00 points, no interval. Epochs: not varied "
        "in these runs.",
    )
    assert found["methods"] == ("open", "Not answered: not varied in these runs (one map method).")
    assert found["regularisation"][1] == "Weight decay, dropout and normalisation: not varied in these runs."
    assert found["correlation"][1] == "Cannot be known: these runs have no accuracy or no explanation scores."
    text = told(planted(0.2, 0))["correlation"][1]
    assert text == "Cannot be known: 12 models of 3 configurations, and a correlation needs 4 or more."


def test_a_correlation_is_told_in_the_scores_direction() -> None:
    cells: list[Cell] = [
        ({"train.batch_size": n}, 1, {ACCURACY: n / 10, IOU: 0.01 * n**1.1, DROP: 9.0 * n**1.1}) for n in range(10)
    ]
    kind, text = told(made(cells))["correlation"]
    assert kind == "claim"
    assert "more accurate models explain better by IoU (area) (1.00 [" in text
    assert "more accurate models explain worse by Average Drop (1.00 [" in text


def test_names() -> None:
    assert split_metric("iou_area.gradcampp") == ("iou_area", "gradcampp")
    assert split_metric("sanity.cam") == ("sanity", "cam")
    assert split_metric("accuracy") == ("accuracy", "")
    for other in ("iou_area.cam_undefined", "mad_mean", "energy", "energy.", "accuracy.cam"):
        assert split_metric(other) is None
    assert ordered_methods(["random", "zzz", "all", "scorecam", "ones", "cam", "cam"]) == [
        "cam", "scorecam", "zzz", "all", "ones", "random",
    ]  # fmt: skip


# --- figures


def test_figures_show_what_the_tables_hold() -> None:
    models = planted(0.2, 0)
    _, (factor,) = find_factors(models)
    table = influence_tables(models, [factor], 0.95)
    figure = factor_panels(table, level_values(models, factor), factor.title)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["↑ Accuracy, %", "↑ IoU (area), %", "↓ Average Drop, %"]
    means = table[(table["score"] == "iou_area") & (table["method"] == "scorecam")]["mean"] * 100
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in figure.axes[1].lines]
    assert any(len(y) == 3 and np.allclose(y, means) for y in lines)
    assert alt_text(figure).startswith("Network depth: scores over 3 levels. ")
    assert "IoU (area): best at resnet50" in alt_text(figure)
    wide = clustered(0.4)
    correlation = correlation_of_scores(wide, draws=100, confidence=0.95, seed=0)
    figure = correlation_grid(wide.values, correlation)
    r = correlation.loc[correlation["method"] == "gradcam", "pearson"].item()
    assert f"IoU (area), Grad-CAM: r = {r:.2f} [" in alt_text(figure)
    assert len(figure.axes[0].lines[0].get_xdata()) == 24


def test_curves_and_times() -> None:
    curves = pd.DataFrame([
        {"level": level, "seed": seed, "epoch": epoch, "metric": metric, "value": epoch / 10 + seed / 100}
        for level in ("a", "$b") for seed in (1, 2) for epoch in (2, 1)
        for metric in ("test_f1", "validation_accuracy")
    ])  # fmt: skip
    figure = level_curves(curves, "Norm")
    assert [axes.get_title("left") for axes in figure.axes] == ["Validation accuracy", "Test F1"]
    assert "a ends at 0.215; $b ends at 0.215" in alt_text(figure)
    assert len(figure.axes[0].lines) == 6
    assert "no run has its curves" in alt_text(level_curves(curves.iloc[:0], "Norm"))
    points = pd.DataFrame({"level": ["a", "a"], "score": ["train_seconds"] * 2, "value": [2.0, 4.0]})
    assert alt_text(seconds_bars(points, ["a", "b"], "Norm")) == "Bars of the training time per level: a 3.0 s."
    assert "not defined" in alt_text(seconds_bars(points.iloc[:0], ["a"], "Norm"))
