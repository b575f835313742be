"""Chains of augs against their parts: do the maps move as far, and on the same images?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auglens.stats.cells import Cells
from auglens.stats.correlation import LEAST_IMAGES
from auglens.stats.floor import IMAGES_AND_SEEDS, IMAGES_ONLY, difference, seed_means, spread
from auglens.stats.resampling import holm
from auglens.stats.seeds import CONTROLS

LINK = "+"  # between the parts in a chain's name
CHAINS = [
    "chain", "part", "metric", "chain_mean", "part_mean", "difference", "low", "high", "correlation", "others",
    "p", "p_holm", "covers",
]  # fmt: skip


def parts_of(chain: str) -> tuple[str, ...]:
    """Names of a chain's parts, each once, in their order; of one aug: itself."""
    return tuple(dict.fromkeys(chain.split(LINK)))


def chains_of(augs: Sequence[str]) -> dict[str, list[str]]:
    """Chain → those of its parts that are among `augs`, in the order of the chain."""
    return {aug: [part for part in parts_of(aug) if part in augs] for aug in augs if LINK in aug}


def chain_table(
    cells: Cells, metrics: Sequence[str], weights: NDArray[np.int32], confidence: float
) -> pd.DataFrame:
    """One row per (chain, part, metric): means over images of seed means, chain − part with its interval.

    weights: int [B, N]; the same images on both sides, the seeds independent. correlation: Pearson over images of
    the seed means of chain and part, pairwise complete, NaN with fewer than three images or a constant side;
    others: its median over the augs that share no part with the chain (controls left out; NaN without any).
    p: of the difference, NaN where no seed spread is known; p_holm: over all rows.
    Empty, with the reason in attrs["why"], where no chain and a part of it are there.
    """
    chains = {chain: parts for chain, parts in chains_of(cells.augs).items() if parts}
    rows = []
    for metric in metrics if chains else ():
        found = spread(cells, metric, weights)
        means = {aug: seed_means(cells.values[metric][cells.members(aug)]) for aug in cells.augs}
        correlations = pd.DataFrame(means).corr(min_periods=LEAST_IMAGES)
        for chain, parts in chains.items():
            strangers = [
                aug for aug in cells.augs if aug not in CONTROLS and not set(parts_of(aug)) & set(parts_of(chain))
            ]
            others = correlations.loc[chain, strangers].median() if strangers else np.nan
            for part in parts:
                a, b = cells.augs.index(chain), cells.augs.index(part)
                value, low, high, p = difference(found, a, b, confidence)
                known = np.isfinite(found.variance[[a, b]]).all()
                beside = (correlations.loc[chain, part], others, p, np.nan)
                covers = IMAGES_AND_SEEDS if known else IMAGES_ONLY
                row = (
                    chain,
                    part,
                    metric,
                    found.estimate[a],
                    found.estimate[b],
                    value,
                    low,
                    high,
                    *beside,
                    covers,
                )
                rows.append(row)
    table = pd.DataFrame(rows, columns=CHAINS)
    if table.empty:
        named = ", ".join(chains_of(cells.augs))
        why = f"the study has none of the parts of {named}" if named else "the study has no chain of augs"
        table.attrs["why"] = f"{why}; add a chain and its parts to aug.names"
        return table
    table["p_holm"] = holm(table["p"].to_numpy(dtype=np.float64))
    order = [(chain, part) for chain, parts in chains.items() for part in parts]
    place = [order.index(pair) for pair in zip(table["chain"], table["part"], strict=True)]
    return table.assign(place=place).sort_values("place", kind="stable", ignore_index=True)[CHAINS]
