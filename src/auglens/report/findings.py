"""The findings of a study in sentences: what can be claimed, what cannot, what to mind. Tables → text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from auglens.config import CONTROLS, REFERENCE
from auglens.report.page import Finding

CLAIM, LIMIT, MIND = "claim", "open", "mind"  # can be said, cannot be said, how to read the rest
LEVEL = 0.05
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """What the sentences need beside the tables. steps: aug → gradient steps of its first model."""

    metrics: Sequence[str]
    further: Sequence[str]
    steps: Mapping[str, int]
    replicates: Mapping[str, int]
    absent: Sequence[str]


def findings(tables: Tables, study: Study) -> list[Finding]:
    """Every sentence that the tables of a study allow, claims first. tables: by the names of their files."""
    writers: Sequence[Callable[[Tables, Study], Iterator[Finding]]] = (
        _floor, _resemblance, _clusters, _pairs, _separability, _divergence, _targets, _chains, _accuracy, _bias,
        _steps, _seeds, _degenerate, _absent,
    )  # fmt: skip
    found = [finding for writer in writers for finding in writer(tables, study)]
    return sorted(found, key=lambda finding: (CLAIM, LIMIT, MIND).index(finding.id.split("/")[0]))


def sentence(name: str, kind: str, text: str) -> Finding:
    return Finding(f"{kind}/{name}", text)


def number(value: float, digits: int = 3) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def span(row: Any, value: str = "estimate") -> str:
    """`0.208 [0.203, 0.213]`."""
    return f"{number(row[value])} [{number(row['low'])}, {number(row['high'])}]"


def chance(p: float) -> str:
    return "p not defined" if pd.isna(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def _rows(tables: Tables, name: str) -> Any:
    return tables.get(name, pd.DataFrame())


def _floor(tables: Tables, study: Study) -> Iterator[Finding]:
    summary, means = _rows(tables, "floor_summary"), _rows(tables, "means")
    if summary.empty or means.empty:
        return
    augs = summary[~summary["aug"].isin(CONTROLS)]
    above = augs[augs["verdict"] == "above"]
    told = [f"{aug} ({listed(list(group['metric']))})" for aug, group in above.groupby("aug", sort=False)]
    total = f"{len(augs)} combinations of an aug and a metric"
    if set(augs["verdict"]) == {"cannot be known"}:
        text = (
            "Whether any aug moved the maps further than the controls cannot be known: with one model of each aug"
        )
        yield sentence("floor", LIMIT, f"{text} the spread over seeds is unknown.")
        return
    if told:
        text = f"{len(told)} of {augs['aug'].nunique()} augs moved the maps further than every control does: "
        yield sentence("floor", CLAIM, f"{text}{'; '.join(told)}. That is {len(above)} of {total}.")
    else:
        text = f"No aug moved the maps further than all controls do: none of {total} lies above the noise floor."
        yield sentence("floor", LIMIT, text)
    below = augs[augs["verdict"] == "below"]
    if len(below):
        told = [f"{aug} ({listed(list(group['metric']))})" for aug, group in below.groupby("aug", sort=False)]
        yield sentence("below", CLAIM, f"Less far than every control: {'; '.join(told)}.")
    metric = study.metrics[0]
    rows = means[(means["metric"] == metric) & (means["statistic"] == "mean")].set_index("aug")
    others = rows[~rows.index.isin(CONTROLS)]
    if len(others):
        first = str(others["estimate"].idxmax())
        controls = [f"{c} {span(rows.loc[c])}" for c in CONTROLS if c in rows.index]
        text = f"Furthest on average by {metric}: {first} {span(rows.loc[first])}"
        yield sentence("furthest", MIND, f"{text}; the controls: {', '.join(controls) or 'none in this study'}.")


def _resemblance(tables: Tables, study: Study) -> Iterator[Finding]:
    moved, direct = _rows(tables, "resemblance"), _rows(tables, "direct_resemblance")
    for name, rows, what in (
        ("resemblance", moved, "in which images' maps they move (correlation of {metric} over images)"),
        ("direct", direct, "in where they look ({metric} between their maps)"),
    ):
        tested = rows.dropna(subset=["p"]) if len(rows) else rows
        if tested.empty:
            continue
        row = tested[tested["metric"] == "pearson"]
        row = (row if len(row) else tested).iloc[0]
        sign = -1 if row["same_aug"] < 0 else 1  # distances come with their sign turned
        pair = f"{number(sign * row['same_aug'])} against {number(sign * row['other_aug'])}"
        kind = CLAIM if row["p"] <= LEVEL else LIMIT
        said = "resemble" if kind == CLAIM else "do not measurably resemble"
        text = f"Two models of one aug {said} each other more than models of different augs "
        yield sentence(name, kind, f"{text}{what.format(metric=row['metric'])}: {pair}, {chance(row['p'])}.")


def _clusters(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "clusters")
    rows = rows[rows["source"] == "all"] if len(rows) else rows
    if rows.empty:
        return
    claimed = rows[rows["claimed"]]
    for n, row in enumerate(claimed.to_dict("records")):
        names = row["members"].replace(", ", " + ")
        text = f"{names} form a cluster: its stem of {number(row['strength'])} is longer"
        rest = f"than chance allows ({chance(row['p'])}); support under resampling {100 * row['support']:.0f} %."
        yield sentence(f"cluster-{n}", CLAIM, f"{text} {rest}")
    if claimed.empty:
        best = rows.sort_values("p").iloc[0] if rows["p"].notna().any() else rows.iloc[0]
        text = f"No cluster of augs is established. The clearest, {best['members'].replace(', ', ' + ')}, has "
        yield sentence("clusters", LIMIT, f"{text}support {100 * best['support']:.0f} % and {chance(best['p'])}.")


def _pairs(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "pairs")
    if rows.empty or rows["p_similar"].isna().all():
        return
    alike = rows[rows["p_similar_holm"] <= LEVEL]
    metrics = len(study.metrics)
    if len(alike):
        told = [
            f"{row['aug_a']}–{row['aug_b']} (correlation {number(row['similarity'])},"
            f" {chance(row['p_similar_holm'])} after Holm, strong in {row['strong']} of {metrics} metrics)"
            for row in alike.to_dict("records")
        ]
        yield sentence("pairs", CLAIM, f"More alike than chance allows: {'; '.join(told)}.")
    counted = int(((rows["p_strong_holm"] <= LEVEL) | (rows["p_weak_holm"] <= LEVEL)).sum())
    text = f"By its count among the strong or weak pairs alone, {counted or 'none'} of {len(rows)} is beyond"
    why = "chance: the metrics go together, so that a pair is often strong in many of them at once."
    yield sentence("counts", CLAIM if counted else LIMIT, f"{text} {why}")


def _separability(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "separability")
    rows = rows[(rows["features"] == "scaled") & rows["auc"].notna()] if len(rows) else rows
    if rows.empty:
        return
    rows = rows.set_index("aug")
    augs = rows[~rows.index.isin(CONTROLS)]
    floor = f"reseed's {span(rows.loc['reseed'], 'auc')}" if "reseed" in rows.index else "no reseed"
    if augs.empty:
        return
    top, low = augs["auc"].idxmax(), augs["auc"].idxmin()
    above = [str(aug) for aug, verdict in augs["verdict"].items() if verdict == "above"]
    text = "A classifier tells an aug's maps from the reference's with an AUC of"
    text += f" {span(augs.loc[low], 'auc')} ({low}) to {span(augs.loc[top], 'auc')} ({top}),"
    text += f" against {floor}: above it {listed(above)}."
    yield sentence("separability", CLAIM if above else LIMIT, text)


def _divergence(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "divergence")
    metric = "pearson" if "pearson" in study.metrics else study.metrics[0]
    if rows.empty:
        return
    chosen = rows[(rows["metric"] == metric) & (rows["question"] == "changed") & ~rows["aug"].isin(CONTROLS)]
    chosen = chosen[chosen["auc"].notna()]
    if chosen.empty:
        return
    least = chosen.loc[chosen["auc"].idxmin()]
    most = chosen.loc[chosen["auc"].idxmax()]
    known = chosen["low"].notna().all() and (chosen["low"] > 0.5).all()
    text = f"Images whose maps moved further (by {metric}) changed between right and wrong more often: AUC"
    text += f" {span(least, 'auc')} ({least['aug']}) to {span(most, 'auc')} ({most['aug']})."
    yield sentence("divergence", CLAIM if known else LIMIT, text)
    augs = _rows(tables, "divergence_augs")
    row = augs[augs["metric"] == metric] if len(augs) else augs
    if len(row) and pd.notna(row.iloc[0]["p"]):
        one = row.iloc[0]
        text = f"Over {one['augs']} augs, divergence and change of accuracy correlate at"
        text += f" {number(one['spearman'], 2)} (Spearman, {chance(one['p'])}): with so few augs this says little."
        yield sentence("divergence-augs", CLAIM if one["p"] <= LEVEL else LIMIT, text)


def _targets(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "targets")
    metric = "pearson" if "pearson" in study.metrics else study.metrics[0]
    rows = rows[(rows["metric"] == metric) & ~rows["aug"].isin(CONTROLS)] if len(rows) else rows
    if rows.empty or rows["difference"].isna().all():
        return
    low, high = rows["difference"].min(), rows["difference"].max()
    share = rows["images_changed"].mean()
    clear = int(((rows["low"] > 0) | (rows["high"] < 0)).sum())
    text = f"Explaining the predicted instead of the true class changes mean {metric} by {number(low)} to"
    text += f" {number(high)} (interval off zero for {clear} of {len(rows)} augs); the two targets differ on"
    text += f" {100 * share:.0f} % of the images."
    yield sentence("targets", MIND, text)


def _chains(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "chains")
    metric = study.metrics[0]
    rows = rows[rows["metric"] == metric] if len(rows) else rows
    for chain, group in rows.groupby("chain", sort=False) if len(rows) else ():
        told = [f"{row['part']} {span(row, 'difference')}" for row in group.to_dict("records")]
        beyond = bool((group["p_holm"] <= LEVEL).any())
        text = f"{chain} against its parts, difference of mean {metric}: {'; '.join(told)}."
        yield sentence(f"chain-{chain}", CLAIM if beyond else LIMIT, text)


def _accuracy(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "performance_summary")
    score = "dice" if len(rows) and (rows["score"] == "dice").any() else "accuracy"
    rows = rows[rows["score"] == score].set_index("aug") if len(rows) else rows
    if rows.empty or REFERENCE not in rows.index:
        return
    others = rows[~rows.index.isin((*CONTROLS, REFERENCE))]["mean"]
    text = f"Test {'Dice' if score == 'dice' else score}: reference {number(rows.loc[REFERENCE, 'mean'])}"
    if len(others):
        text += f"; augs from {number(others.min())} ({others.idxmin()})"
        text += f" to {number(others.max())} ({others.idxmax()})"
    controls = [f"{c} {number(rows.loc[c, 'mean'])}" for c in CONTROLS if c in rows.index]
    yield sentence("accuracy", MIND, f"{text}; controls: {', '.join(controls) or 'none'}.")


def _bias(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "bias")
    metric = "pearson" if "pearson" in study.metrics else study.metrics[0]
    rows = rows[(rows["metric"] == metric) & ~rows["aug"].isin(CONTROLS)] if len(rows) else rows
    if rows.empty or rows["explained"].isna().all():
        return
    text = f"One fixed map, the mean of all, has a {metric} of {number(rows['mean_map'].iloc[0])}"
    text += (
        f" with the reference's maps and a centred blob {number(rows['centre'].iloc[0])}; the augs' own maps have"
    )
    text += f" {number(rows['mean'].min())} to {number(rows['mean'].max())}."
    low, high = (100 * share for share in (rows["explained"].min(), rows["explained"].max()))
    text += f" How untypical the reference's map is explains {low:.0f}–{high:.0f} % of the metric's variance."
    yield sentence("bias", MIND, text)


def _steps(tables: Tables, study: Study) -> Iterator[Finding]:
    augs = [aug for aug in study.steps if aug not in (*CONTROLS, REFERENCE)]
    if REFERENCE not in study.steps or not augs:
        return
    text = f"The reference took {study.steps[REFERENCE]:,} gradient steps,"
    text += f" augmented models {study.steps[augs[0]]:,}:"
    means = _rows(tables, "means")
    row = means[(means["aug"] == "identity") & (means["statistic"] == "mean")] if len(means) else means
    row = row[row["metric"] == study.metrics[0]] if len(row) else row
    if len(row):
        text += f" what identity moves with the same steps and no augmentation (mean {study.metrics[0]}"
        text += f" {span(row.iloc[0])}) is no effect of an augmentation."
    else:
        text += " without the control identity the effect of steps cannot be told from that of an augmentation."
    yield sentence("steps", MIND, text)


def _seeds(tables: Tables, study: Study) -> Iterator[Finding]:
    single = [aug for aug, count in study.replicates.items() if count == 1 and aug != REFERENCE]
    several = [aug for aug, count in study.replicates.items() if count > 1]
    if not several:
        text = (
            "Every aug has one model: intervals cover the test images alone; what another seed would give cannot"
        )
        yield sentence("one-seed", LIMIT, f"{text} be known. No claim is made about augs, pairs or clusters.")
    elif single:
        text = f"One distinct model for all seeds: {listed(single)}."
        yield sentence("single", MIND, f"{text} Their intervals borrow the spread of the other augs.")


def _degenerate(tables: Tables, study: Study) -> Iterator[Finding]:
    rows = _rows(tables, "degenerate")
    if rows.empty:
        return
    undefined = [name for name in rows.columns if name.endswith("_undefined")]
    total = int(rows[undefined].fillna(0).to_numpy().sum()) if undefined else 0
    text = f"Degenerate maps: {int(rows['constant'].sum())} constant and {int(rows['flat'].sum())} flat of"
    text += f" {int(rows['images'].sum()):,}; {total} undefined values of {len(undefined)} metrics,"
    text += " left out and counted."
    yield sentence("degenerate", MIND, text)


def _absent(tables: Tables, study: Study) -> Iterator[Finding]:
    if study.absent:
        yield sentence("absent", MIND, f"Absent, and so not compared: {', '.join(study.absent)}.")
