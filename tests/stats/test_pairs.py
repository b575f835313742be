from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auglens.stats import pair_counts

AUGS = ("affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop")
METRICS = ("mad", "msd", "pearson", "spearman", "overlap_20", "overlap_10", "overlap_5", "class_kld")


def matrix(values: dict[tuple[str, str], float], augs: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(np.eye(len(augs)), index=list(augs), columns=list(augs))
    for (a, b), value in values.items():
        frame.loc[a, b] = frame.loc[b, a] = value
    return frame


def drawn(rng: np.random.Generator, augs=AUGS) -> pd.DataFrame:
    return matrix({pair: rng.random() for pair in combinations(augs, 2)}, augs)


def test_by_hand():
    values = {
        ("a", "b"): 0.9,
        ("a", "c"): 0.1,
        ("b", "c"): 0.5,
        ("a", "d"): 0.8,
        ("b", "d"): -0.2,
        ("c", "d"): 0.6,
    }
    other = values | {("a", "c"): 0.95, ("b", "d"): 0.7, ("c", "d"): 0.0}
    controls = {("noise", x): 0.99 for x in "abcd"} | {("reseed", x): -0.99 for x in "abcd"}
    maps = {
        "mad": matrix(values | controls, ("noise", "b", "a", "c", "d", "reseed")),
        "msd": matrix(other | controls, ("noise", "b", "a", "c", "d", "reseed")),
    }
    strong, weak = pair_counts(maps, k=2)
    assert strong.head(3).to_numpy().tolist() == [
        ["a", "b", 2, "mad, msd"],
        ["a", "c", 1, "msd"],
        ["a", "d", 1, "mad"],
    ]
    assert weak.head(4).to_numpy().tolist() == [
        ["a", "c", 1, "mad"],
        ["b", "c", 1, "msd"],
        ["b", "d", 1, "mad"],
        ["c", "d", 1, "msd"],
    ]
    assert len(strong) == len(weak) == 6
    assert strong["count"].sum() == weak["count"].sum() == 4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), decimals=st.sampled_from([1, 12]))
def test_counts_add_up_and_no_pair_is_strong_and_weak_in_one_metric(seed, decimals):
    rng = np.random.default_rng(seed)
    augs = ("identity", *AUGS, "noise", "reseed")
    maps = {metric: drawn(rng, augs).round(decimals) for metric in METRICS}  # one decimal: ties everywhere
    strong, weak = pair_counts(maps)
    for frame in (strong, weak):
        assert frame["count"].sum() == 4 * 8
        assert len(frame) == 21
        assert not set(frame["aug_a"]) & {"identity", "noise", "reseed"}
        assert [len(m.split(", ")) if m else 0 for m in frame["metrics"]] == frame["count"].tolist()
        assert not frame.attrs
    both = strong.merge(weak, on=["aug_a", "aug_b"])
    for mine, theirs in zip(both["metrics_x"], both["metrics_y"], strict=True):
        assert not (set(mine.split(", ")) & set(theirs.split(", "))) - {""}
    for metric, frame in maps.items():
        chosen = strong[strong["metrics"].str.split(", ").map(lambda names, m=metric: m in names)]
        least = min(frame.loc[a, b] for a, b in zip(chosen["aug_a"], chosen["aug_b"], strict=True))
        assert sum(frame.loc[a, b] > least for a, b in combinations(AUGS, 2)) < 4


def test_the_order_of_augs_does_not_matter_even_for_ties():
    rng = np.random.default_rng(5)
    maps = {metric: drawn(rng).round(1) for metric in METRICS}
    turned = {metric: frame.loc[list(AUGS)[::-1], list(AUGS)[::-1]] for metric, frame in maps.items()}
    for mine, theirs in zip(pair_counts(maps), pair_counts(turned), strict=True):
        pd.testing.assert_frame_equal(mine, theirs)
    equal = {"mad": matrix(dict.fromkeys(combinations("abcde", 2), 0.5), tuple("edcba"))}
    strong, weak = pair_counts(equal, k=2)
    first = [("a", "b"), ("a", "c")]  # alphabetical
    for frame in (strong, weak):
        assert list(zip(frame["aug_a"], frame["aug_b"], strict=True))[:2] == first
        assert frame["count"].tolist()[:3] == [1, 1, 0]


def test_undefined_pairs_take_no_place():
    rng = np.random.default_rng(6)
    maps = {"mad": drawn(rng), "class_kld": drawn(rng)}
    maps["mad"].loc["affine", "cutmix"] = maps["mad"].loc["cutmix", "affine"] = np.nan
    strong, weak = pair_counts(maps)
    for frame in (strong, weak):
        row = frame[(frame["aug_a"] == "affine") & (frame["aug_b"] == "cutmix")].iloc[0]
        assert "mad" not in row["metrics"]
        assert frame["count"].sum() == 8
    maps["mad"].loc["affine"] = maps["mad"]["affine"] = np.nan  # 15 pairs left
    assert pair_counts(maps)[0]["count"].sum() == 8
    for aug in AUGS[1:4]:
        maps["mad"].loc[aug] = maps["mad"][aug] = np.nan  # 3 pairs left: neither strong nor weak
    strong, weak = pair_counts(maps)
    assert strong["count"].sum() == weak["count"].sum() == 4
    assert strong.attrs == weak.attrs == {"metrics_left_out": {"mad": 3}}


def test_too_few_pairs_are_not_defined():
    four = ("affine", "cutmix", "elastic", "equalize")  # six pairs
    maps = {metric: drawn(np.random.default_rng(7), ("identity", *four, "reseed")) for metric in METRICS}
    for frame in pair_counts(maps):
        assert frame.empty
        assert list(frame.columns) == ["aug_a", "aug_b", "count", "metrics"]
        assert frame.attrs["not_defined"] == (
            "6 pairs of augs, at most 6 with a correlation; the 4 strongest and the 4 weakest need at least 8"
        )
    assert pair_counts({})[0].attrs["not_defined"].startswith("0 pairs of augs")
    assert not pair_counts(maps, k=3)[0].empty


@pytest.mark.parametrize(
    ("maps", "k", "message"),
    [
        ({}, 0, "k: expected 1 or more, got 0"),
        ({"mad": matrix({}, ("b", "a")), "msd": matrix({}, ("a", "c"))}, 1,
         "maps: msd has the augs ['a', 'c'], expected ['a', 'b'] as in the first; use one table"),
    ],
)  # fmt: skip
def test_refuses(maps, k, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        pair_counts(maps, k)
    assert str(error.value) == message
