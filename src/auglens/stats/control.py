"""Every aug against a control that makes as many gradient steps: performance and explanation, paired by seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from auglens.stats.influence import contrast
from auglens.stats.seeds import WITHOUT_SECOND_HALF
from auglens.stats.summaries import score_names

IDENTITY = "identity"
CONFIDENCE = 0.95
PERFORMANCE = "performance"  # where other rows name a map method
COLUMNS = ["aug", "against", "score", "method", "difference", "low", "high", "models", "against_models"]


def against_control(
    performance: pd.DataFrame, explanations: pd.DataFrame, control: str = IDENTITY, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """One row per (aug, score, method): the mean over the aug's models minus that of the control's; without those
    that have no second half, and so fewer steps.

    performance: rows of `performance`; explanations: of `scores_by_model`; method is `PERFORMANCE` for the
    former; distinct replicates. Paired by seed where two or more seeds are shared and they are all of the smaller
    side's, else Welch's; low, high: Student's interval over models, NaN with one on either side. models,
    against_models: how many have the score. Empty where the study has no such control.
    """
    long = performance.melt(["aug", "seed"], list(score_names(performance)), "score", "value").assign(
        method=PERFORMANCE
    )
    scored = explanations[["aug", "seed", "method", "score", "mean"]].rename(columns={"mean": "value"})
    table = pd.concat([long, scored], ignore_index=True) if len(scored) else long
    table = table[np.isfinite(table["value"].astype(np.float64))]
    rows = []
    for (score, method), group in table.groupby(["score", "method"], sort=False):
        models = {str(aug): one.set_index("seed")["value"] for aug, one in group.groupby("aug", sort=False)}
        base = models.pop(control, None)
        if base is None:
            continue
        for aug, level in models.items():
            if aug in WITHOUT_SECOND_HALF:
                continue
            found = contrast(level, base, confidence)
            told = (found.difference, found.low, found.high, len(level), len(base))
            rows.append((aug, control, score, method, *told))
    return pd.DataFrame(rows, columns=COLUMNS)
