"""The six questions about what influences explanations, answered in sentences with numbers. docs/influence.md.

A difference is claimed where its interval leaves out 0 and its p after Holm is below LEVEL, and only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from auglens.stats.across import LEAST_CONFIGURATIONS
from auglens.stats.factors import Factor
from auglens.stats.influence import shown
from auglens.stats.scores import ALL, EXPLANATION, SCORES, method_label

QUESTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "depth": ("How does network depth affect explainability?", ("depth",)),
    "training": ("How do batch size and epochs affect explainability?", ("batch_size", "epochs")),
    "methods": ("Which class activation mapping method performs best?", ()),
    "regularisation": ("How do regularisers influence explainability?", ("weight_decay", "dropout", "norm")),
    "precode": ("How does PRECODE influence explainability?", ("precode",)),
    "correlation": ("How does classification performance correlate with explainability?", ()),
}
NOT_VARIED = "not varied in these runs"
LEVEL = 0.05
MOST_TOLD = 3  # claims of one level; the tables hold the rest


@dataclass(frozen=True)
class Answer:
    """kind: claim where at least one difference or correlation is shown, else open."""

    name: str
    question: str
    text: str
    kind: Literal["claim", "open"]


def answers(
    influence: pd.DataFrame, factors: Sequence[Factor], methods: pd.DataFrame, correlation: pd.DataFrame
) -> list[Answer]:
    """The six answers in order. influence: `influence_tables`; methods: `method_table`; correlation:
    `correlation_of_scores`."""
    known = {factor.name: factor for factor in factors}
    found = []
    for name, (question, needed) in QUESTIONS.items():
        if name == "methods":
            text, claimed = best_method(methods)
        elif name == "correlation":
            text, claimed = correlated(correlation)
        else:
            told = [effect(influence, known[one]) for one in needed if one in known]
            absent = [TITLES[one] for one in needed if one not in known]
            texts = [text for text, _ in told]
            if absent:
                texts.append(f"{sentence(listed(absent))}: {NOT_VARIED}.")
            text, claimed = " ".join(texts), any(claim for _, claim in told)
        found.append(Answer(name, question, text, "claim" if claimed else "open"))
    return found


TITLES = {
    "depth": "network depth",
    "batch_size": "batch size",
    "epochs": "epochs",
    "weight_decay": "weight decay",
    "dropout": "dropout",
    "norm": "normalisation",
    "precode": "PRECODE",
}


def effect(influence: pd.DataFrame, factor: Factor) -> tuple[str, bool]:
    """What a factor's levels change against its baseline, of the mean over the map methods, and whether any claim
    is made."""
    rows = influence[(influence["factor"] == factor.name) & ~influence["baseline"]]
    parts, claimed = [], False
    for level in factor.levels:
        if level != factor.baseline:
            text, clear = _level(rows[rows["level"] == level])
            parts.append(f"{level}: {text}")
            claimed = claimed or clear
    base = influence[(influence["factor"] == factor.name) & influence["baseline"]]
    count = int(base["n"].max()) if len(base) else 0
    head = f"{factor.title}, against {factor.baseline} ({models(count)}), scores averaged over the map methods"
    return f"{head}. {'. '.join(parts)}.", claimed


def _level(rows: pd.DataFrame) -> tuple[str, bool]:
    scores = rows[(rows["method"] == ALL) & rows["score"].isin(EXPLANATION)]
    scores = scores[np.isfinite(scores["difference"].to_numpy(np.float64))]
    accuracy = [_accuracy(row) for row in records(rows[rows["score"] == "accuracy"])]
    if scores.empty:
        return "; ".join(["no explanation score in common with the baseline", *accuracy]), False
    tested = scores[np.isfinite(scores["low"].to_numpy(np.float64))]
    if tested.empty:
        first = records(scores)[0]
        why = f"cannot be claimed, since the spread over seeds is unknown (n = {first.n}) or nil"
        return "; ".join([f"{why}: {_label(first)} {_difference(first)}", *accuracy]), False
    leaves = (tested["low"] > 0) | (tested["high"] < 0)
    clear = tested[leaves & (tested["p_holm"] < LEVEL)].sort_values("p", kind="stable")
    single = records(tested[leaves].drop(clear.index).sort_values("p", kind="stable"))
    told = []
    for better in (True, False):
        mine = [row for row in records(clear) if is_better(row) == better]
        if mine:
            texts = [f"{_label(row)} {_difference(row)}" for row in mine[:MOST_TOLD]]
            more = f" and {len(mine) - MOST_TOLD} more" if len(mine) > MOST_TOLD else ""
            told.append(f"{'better' if better else 'worse'} in {', '.join(texts)}{more}")
    if single:
        texts = [f"{_label(row)} {_difference(row)}" for row in single[:MOST_TOLD]]
        more = f" and {len(single) - MOST_TOLD} more" if len(single) > MOST_TOLD else ""
        told.append(
            f"only without correction for the number of comparisons a difference in {', '.join(texts)}{more}"
        )
    rest = tested[~leaves]
    if len(rest):
        one = records(rest)[0]
        others = f"in {len(rest)} scores, such as " if len(rest) > 1 else "in "
        told.append(f"no difference shown {others}{_label(one)} ({_difference(one)})")
    return "; ".join([*told, *accuracy]), len(clear) > 0


def _accuracy(row: Any) -> str:
    clear = (row.low > 0 or row.high < 0) and row.p_holm < LEVEL
    return f"accuracy {_difference(row)}" if clear else f"accuracy: no difference shown ({_difference(row)})"


def best_method(methods: pd.DataFrame) -> tuple[str, bool]:
    """Of each score the best map method against the next, and how many methods the floors are not below."""
    maps = methods[~methods["floor"].astype(bool)]
    several = [group for _, group in maps.groupby("score", sort=False) if len(group) > 1]
    told, claimed = [], False
    for group in several:
        lower = SCORES[group["score"].iloc[0]].lower
        ranked = records(group.sort_values("mean", ascending=bool(lower), kind="stable"))
        top, second = ranked[0], ranked[1]
        unit = f" {SCORES[top.score].unit}" if SCORES[top.score].unit else ""
        head = f"{_label(top)}: {method_label(top.method)} {shown(top.mean, float('nan'), top.score)}{unit}"
        behind = f"{method_label(second.method)} {_difference(second)}"
        clear = bool((second.low > 0 or second.high < 0) and second.p_holm < LEVEL)
        told.append(f"{head}, {'then' if clear else 'no difference shown to'} {behind}")
        claimed = claimed or clear
    if not told:
        return f"Not answered: {NOT_VARIED} (one map method).", False
    first = records(several[0])[0]
    head = f"Best of the map methods over {models(first.models)}, each with the difference of the next from it"
    return f"{head}. {'. '.join(told)}. {floors_text(methods)}".strip(), claimed


def floors_text(methods: pd.DataFrame) -> str:
    """How the methods compare with the best of the maps that know nothing of the model; "" without floors."""
    rows = [row for row in records(methods) if not row.floor and row.best_floor]
    if not rows:
        return ""
    above = [row for row in rows if np.isfinite(row.over_floor_low) and is_better(row, "over_floor")
             and (row.over_floor_low > 0 or row.over_floor_high < 0)]  # fmt: skip
    rest = [f"{method_label(row.method)} in {_label(row)}" for row in rows if row not in above]
    text = f"Better than the best trivial floor: {len(above)} of {len(rows)} combinations of method and score"
    if not rest:
        return f"{text}."
    more = f" and {len(rest) - 2 * MOST_TOLD} more" if len(rest) > 2 * MOST_TOLD else ""
    return f"{text}; not shown for {', '.join(rest[: 2 * MOST_TOLD])}{more}."


def correlated(correlation: pd.DataFrame) -> tuple[str, bool]:
    """Accuracy against the mean over the methods of each explanation score."""
    rows = correlation[(correlation["performance"] == "accuracy") & (correlation["method"] == ALL)]
    if rows.empty:
        return "Cannot be known: these runs have no accuracy or no explanation scores.", False
    most = max(records(rows), key=lambda row: row.configurations)
    over = f"{models(most.models)} of {most.configurations} configuration{'s' if most.configurations != 1 else ''}"
    if most.configurations < LEAST_CONFIGURATIONS:
        return f"Cannot be known: {over}, and a correlation needs {LEAST_CONFIGURATIONS} or more.", False
    known = [row for row in records(rows) if np.isfinite(row.pearson_low)]
    if not known:
        return f"Not defined: over {over} accuracy or the scores are constant.", False
    clear = [row for row in known if row.pearson_low > 0 or row.pearson_high < 0]
    parts = []
    for better in (True, False):
        mine = [row for row in clear if is_better(row, "pearson") == better]
        if mine:
            way = "better" if better else "worse"
            parts.append(f"more accurate models explain {way} by {', '.join(_correlation(row) for row in mine)}")
    rest = [row for row in known if row not in clear]
    if rest:
        parts.append(f"no correlation shown with {', '.join(_correlation(row) for row in rest)}")
    return f"Over {over}, Pearson's r with the mean over the map methods: {'; '.join(parts)}.", bool(clear)


def is_better(row: Any, column: str = "difference") -> bool:
    return bool((getattr(row, column) > 0) != bool(SCORES[row.score].lower))


def records(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples(index=False))


def models(count: int) -> str:
    return f"{count} model{'' if count == 1 else 's'}"


def amounts(score: str, *values: float) -> list[str]:
    """In the score's unit, the first signed; two decimals, four where all are below 0.1."""
    scaled = [value * SCORES[score].scale for value in values]
    digits = 2 if max(map(abs, scaled)) >= 0.1 or not any(scaled) else 4
    signs = ["+", *[""] * (len(values) - 1)]
    return [f"{one:{sign}.{digits}f}".replace("-", "−") for sign, one in zip(signs, scaled, strict=True)]


def _difference(row: Any) -> str:
    """`+4.50 points [1.20, 7.80], Holm p = 0.012`."""
    if not np.isfinite(row.difference):
        return "not known"
    step = SCORES[row.score].step
    unit = f" {step}" if step else ""
    if not np.isfinite(row.low):
        return f"{amounts(row.score, row.difference)[0]}{unit}, no interval"
    difference, low, high = amounts(row.score, row.difference, row.low, row.high)
    chance = "" if not np.isfinite(row.p_holm) else f", Holm p {_chance(row.p_holm)}"
    return f"{difference}{unit} [{low}, {high}]{chance}"


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _correlation(row: Any) -> str:
    text = f"{SCORES[row.score].label} ({row.pearson:.2f} [{row.pearson_low:.2f}, {row.pearson_high:.2f}])"
    return text.replace("-", "−")


def _label(row: Any) -> str:
    return SCORES[row.score].label


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
