"""The figures of the analysis: marks where the numbers are, alt texts, nothing drawn where nothing is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import linkage
from tests.figures.drawn import saved

from auglens import figures
from auglens.figures import alt_text

NAN = float("nan")
CONTROLS = ("identity", "noise", "reseed")
AUGS = ("affine", "cutmix", "color_jitter", "affine+color_jitter", *CONTROLS)
METRICS = ("mad", "pearson")
SIGN = {"mad": 1, "pearson": -1}
INTERVALS = (
    "low",
    "high",
    "explained_low",
    "explained_high",
    "strong_low",
    "strong_high",
    "weak_low",
    "weak_high",
)


def make_tables() -> dict[str, pd.DataFrame]:
    """Values that a test can name: aug n has mean 0.2 + 0.1 n (mad; controls 0.1) or 0.8 − 0.1 n (pearson)."""
    rank = {aug: -1.0 if aug in CONTROLS else float(n) for n, aug in enumerate(AUGS)}
    mean = {(a, m): (0.2 if m == "mad" else 0.8) + SIGN[m] * 0.1 * rank[a] for a in AUGS for m in METRICS}
    cells = [(aug, metric) for metric in METRICS for aug in AUGS]
    means = pd.DataFrame([
        {"aug": a, "metric": m, "statistic": s, "estimate": mean[a, m] - (9 if s == "median" else 0),
         "low": mean[a, m] - 0.02, "high": mean[a, m] + 0.02}
        for s in ("mean", "median") for a, m in cells
    ])  # fmt: skip
    floor = pd.DataFrame([
        {"aug": a, "metric": m, "control": c, "mean": mean[a, m], "control_mean": mean[c, m],
         "difference": SIGN[m] * (mean[a, m] - mean[c, m]), "p": 0.01, "p_holm": 0.02,
         "verdict": "within" if a == "affine" else "above"}
        for c in CONTROLS for a, m in cells if a != c
    ])  # fmt: skip
    pairs = list(combinations_with_replacement(range(len(AUGS)), 2))
    similar = pd.DataFrame([
        {"metric": m, "aug_a": AUGS[a], "aug_b": AUGS[b],
         "correlation": 0.9 if a == b else round(0.7 - 0.02 * n, 4), "low": 0.1, "high": 0.95}
        for m in ("all", *METRICS) for n, (a, b) in enumerate(pairs)
    ])  # fmt: skip
    similar.loc[(similar["aug_a"] == "identity") & (similar["aug_b"] == "identity"), "correlation"] = NAN
    counts = pd.DataFrame({
        "aug_a": ["affine", "affine", "cutmix"], "aug_b": ["cutmix", "color_jitter", "color_jitter"],
        "strong": [2, 1, 0], "weak": [0, 1, 2], "strong_share": [0.9, 0.4, 0.1], "weak_share": [0.0, 0.5, 0.8],
        "strong_low": [1, 0, 0], "strong_high": [2, 2, 1], "weak_low": [0, 0, 1], "weak_high": [0, 2, 2],
        "p_strong_holm": [0.004, 1.0, 1.0], "p_weak_holm": [1.0, 1.0, 0.3],
    })  # fmt: skip
    clusters = pd.DataFrame({
        "source": ["all", "all", "mad"],
        "members": ["affine, cutmix", "color_jitter, affine+color_jitter", "affine, cutmix"],
        "support": [0.97, 0.61, NAN], "claimed": [True, False, False],
    })  # fmt: skip
    agreement = pd.DataFrame({
        "metric_a": ["mad", "mad", "pearson"], "metric_b": ["pearson", "msd", "msd"], "mantel_r": [0.9, 0.2, 0.4],
        "mantel_p": [0.01, 0.6, NAN], "cophenetic_r": [0.8, 0.1, 0.3],
    })  # fmt: skip
    targets = pd.DataFrame([
        {"aug": a, "metric": m, "predicted": mean[a, m], "true": mean[a, m] + 0.03 * n, "difference": -0.03 * n,
         "low": -0.03 * n - 0.05, "high": -0.03 * n + 0.05, "images_changed": 0.1 + 0.01 * n}
        for n, (a, m) in enumerate(cells)
    ])  # fmt: skip
    divergence = pd.DataFrame([
        {"aug": a, "metric": m, "question": q, "auc": 0.5 + 0.04 * rank[a], "low": 0.45 + 0.04 * rank[a],
         "high": 0.55 + 0.04 * rank[a]}
        for q in ("changed", "lost", "gained") for a, m in cells
    ])  # fmt: skip
    points = pd.DataFrame([
        {"aug": a, "metric": m, "moved": SIGN[m] * mean[a, m], "accuracy_change": 0.01 * rank[a]} for a, m in cells
    ])  # fmt: skip
    separability = pd.DataFrame([
        {"aug": a, "features": f, "auc": 0.65 + 0.05 * rank[a], "low": 0.6 + 0.05 * rank[a], "floor": 0.6,
         "high": 0.7 + 0.05 * rank[a],
         "verdict": "floor" if a == "reseed" else "within" if rank[a] < 1 else "above"}
        for f in ("raw", "scaled") for a in AUGS
    ])  # fmt: skip
    chains = pd.DataFrame([
        {"chain": "affine+color_jitter", "part": p, "metric": m, "difference": d, "low": d - 0.1, "high": d + 0.1}
        for m in METRICS for p, d in (("affine", 0.3), ("color_jitter", -0.05))
    ])  # fmt: skip
    bias = pd.DataFrame([
        {"aug": a, "metric": m, "mean": mean[a, m], "mean_map": 0.25, "centre": 0.31, "explained": 0.02 * n,
         "explained_low": 0.02 * n - 0.01, "explained_high": 0.02 * n + 0.01}
        for n, (a, m) in enumerate(cells)
    ])  # fmt: skip
    direct = similar[similar["metric"] != "all"].rename(columns={"correlation": "mean"})
    return {
        "means": means, "floor": floor, "correlation": similar, "models": similar, "pairs": counts,
        "clusters": clusters, "agreement": agreement, "direct": direct, "targets": targets,
        "divergence": divergence, "points": points, "separability": separability, "chains": chains, "bias": bias,
    }  # fmt: skip


TABLES = make_tables()
TREE = {
    "labels": list(AUGS[:4]),
    "linkage": linkage([[0.0], [0.1], [0.5], [0.7]], "average").tolist(),
    "cophenetic": 0.876,
}
TREES = {"all": TREE, "mad": TREE, "profiles": TREE}
PEAK = np.zeros((4, 8))
PEAK[3, 0] = 0.75
MAPS = {"reference": PEAK, "affine": np.full((4, 8), 0.5), "noise": np.full((4, 8), 0.25)}
Tables = dict[str, pd.DataFrame]

# name → how to draw it from the tables, words that must be in it, words that its alt text must hold
FIGURES: dict[str, tuple[Callable[[Tables], Figure], list[str], list[str]]] = {
    "floor_forest": (
        lambda t: figures.floor_forest(t["floor"], t["means"]),
        ["MAD", "further moved →", "← further moved", "above every control", "not told from the controls"],
        ["MAD: controls 0.08 to 0.12, augs affine 0.2 to affine + color jitter 0.5, 3 of 4 above the floor"],
    ),
    "dendrograms": (
        lambda t: figures.dendrograms(TREES, t["clusters"]),
        ["All metrics together (cophenetic correlation 0.876)", "MAD (c 0.876)", ">97<", ">61<", "color jitter"],
        ["best supported affine, cutmix with 97 %, claimed (affine, cutmix)"],
    ),
    "model_similarity": (
        lambda t: figures.model_similarity(t["models"]),
        ["All metrics together: correlation of single models", "same aug, two seeds", ">0.90<", ">n/a<"],
        ["same aug, two seeds: mean 0.90 (0.90 to 0.90)", "affine – cutmix 0.68"],
    ),
    "correlation_intervals": (
        lambda t: figures.correlation_intervals(t["correlation"], METRICS),
        ["MAD", "Pearson", "affine – cutmix", "with a control"],
        ["21 pairs", "to affine – cutmix 0.68"],
    ),
    "pair_support": (
        lambda t: figures.pair_support(t["pairs"], metrics=2),
        ["Strong: among the most correlated", "90 %", ">0.004<", "number of metrics, of 2"],
        ["affine – cutmix 2, affine – color jitter 1; 1 claimed", "0 claimed"],
    ),
    "agreement_heat": (
        lambda t: figures.agreement_heat(t["agreement"]),
        ["0.90*", ">0.20<", ">0.80<"],
        ["MAD – MSD 0.20 to MAD – Pearson 0.90, p ≤ 0.05 in 1 of 3 pairs", "from 0.10 to 0.80"],
    ),
    "direct_heat": (
        lambda t: figures.direct_heat(t["direct"], "mad"),
        ["MAD, mean over pairs of models", ">0.90<", "reseed"],
        ["to affine – cutmix 0.68", "two seeds of one aug: affine 0.9"],
    ),
    "targets_dumbbell": (
        lambda t: figures.targets_dumbbell(t["targets"]),
        ["predicted target", "true target", "The targets"],
        ["MAD: reseed 0.1 and 0.28", "The targets differ in 10 to 23 % of the images."],
    ),
    "divergence_forest": (
        lambda t: figures.divergence_forest(t["divergence"]),
        ["right before: lost", "wrong before: gained", "AUC: moved further →"],
        ["Pearson, lost: ", "affine + color jitter 0.62"],
    ),
    "divergence_scatter": (
        lambda t: figures.divergence_scatter(t["points"]),
        ["Pearson, sign turned", "percentage points", "cutmix", "reseed"],
        ["least moved identity 0.1 at -1.0 points, most affine + color jitter 0.5 at +3.0 points"],
    ),
    "separability_forest": (
        lambda t: figures.separability_forest(t["separability"]),
        ["Raw maps", "Scaled maps", "above reseed", "reseed: the floor"],
        ["raw maps: affine 0.65 to affine + color jitter 0.80, floor 0.60, 3 above it"],
    ),
    "chains_forest": (
        lambda t: figures.chains_forest(t["chains"]),
        ["affine + color jitter", "− affine", "interval leaves out 0"],
        ["affine + color jitter – color jitter -0.05 to affine + color jitter – affine +0.3, 1 of 2 leave out 0"],
    ),
    "bias_bars": (
        lambda t: figures.bias_bars(t["bias"]),
        ["mean map 0.25, centre 0.31", "identity"],
        ["MAD: affine 0.00 to reseed 0.12 (mean map 0.25, centre 0.31)"],
    ),
}  # fmt: skip


def points(axes: Axes) -> dict[tuple[float, float], tuple[str, bool]]:
    """(x, y) → (marker, filled) of everything drawn as a point."""
    found = {}
    for line in axes.lines:
        if line.get_linestyle() == "None":
            hollow = line.get_markerfacecolor() == "white"
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                found[round(float(x), 6), round(float(y), 6)] = (str(line.get_marker()), not hollow)
    return found


def spans(axes: Axes, style: str = "-") -> set[tuple[float, float, float]]:
    """(low, high, y) of every interval: they are lines of threes, the third a gap."""
    found = set()
    for line in axes.lines:
        x, y = (np.asarray(line.get_data()[n], dtype=np.float64) for n in (0, 1))
        if line.get_linestyle() == style and len(x) % 3 == 0 and np.isnan(x[2::3]).all():
            low, high, rows = x[0::3], x[1::3], y[0::3]
            kept = np.isfinite(low)
            found |= set(zip(low[kept].round(6), high[kept].round(6), rows[kept].round(6), strict=True))
    return found


@pytest.mark.parametrize("name", [*FIGURES, "mean_maps"])
def test_draws_the_same_bytes_twice_with_its_words_and_alt_text(name):
    if name == "mean_maps":
        draw, words, alts = (lambda _: figures.mean_maps(MAPS, "Mean maps")), ["mean map", "reference"], ["3 maps"]
    else:
        draw, words, alts = FIGURES[name]
    figure = draw(TABLES)
    svg = saved(figure)
    assert svg == saved(draw(TABLES))
    text = svg.decode()
    for word in words:
        assert word in text, word
    for alt in alts:
        assert alt in alt_text(figure)
    assert ">nan" not in text.lower()
    assert "nan" not in alt_text(figure)
    assert len(svg) < 100_000
    assert figure.get_size_inches()[0] <= 7.0  # 672 px: what the report shows on a narrow screen


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_and_an_undefined_table_are_said_in_words(name):
    draw = FIGURES[name][0]
    empty = {key: table.iloc[:0] for key, table in TABLES.items()}
    undefined = {key: table.copy() for key, table in TABLES.items()}
    for table in undefined.values():
        numbers = table.select_dtypes("number").columns
        table[numbers] = NAN
    for tables in (empty, undefined):
        if name == "dendrograms":
            broken = {"all": {"labels": ["a", "b"], "linkage": [[0, 1, NAN, 2]], "cophenetic": NAN}}
            drawn = [figures.dendrograms(trees, tables["clusters"]) for trees in ({}, broken)]
        else:
            drawn = [draw(tables)]
        for figure in drawn:
            assert ": not defined (" in alt_text(figure)
            assert b"not defined: " in saved(figure)


def test_a_table_that_knows_why_it_is_empty_is_quoted():
    chains = TABLES["chains"].iloc[:0].copy()
    chains.attrs["why"] = "the study has no chain of augs; add one"
    assert alt_text(figures.chains_forest(chains)).endswith(
        "not defined (the study has no chain of augs; add one)."
    )
    assert alt_text(figures.mean_maps({}, "Mean maps")) == "Mean maps: not defined (there is no map)."


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("dendrograms", "agreement_heat")])
def test_one_seed_draws_points_without_bars_and_claims_nothing(name):
    single = {}
    for key, table in TABLES.items():
        single[key] = table.assign(**{column: NAN for column in INTERVALS if column in table})
        for column in ("p_strong_holm", "p_weak_holm"):
            if column in table:
                single[key][column] = NAN
        if "verdict" in table:
            single[key]["verdict"] = np.where(table["verdict"] == "floor", "floor", "cannot be known")
    figure = FIGURES[name][0](single)
    assert "nan" not in alt_text(figure)
    for axes in figure.axes:
        assert not spans(axes)
        drawn = points(axes)
        if name not in ("targets_dumbbell", "divergence_scatter", "model_similarity", "correlation_intervals"):
            assert not [mark for mark, filled in drawn.values() if filled and mark != "|"]
    if name == "floor_forest":
        assert len(points(figure.axes[0])) == len(AUGS)
        assert b"cannot be known" in saved(figure)


def test_floor_marks_stand_at_the_means_and_the_band_spans_the_controls():
    mad, pearson = figures.floor_forest(TABLES["floor"], TABLES["means"]).axes[:2]
    assert points(mad) == {
        (0.2, 0): ("o", False), (0.3, 1): ("o", True), (0.4, 2): ("o", True), (0.5, 3): ("o", True),
        (0.1, 4): ("|", True), (0.1, 5): ("|", True), (0.1, 6): ("|", True),
    }  # fmt: skip
    assert (0.28, 0.32, 1) in spans(mad)
    assert len(spans(mad)) == len(AUGS)
    band = mad.patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.08, 0.12))
    assert [label.get_fontstyle() for label in mad.get_yticklabels()] == ["normal"] * 4 + ["italic"] * 3
    assert (mad.get_xlabel(), pearson.get_xlabel()) == ("further moved →", "← further moved")


def test_below_the_floor_and_without_controls():
    below = TABLES["floor"].assign(verdict="below")
    drawn = points(figures.floor_forest(below, TABLES["means"]).axes[0])
    assert {mark for (_, y), mark in drawn.items() if y < 4} == {("v", True)}
    augs = TABLES["means"][~TABLES["means"]["aug"].isin(CONTROLS)]
    figure = figures.floor_forest(TABLES["floor"].iloc[:0], augs, ["mad"])
    assert "MAD: no controls, augs affine 0.2" in alt_text(figure)
    assert not figure.axes[0].patches
    assert set(points(figure.axes[0]).values()) == {("D", False)}


def test_a_tree_has_its_merges_at_their_heights_and_thick_lines_where_claimed():
    axes = figures.dendrograms({"all": TREE}, TABLES["clusters"]).axes[0]
    plain, claimed = sorted(axes.lines, key=lambda line: line.get_linewidth())
    heights = np.array(TREE["linkage"])[:, 2]
    assert claimed.get_linewidth() > 2 * plain.get_linewidth()
    assert claimed.get_color() != plain.get_color()
    assert np.nanmax(claimed.get_xdata()) == pytest.approx(heights[0])  # affine and cutmix, the first merge
    for height in heights[1:]:
        assert np.isclose(plain.get_xdata(), height).any()
    supports = {text.get_text(): text for text in axes.texts if text.get_text().isdigit()}
    assert {name: text.xy[0] for name, text in supports.items()} == pytest.approx(
        {"97": heights[0], "61": heights[1]}
    )
    assert supports["97"].get_fontweight() == "bold"
    leaves = [text.get_text() for text in axes.texts if not text.get_text().isdigit()]
    assert sorted(leaves) == ["affine", "affine + color jitter", "color jitter", "cutmix"]


def test_with_many_augs_the_trees_of_single_metrics_are_drawn_on_request():
    many = {"labels": [f"aug_{n}" for n in range(20)], "cophenetic": 0.5,
            "linkage": linkage(np.arange(20.0)[:, None] ** 2, "average").tolist()}  # fmt: skip
    trees = {"all": many, "mad": many}
    titles = [axes.get_title(loc="left") for axes in figures.dendrograms(trees, TABLES["clusters"]).axes]
    assert titles == ["All metrics together (cophenetic correlation 0.5)"]
    asked = figures.dendrograms(trees, TABLES["clusters"], ["mad"])
    assert [axes.get_title(loc="left") for axes in asked.axes] == ["MAD (c 0.5)"]


def test_only_the_lower_half_is_coloured_and_the_strip_holds_every_pair():
    heat, strip = figures.model_similarity(TABLES["models"]).axes[:2]
    image = heat.images[0].get_array()
    assert image[1, 0] == 0.68
    assert image[0, 0] == 0.9
    assert image.mask[np.triu_indices(len(AUGS), 1)].all()
    assert image.mask[4, 4]  # identity has one model
    rows = [round(y) for _, y in points(strip)]
    assert (rows.count(0), rows.count(1)) == (len(AUGS) - 1, 21)
    same = [mark for (_, y), mark in points(strip).items() if round(y) == 0]
    assert same.count(("D", True)) == 4
    assert same.count(("s", False)) == 2


def test_pairs_are_sorted_and_the_middle_is_left_out_when_there_are_many():
    axes = figures.correlation_intervals(TABLES["correlation"], ["mad"], most=6).axes[0]
    drawn = sorted(points(axes), key=lambda point: point[1])
    assert [y for _, y in drawn] == [0, 1, 2, 4, 5, 6]
    assert [x for x, _ in drawn] == sorted((x for x, _ in drawn), reverse=True)
    assert [text.get_text() for text in axes.texts] == ["15 pairs between"]
    assert axes.get_yticklabels()[0].get_text() == "affine – cutmix"


def test_claimed_pairs_have_solid_bars_the_others_hollow_ones():
    strong, weak = figures.pair_support(TABLES["pairs"], metrics=2).axes
    assert [bar.get_width() for bar in strong.patches] == [2, 1]
    white = (1, 1, 1, 1)
    assert [bar.get_facecolor() == white for bar in strong.patches] == [False, True]
    assert [bar.get_facecolor() == white for bar in weak.patches] == [True, True]
    assert spans(strong) == {(1, 2, 0), (0, 2, 1)}


def test_agreement_has_mantel_below_and_trees_above_the_diagonal():
    axes = figures.agreement_heat(TABLES["agreement"]).axes[0]
    values = axes.images[0].get_array()
    assert values[1, 0] == 0.9
    assert values[0, 1] == 0.8
    assert values[2, 1] == 0.4
    stars = [text.get_position() for text in axes.texts if text.get_text().endswith("*")]
    assert stars == [(0, 1)]  # column, row; an unknown p has no star


def test_dumbbells_join_predicted_and_true_solid_where_the_difference_is_known():
    axes = figures.targets_dumbbell(TABLES["targets"], ["mad"]).axes[0]
    assert points(axes)[0.3, 1] == ("o", True)
    assert points(axes)[0.33, 1] == ("D", False)
    assert (0.3, 0.33, 1) in spans(axes, ":")
    assert (0.4, 0.46, 2) in spans(axes)  # the interval, −0.11 to −0.01, leaves out 0


def test_aucs_are_filled_where_the_interval_leaves_out_chance():
    axes = figures.divergence_forest(TABLES["divergence"], ["mad"]).axes[0]
    drawn = points(axes)
    assert drawn[0.5, -0.26] == ("o", False)
    assert drawn[0.62, 3.0] == ("v", True)
    assert (0.57, 0.67, 3.0) in spans(axes)


def test_the_scatter_has_percentage_points_and_names_apart():
    figure = figures.divergence_scatter(TABLES["points"], ["mad"])
    axes = figure.axes[0]
    assert (0.3, 1.0) in points(axes)
    assert (0.1, -1.0) in points(axes)
    close = TABLES["points"].assign(moved=lambda t: 0.2 + 0.002 * np.arange(len(t)) + (t["aug"] == "reseed"))
    figure = figures.divergence_scatter(close.assign(accuracy_change=0.01), ["mad"])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == len(AUGS)
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])


def test_separability_shades_reseeds_interval_and_greys_the_controls():
    axes = figures.separability_forest(TABLES["separability"]).axes[0]
    band = axes.patches[0]
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.55, 0.65))
    drawn = points(axes)
    assert drawn[0.65, 0] == ("o", False)
    assert drawn[0.8, 3] == ("o", True)
    assert drawn[0.6, 6] == ("|", True)
    assert axes.get_xlabel() == "AUC (0.5: chance)"


def test_chains_stand_at_their_differences():
    axes = figures.chains_forest(TABLES["chains"]).axes[0]
    assert points(axes) == {(0.3, 1): ("o", True), (-0.05, 2): ("o", False)}
    assert spans(axes) == {(0.2, 0.4, 1), (-0.15, 0.05, 2)}


def test_bias_bars_have_the_explained_shares():
    axes = figures.bias_bars(TABLES["bias"], ["mad"]).axes[0]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(0.02 * np.arange(len(AUGS)))
    assert middles == pytest.approx(np.arange(len(AUGS)))
    assert (0.11, 0.13, 6) in spans(axes)


def test_mean_maps_share_one_scale_and_say_where_they_are_highest():
    figure = figures.mean_maps({**MAPS, "lost": np.full((4, 8), NAN)}, "Mean maps")
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="center") for axes in drawn[:3]] == ["reference", "affine", "noise"]
    assert {axes.images[0].get_clim() for axes in drawn[:3]} == {(0.0, 0.75)}
    assert "reference mean 0.02, highest 0.75 at 6 % across, 88 % down" in alt_text(figure)
    assert "3 maps" in alt_text(figure)


def test_drawing_leaves_the_style_of_the_process_alone():
    before = dict(rcParams)
    figures.chains_forest(TABLES["chains"])
    assert dict(rcParams) == before
