"""Scores of erased images, per model, aug and cell: by hand, against loops over numbers, and invariants."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from auglens.metrics.erasing import over_grid
from auglens.stats import (
    ROBUSTNESS,
    paired_differences,
    robustness_by_model,
    robustness_table,
    where_erasing_hurts,
)

NAN, INF = float("nan"), float("inf")
KEYS = ["aug", "seed", "part", "image", "row", "column"]
SEGMENTATION = ("dice", "hausdorff", "sensitivity", "specificity", "precision")
T2 = 4.302652729696144  # Student's 97.5 % point with 2 degrees of freedom
T1 = 12.706204736174707


def rows(aug: str, seed: int, image: int, values: list[Any], part: str = "test") -> list[tuple[Any, ...]]:
    """The whole image, then the cells of a grid of one row."""
    places = [(-1, -1), *((0, column) for column in range(len(values) - 1))]
    return [(aug, seed, part, image, *place, value) for place, value in zip(places, values, strict=True)]


HAND = pd.DataFrame(
    [
        *rows("reference", 0, 0, [(0.8, 2.0), (0.7, 3.0), (0.5, INF), (NAN, 4.0)]),
        *rows("reference", 0, 1, [(NAN, 1.0), (0.9, 1.5), (0.6, 1.0), (0.3, 0.5)]),
        *rows("ada", 3, 0, [(0.9, NAN), (NAN, NAN), (NAN, NAN), (NAN, INF)]),
    ],
    columns=[*KEYS, "both"],
)
HAND[["dice", "hausdorff"]] = HAND.pop("both").tolist()


def models(found: pd.DataFrame) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    keyed = found.set_index(["aug", "seed", "part", "score"])
    return {key: tuple(values) for key, values in zip(keyed.index, keyed.to_numpy().tolist(), strict=True)}


def test_by_model_by_hand() -> None:
    found = robustness_by_model(HAND)
    names = ["aug", "seed", "part", "score", "whole", "erased", "worst", "drop", "images", "undefined"]
    assert list(found.columns) == names
    expected = {
        ("reference", 0, "test", "dice"): (0.8, 3.0 / 5, (0.5 + 0.3) / 2, 0.6 - 0.8, 2, 1),
        ("reference", 0, "test", "hausdorff"): (1.5, 10.0 / 5, (4.0 + 1.5) / 2, 2.0 - 1.5, 2, 1),
        ("ada", 3, "test", "dice"): (0.9, NAN, NAN, NAN, 1, 3),
        ("ada", 3, "test", "hausdorff"): (NAN, NAN, NAN, NAN, 1, 3),
    }
    assert list(models(found)) == list(expected)
    for key, values in expected.items():
        assert models(found)[key] == pytest.approx(values, nan_ok=True), key


def test_classification_by_hand() -> None:
    """Of image 0 all copies are right, of image 1 one, of image 2, wrong when whole, one becomes right."""
    answers = [
        [(True, True), (True, True), (True, True)],
        [(True, True), (False, False), (True, True)],
        [(False, True), (True, False), (False, False)],
    ]
    made = [
        row for image, values in enumerate(answers) for row in rows("reference", 0, image, values, "validation")
    ]
    frame = pd.DataFrame(made, columns=[*KEYS, "both"])
    frame[["correct", "consistent"]] = frame.pop("both").tolist()
    assert frame["correct"].dtype == bool
    found = models(robustness_by_model(frame))
    assert found == {
        ("reference", 0, "validation", "accuracy"): pytest.approx((2 / 3, 4 / 6, 1 / 3, 0.0, 3, 0)),
        ("reference", 0, "validation", "consistency"): pytest.approx((NAN, 3 / 6, 1 / 3, NAN, 3, 0), nan_ok=True),
    }
    where = where_erasing_hurts(frame, "accuracy")
    assert where["drop"].tolist() == pytest.approx([0.0, 0.0])  # one lost and one won; none changed
    assert where_erasing_hurts(frame, "consistency")["drop"].tolist() == pytest.approx([-2 / 3, -1 / 3])


def test_an_undefined_answer_of_a_classifier_is_left_out() -> None:
    frame = pd.DataFrame(rows("ada", 0, 0, [True, None, False, True]), columns=[*KEYS, "correct"])
    assert robustness_by_model(frame)[["whole", "erased", "undefined"]].to_numpy().tolist() == [[1.0, 0.5, 1]]


def table_of(values: dict[str, dict[int, tuple[float, float]]], score: str = "dice") -> pd.DataFrame:
    """What `robustness_by_model` gives: aug → seed → (whole, erased)."""
    return pd.DataFrame(
        [
            (aug, seed, "test", score, whole, erased, erased - 0.1, erased - whole, 9, 0)
            for aug, seeds in values.items()
            for seed, (whole, erased) in seeds.items()
        ],
        columns=["aug", "seed", "part", "score", "whole", "erased", "worst", "drop", "images", "undefined"],
    )


BY_MODEL = table_of(
    {
        "reference": {0: (0.80, 0.60)},
        "ada": {0: (0.82, 0.70), 1: (0.84, 0.75), 2: (0.86, 0.71)},
        "noise": {0: (0.80, 0.61), 1: (0.79, 0.65), 2: (0.81, 0.60)},
        "cutmix": {1: (0.70, 0.40), 7: (0.72, 0.44)},
    }
)


def test_a_table_over_models_by_hand() -> None:
    found = robustness_table(BY_MODEL)
    assert list(found.columns) == [
        "aug", "part", "score", "whole", "erased", "worst", "drop", "whole_sd", "erased_sd", "worst_sd", "drop_sd",
        "erased_low", "erased_high", "drop_low", "drop_high", "replicates",
    ]  # fmt: skip
    assert found["aug"].tolist() == ["reference", "ada", "noise", "cutmix"]
    reference, ada, _, cutmix = found.drop(columns=["aug", "part", "score"]).to_numpy(dtype=float).tolist()
    assert reference == pytest.approx([0.8, 0.6, 0.5, -0.2, *[NAN] * 8, 1], nan_ok=True)
    sd = math.sqrt((0.02**2 + 0.03**2 + 0.01**2) / 2)  # of 0.70, 0.75, 0.71 about 0.72
    drop = math.sqrt((0.0**2 + 0.03**2 + 0.03**2) / 2)  # of −0.12, −0.09, −0.15
    half, half_drop = T2 * sd / math.sqrt(3), T2 * drop / math.sqrt(3)
    expected = [0.84, 0.72, 0.62, -0.12, 0.02, sd, sd, drop]
    expected += [0.72 - half, 0.72 + half, -0.12 - half_drop, -0.12 + half_drop, 3]
    assert ada == pytest.approx(expected)
    half = T1 * (0.04 / math.sqrt(2)) / math.sqrt(2)
    assert cutmix[-5:] == pytest.approx([0.42 - half, 0.42 + half, -0.29 - T1 * 0.01, -0.29 + T1 * 0.01, 2])


def test_models_without_a_value_are_no_replicates_and_equal_ones_have_no_interval() -> None:
    lost = BY_MODEL.copy()
    lost.loc[(lost["aug"] == "ada") & (lost["seed"] == 1), ["whole", "erased", "worst", "drop"]] = NAN
    lost.loc[lost["aug"] == "noise", ["erased", "drop"]] = [0.6, -0.2]
    found = robustness_table(lost).set_index("aug")
    assert found.loc["ada", "replicates"] == 2
    assert found.loc["ada", ["whole", "erased"]].tolist() == pytest.approx([0.84, 0.705])
    assert found.loc["ada", "erased_sd"] == pytest.approx(0.01 / math.sqrt(2))
    assert found.loc["noise", ["erased", "erased_sd", "replicates"]].tolist() == pytest.approx([0.6, 0.0, 3])
    assert found.loc["noise", ["erased_low", "erased_high", "drop_low"]].isna().all()


def differences(found: pd.DataFrame, of: str = "erased") -> dict[str, list[Any]]:
    names = ["mean", "sd", "low", "high", "replicates", "against_replicates", "paired"]
    return {row["aug"]: [row[name] for name in names] for row in found[found["of"] == of].to_dict("records")}


def test_differences_from_another_aug_are_paired_by_seed() -> None:
    found = paired_differences(BY_MODEL, "noise")
    assert list(found.columns) == [
        "aug", "against", "part", "score", "of", "mean", "sd", "low", "high", "replicates", "against_replicates",
        "paired",
    ]  # fmt: skip
    assert set(found["against"]) == {"noise"}
    assert found["of"].tolist() == ["erased", "whole"] * 3
    pairs = np.array([0.70 - 0.61, 0.75 - 0.65, 0.71 - 0.60])
    low, high = stats.t.interval(0.95, 2, pairs.mean(), stats.sem(pairs))
    assert differences(found)["ada"] == pytest.approx([0.1, 0.01, low, high, 3, 3, True])
    assert differences(found, "whole")["ada"][:2] == pytest.approx([0.04, math.sqrt(0.0003)])  # 0.02, 0.05, 0.05
    oracle = stats.ttest_rel([0.70, 0.75, 0.71], [0.61, 0.65, 0.60]).confidence_interval(0.95)
    assert (low, high) == pytest.approx((oracle.low, oracle.high))


def test_one_shared_seed_makes_no_pair_and_the_interval_is_welchs() -> None:
    cutmix = differences(paired_differences(BY_MODEL, "noise"))["cutmix"]
    test = stats.ttest_ind([0.40, 0.44], [0.61, 0.65, 0.60], equal_var=False)
    interval = test.confidence_interval(0.95)
    sd = math.sqrt(np.var([0.40, 0.44], ddof=1) + np.var([0.61, 0.65, 0.60], ddof=1))
    assert cutmix == pytest.approx([-0.2, sd, interval.low, interval.high, 2, 3, False])


def test_seeds_that_only_some_share_make_no_pairs() -> None:
    """Seeds 1 and 2 are there on both sides, but either side has one that the other lacks."""
    some = table_of(
        {
            "ada": {1: (0.8, 0.70), 2: (0.8, 0.75), 3: (0.8, 0.71)},
            "noise": {0: (0.8, 0.5), 1: (0.8, 0.6), 2: (0.8, 0.66)},
        }
    )
    found = differences(paired_differences(some, "noise"))["ada"]
    interval = stats.ttest_ind([0.70, 0.75, 0.71], [0.5, 0.6, 0.66], equal_var=False).confidence_interval(0.95)
    assert found[2:] == pytest.approx([interval.low, interval.high, 3, 3, False])
    fewer = some[some["seed"].isin([1, 2]) | (some["aug"] == "ada")]  # all of the smaller side's: two pairs
    assert differences(paired_differences(fewer, "noise"))["ada"][4:] == [2, 2, True]


def test_against_the_one_reference_its_spread_is_taken_to_be_the_augs() -> None:
    found = paired_differences(BY_MODEL)
    pooled = stats.ttest_ind([0.70, 0.75, 0.71], [0.60], equal_var=True).confidence_interval(0.95)
    sd = math.sqrt(2 * np.var([0.70, 0.75, 0.71], ddof=1))
    assert differences(found)["ada"] == pytest.approx([0.12, sd, pooled.low, pooled.high, 3, 1, False])
    assert differences(found, "whole")["ada"][0] == pytest.approx(0.04)
    turned = differences(paired_differences(BY_MODEL, "ada"))["reference"]
    assert turned == pytest.approx([-0.12, sd, -pooled.high, -pooled.low, 1, 3, False])


def test_single_models_give_a_difference_alone_and_none_gives_none() -> None:
    single = table_of(
        {"reference": {0: (0.8, 0.6)}, "ada": {0: (0.8, 0.7)}, "lost": {0: (0.8, NAN), 1: (0.8, NAN)}}
    )
    found = differences(paired_differences(single))
    assert found["ada"] == pytest.approx([0.1, NAN, NAN, NAN, 1, 1, False], nan_ok=True)
    assert found["lost"] == pytest.approx([NAN, NAN, NAN, NAN, 0, 1, False], nan_ok=True)
    none = differences(paired_differences(BY_MODEL.assign(erased=BY_MODEL["erased"].where(BY_MODEL["seed"] > 0))))
    assert none["ada"] == pytest.approx([NAN, NAN, NAN, NAN, 2, 0, False], nan_ok=True)
    whole = differences(paired_differences(single), "whole")["lost"]  # two equal models: nothing to take a t of
    assert whole == pytest.approx([0.0, 0.0, NAN, NAN, 2, 1, False], nan_ok=True)


def test_consistency_has_no_difference_of_whole_images() -> None:
    accuracy, consistency = (table_of({"reference": {0: (0.8, 0.6)}, "ada": {0: (0.8, 0.7)}}, s)
                             for s in ("accuracy", "consistency"))  # fmt: skip
    found = paired_differences(pd.concat([accuracy, consistency.assign(whole=NAN, drop=NAN)]))
    assert found[["score", "of"]].to_numpy().tolist() == [
        ["accuracy", "erased"], ["accuracy", "whole"], ["consistency", "erased"],
    ]  # fmt: skip


def test_parts_are_compared_with_their_own() -> None:
    more = BY_MODEL["aug"].map({"ada": 0.1, "noise": 0.07}).fillna(0)
    other = BY_MODEL.assign(part="validation", erased=BY_MODEL["erased"] + more)
    found = paired_differences(pd.concat([BY_MODEL, other], ignore_index=True), "noise")
    rows_of = found[(found["aug"] == "ada") & (found["of"] == "erased")].set_index("part")["mean"]
    assert rows_of.to_dict() == pytest.approx({"test": 0.1, "validation": 0.13})


def test_where_erasing_hurts_by_hand() -> None:
    found = where_erasing_hurts(
        HAND.sample(frac=1, random_state=3).sort_values("aug", ascending=False), "hausdorff"
    )
    assert list(found.columns) == ["aug", "part", "row", "column", "drop", "n", "undefined"]
    assert found[["aug", "row", "column"]].to_numpy().tolist() == [
        [aug, 0, column] for aug in ("reference", "ada") for column in range(3)
    ]
    expected = [(1.0 + 0.5) / 2, 0.0, (2.0 - 0.5) / 2, NAN, NAN, NAN]
    assert found["drop"].tolist() == pytest.approx(expected, nan_ok=True)
    assert found["n"].tolist() == [2, 1, 2, 0, 0, 0]
    assert found["undefined"].tolist() == [0, 1, 0, 1, 1, 1]
    dice = where_erasing_hurts(HAND, "dice")  # an image whose whole has no score gives no difference
    assert dice["drop"].tolist() == pytest.approx([-0.1, -0.3, NAN, NAN, NAN, NAN], nan_ok=True)
    assert dice["undefined"].tolist() == [1, 1, 2, 1, 1, 1]


def drawn(seed: int) -> pd.DataFrame:
    """Models of two parts and a grid of 2 × 3 cells; values not finite, and one image always undefined."""
    rng = np.random.default_rng(seed)
    made = [
        (aug, model, part, image, row, column)
        for aug, count in (("reference", 1), ("ada", 3), ("noise", 2))
        for model in range(count)
        for part in ("validation", "test")
        for image in range(int(rng.integers(3, 6)))
        for row, column in [(-1, -1), *((r, c) for r in range(2) for c in range(3))]
    ]
    frame = pd.DataFrame(made, columns=KEYS)
    for name in SEGMENTATION:
        values, chance = rng.random(len(frame)), rng.random(len(frame))
        values[chance < 0.2] = NAN
        values[chance > 0.95] = INF
        frame[name] = values
        frame.loc[(frame["image"] == 1) & (frame["row"] >= 0), name] = NAN
    frame["correct"], frame["consistent"] = rng.random(len(frame)) < 0.7, rng.random(len(frame)) < 0.8
    frame.loc[frame["row"] == -1, "consistent"] = True
    return frame


def mean_of(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else NAN


@pytest.mark.parametrize("seed", range(3))
def test_all_equal_loops_over_plain_numbers(seed: int) -> None:
    frame = drawn(seed)
    found = models(robustness_by_model(frame))
    values: dict[Any, dict[Any, float]] = defaultdict(dict)
    for row in frame.to_dict("records"):
        for name, score in ROBUSTNESS.items():
            key = (row["aug"], row["seed"], row["part"], name)
            values[key][row["image"], row["row"], row["column"]] = float(row[score.column])
    assert list(found) == list(values)
    assert len(found) == 12 * 7
    changes: dict[Any, list[float]] = defaultdict(list)
    for (aug, model, part, name), group in values.items():
        whole = mean_of([value for (_, row, _), value in group.items() if row < 0])
        copies = [value for (_, row, _), value in group.items() if row >= 0]
        images = sorted({image for image, *_ in group})
        worst = []
        for image in images:
            own = [v for (one, row, _), v in group.items() if one == image and row >= 0 and math.isfinite(v)]
            worst += [max(own) if name == "hausdorff" else min(own)] if own else []
        whole = NAN if name == "consistency" else whole
        undefined = sum(not math.isfinite(value) for value in copies)
        expected = (whole, mean_of(copies), mean_of(worst), mean_of(copies) - whole, len(images), undefined)
        assert found[aug, model, part, name] == pytest.approx(expected, nan_ok=True), (aug, model, part, name)
        for (image, row, column), value in group.items():
            if row >= 0:
                before = group[image, -1, -1]
                known = math.isfinite(value) and math.isfinite(before)
                changes[name, aug, part, row, column].append(value - before if known else NAN)
    cells = [(row, column) for row in range(2) for column in range(3)]
    places = [
        (aug, part, *cell) for aug, part in frame.groupby(["aug", "part"], sort=False).groups for cell in cells
    ]
    for name in ROBUSTNESS:
        where = where_erasing_hurts(frame, name)
        assert list(where[["aug", "part", "row", "column"]].itertuples(index=False, name=None)) == places
        for row in where.to_dict("records"):
            one = changes.pop((name, row["aug"], row["part"], row["row"], row["column"]))
            assert row["drop"] == pytest.approx(mean_of(one), nan_ok=True)
            assert row["n"] == sum(map(math.isfinite, one))
            assert row["n"] + row["undefined"] == len(one)
    assert not changes


def test_the_order_of_rows_changes_no_number() -> None:
    frame = drawn(4)
    turned = frame.sample(frac=1, random_state=0)
    keys = ["aug", "seed", "part", "score"]
    one, two = (robustness_by_model(f).sort_values(keys, ignore_index=True) for f in (frame, turned))
    pd.testing.assert_frame_equal(one, two, rtol=1e-12)
    keys = ["aug", "part", "row", "column"]
    one, two = (where_erasing_hurts(f, "dice").sort_values(keys, ignore_index=True) for f in (frame, turned))
    pd.testing.assert_frame_equal(one, two, rtol=1e-12)


def test_a_cells_mean_over_the_grid_is_the_models_drop() -> None:
    """Where nothing is undefined and one model stands for an aug."""
    frame = drawn(5)
    frame = frame[(frame["aug"] == "reference") & (frame["part"] == "test")]
    drop = robustness_by_model(frame).set_index("score")["drop"]["accuracy"]
    assert where_erasing_hurts(frame, "accuracy")["drop"].mean() == pytest.approx(drop)


def test_what_the_grid_gives_is_what_the_tables_take() -> None:
    """A model that answers with the brightness of the top left pixel is wrong where that one is erased."""
    images = np.full((4, 3, 6, 6), 9, dtype=np.uint8)

    def evaluate(pixels: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        predicted = (pixels[:, 0, 0, 0] > 0).astype(np.int16)
        return {"predicted": predicted, "correct": predicted == 1}

    columns = over_grid(evaluate, images, 2, batch_size=3)
    frame = pd.DataFrame({"aug": "ada", "seed": 0, "part": "test"} | columns)
    found = models(robustness_by_model(frame))
    assert found["ada", 0, "test", "accuracy"] == pytest.approx((1.0, 8 / 9, 0.0, -1 / 9, 4, 0))
    assert found["ada", 0, "test", "consistency"][1:3] == pytest.approx((8 / 9, 0.0))
    assert where_erasing_hurts(frame, "accuracy")["drop"].tolist() == [-1.0, *[0.0] * 8]


def test_without_rows_or_scores_there_are_none() -> None:
    for frame in (HAND[KEYS], HAND.iloc[:0]):
        by_model = robustness_by_model(frame)
        assert len(by_model) == 0
        assert list(by_model.columns) == list(robustness_by_model(HAND).columns)
        assert list(robustness_table(by_model).columns) == list(robustness_table(BY_MODEL).columns)
    assert where_erasing_hurts(HAND.iloc[:0], "dice").empty


def refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        call()
    assert str(error.value) == message


def test_refuses() -> None:
    twice = pd.concat([HAND, HAND.iloc[4:5]])
    message = (
        "frame: expected one whole row per image, got two of image 1 of reference-0 (test); pass every model once"
    )
    refused(lambda: robustness_by_model(twice), message)
    refused(lambda: where_erasing_hurts(twice, "dice"), message)
    refused(
        lambda: where_erasing_hurts(HAND, "accuracy"),
        "score: expected one of the frame's (dice, hausdorff), got 'accuracy'; name one that it has",
    )
    refused(
        lambda: paired_differences(BY_MODEL, "elastic"),
        "against: expected an aug of the table (reference, ada, noise, cutmix), got 'elastic';"
        " name one that it has",
    )
