"""How much a model's scores suffer when a square of each image is erased: per model, per aug, and where.

A row of `frame` is one image under one model, whole (row and column −1) or with one cell of a grid erased.
The replicate of every interval is the model. Definitions: docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.metrics.erasing import WHOLE
from auglens.stats.grid import codes_of
from auglens.stats.influence import NAN, NO_SPREAD, one_sample
from auglens.stats.seeds import REFERENCE

CONFIDENCE = 0.95
MODEL = ["aug", "seed", "part"]
MEASURED = ("whole", "erased", "worst", "drop")
BY_MODEL = [*MODEL, "score", *MEASURED, "images", "undefined"]
TABLE = ["aug", "part", "score", *MEASURED, *(f"{name}_sd" for name in MEASURED), "erased_low", "erased_high",
         "drop_low", "drop_high", "replicates"]  # fmt: skip
DIFFERENCES = ["aug", "against", "part", "score", "of", "mean", "sd", "low", "high", "replicates",
               "against_replicates", "paired"]  # fmt: skip
WHERE = ["aug", "part", "row", "column", "drop", "n", "undefined"]


@dataclass(frozen=True)
class Erased:
    """A score of erased images. column: of the frame; lower: whether lower is better; relative: to the whole
    image's answer, so that a whole image has no score of its own."""

    label: str
    column: str
    lower: bool = False
    relative: bool = False
    unit: str = ""


ROBUSTNESS = {
    "accuracy": Erased("Accuracy", "correct"),
    "consistency": Erased("Consistency", "consistent", relative=True),
    "dice": Erased("Dice", "dice"),
    "hausdorff": Erased("Hausdorff distance", "hausdorff", lower=True, unit="pixels"),
    "sensitivity": Erased("Sensitivity", "sensitivity"),
    "specificity": Erased("Specificity", "specificity"),
    "precision": Erased("Precision", "precision"),
}


def robustness_by_model(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, seed, part, score) of the scores whose columns the frame has; models in its order.

    frame: columns aug, seed, part, image, row, column, then some of correct, consistent (bool), dice, hausdorff,
    sensitivity, specificity, precision (float); distinct replicates; in any order.

    whole: mean over whole images; erased: mean over all erased copies; worst: mean over images of each one's worst
    copy, the highest for hausdorff; each over the finite values. drop: erased − whole, so below 0 where erasing
    hurts, and above for hausdorff. Of consistency whole and drop are NaN: it compares a copy with its whole image.
    images: of the model; undefined: erased copies whose value is not finite, which no mean and no worst has.
    ValueError where a model has an image's whole row twice.
    """
    _check(frame)
    codes, models = codes_of(frame, MODEL)
    images, whole = frame["image"].to_numpy(), (frame["row"] == WHOLE).to_numpy()
    scores = {name: _values(frame, name) for name, score in ROBUSTNESS.items() if score.column in frame}
    rows: list[tuple[Any, ...]] = []
    for place, model in enumerate(models):
        mine = np.flatnonzero(codes == place)
        copies = mine[~whole[mine]]
        for name, values in scores.items():
            score = ROBUSTNESS[name]
            erased = values[copies]
            worst = pd.Series(erased).groupby(images[copies])
            known = NAN if score.relative else _mean(values[mine[whole[mine]]])
            found = (known, _mean(erased), _mean((worst.max() if score.lower else worst.min()).to_numpy()))
            count = len(pd.unique(images[mine]))
            rows.append((*model, name, *found, found[1] - known, count, int(np.isnan(erased).sum())))
    return pd.DataFrame(rows, columns=BY_MODEL)


def robustness_table(by_model: pd.DataFrame) -> pd.DataFrame:
    """One row per (aug, part, score): means over its models, in their order.

    by_model: `robustness_by_model`'s rows. whole, erased, worst, drop: mean over the models with a finite value;
    *_sd: over the same (n − 1; NaN with one); *_low, *_high: 95 % interval of Student's t over models, NaN with
    one or where they are equal. replicates: models with a finite `erased`.
    """
    rows = []
    for keys, group in by_model.groupby(["aug", "part", "score"], sort=False):
        values = {name: group[name].to_numpy(dtype=np.float64) for name in MEASURED}
        finite = [one[np.isfinite(one)] for one in values.values()]
        spread = [one.std(ddof=1) if len(one) > 1 else NAN for one in finite]
        erased, drop = (one_sample(values[name], CONFIDENCE) for name in ("erased", "drop"))
        bounds = (erased.low, erased.high, drop.low, drop.high)
        rows.append((*tuple(keys), *map(_mean, values.values()), *spread, *bounds, len(finite[1])))
    return pd.DataFrame(rows, columns=TABLE)


def paired_differences(by_model: pd.DataFrame, against: str = REFERENCE) -> pd.DataFrame:
    """One row per (aug, part, score, of): the aug's models minus those of `against`, of: erased or whole.

    by_model: `robustness_by_model`'s rows. mean, 95 % interval of Student's t over models; sd: of the difference
    of two models. paired: by seed, where two or more seeds are shared and they are all of the smaller side's;
    else a difference of means. Then sd adds up both sides' variances, and the interval is Welch's. A side of one
    model, the reference, is taken to spread as the other does. sd and interval are NaN with one model on either
    side, the interval also where nothing spreads. replicates, against_replicates: models that count.
    Without the rows of a relative score's whole (consistency). ValueError where `against` is no aug of the table.
    """
    augs = list(by_model["aug"].unique())
    if against not in augs:
        names = ", ".join(map(str, augs)) or "none"
        raise ValueError(f"against: expected an aug of the table ({names}), got {against!r}; name one that it has")
    base = by_model[by_model["aug"] == against]
    others = by_model[by_model["aug"] != against]
    rows = []
    for (aug, part, score), group in others.groupby(["aug", "part", "score"], sort=False):
        side = base[(base["part"] == part) & (base["score"] == score)]
        for of in ("erased", "whole"):
            if of == "whole" and ROBUSTNESS[str(score)].relative:
                continue
            level, other = (_by_seed(one, of) for one in (group, side))
            rows.append((aug, against, part, score, of, *_difference(level, other)))
    return pd.DataFrame(rows, columns=DIFFERENCES)


def where_erasing_hurts(frame: pd.DataFrame, score: str) -> pd.DataFrame:
    """One row per (aug, part, row, column of the grid): drop, the mean over images and models of a copy's score
    minus its whole image's.

    frame: as of `robustness_by_model`; score: a name of `ROBUSTNESS`. drop < 0: erasing there hurts (for hausdorff
    drop > 0); of consistency minus the share of answers that change. n: pairs of a copy and its whole image with
    both values finite, of which drop is; undefined: the others. Augs in the frame's order, the grid row by row.
    ValueError where the frame lacks the score, or has an image's whole row twice.
    """
    here = [name for name, known in ROBUSTNESS.items() if known.column in frame]
    if score not in here:
        names = ", ".join(here) or "none"
        raise ValueError(f"score: expected one of the frame's ({names}), got {score!r}; name one that it has")
    _check(frame)
    values, whole = _values(frame, score), (frame["row"] == WHOLE).to_numpy()
    codes, groups = codes_of(frame, [*MODEL, "image"])
    before = np.full(len(groups), np.nan)
    before[codes[whole]] = values[whole]
    lost = pd.DataFrame({"aug": frame["aug"], "part": frame["part"], "row": frame["row"]})
    lost = lost.assign(column=frame["column"], drop=values - before[codes])[~whole]
    places, cells = codes_of(lost, ["aug", "part", "row", "column"])
    known = lost["drop"].reset_index(drop=True).groupby(places)
    found = pd.DataFrame(cells, columns=["aug", "part", "row", "column"])
    found = found.assign(drop=known.mean(), n=known.count(), undefined=known.size() - known.count())
    rank, _ = codes_of(found, ["aug", "part"])
    order = np.lexsort((found["column"], found["row"], rank))
    return found.iloc[order].reset_index(drop=True)[WHERE]


def _values(frame: pd.DataFrame, score: str) -> NDArray[np.float64]:
    """A score's column, what is not finite as NaN."""
    values = frame[ROBUSTNESS[score].column].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _mean(values: NDArray[np.floating[Any]]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else NAN


def _by_seed(rows: pd.DataFrame, of: str) -> pd.Series:
    found = rows.set_index("seed")[of].astype(np.float64)
    return found[np.isfinite(found)]


def _difference(level: pd.Series, base: pd.Series) -> tuple[Any, ...]:
    """mean, sd, low, high, replicates, against_replicates, paired."""
    shared = level.index.intersection(base.index)
    if len(shared) == min(len(level), len(base)) >= 2:
        pairs = (level[shared] - base[shared]).to_numpy()
        found = one_sample(pairs, CONFIDENCE)
        return found.difference, float(pairs.std(ddof=1)), found.low, found.high, len(pairs), len(pairs), True
    return *_unpaired(level, base), len(level), len(base), False


def _unpaired(level: pd.Series, base: pd.Series) -> tuple[float, float, float, float]:
    """mean, sd, low, high of a difference of means."""
    from scipy import stats  # slow to import, and most stages draw no interval

    mean = float(level.mean() - base.mean())
    counts = np.array([len(level), len(base)])
    if counts.max() < 2:
        return mean, NAN, NAN, NAN
    variances = np.array([level.var(ddof=1), base.var(ddof=1)], dtype=np.float64)
    freedom = counts - 1
    one = int(counts.min()) == 1
    if one:
        variances[:] = variances[counts > 1]
    parts = variances / counts
    sd, error = float(np.sqrt(variances.sum())), float(np.sqrt(parts.sum()))
    if not error > NO_SPREAD * max(level.abs().max(), base.abs().max()):
        return mean, sd, NAN, NAN
    degrees = freedom.max() if one else parts.sum() ** 2 / (parts**2 / freedom).sum()
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    return mean, sd, mean - half, mean + half


def _check(frame: pd.DataFrame) -> None:
    whole = frame.loc[frame["row"] == WHOLE, [*MODEL, "image"]]
    twice = whole.duplicated().to_numpy()
    if twice.any():
        aug, seed, part, image = whole.iloc[int(twice.argmax())]
        place = f"image {image} of {aug}-{seed} ({part})"
        raise ValueError(f"frame: expected one whole row per image, got two of {place}; pass every model once")
