"""Which augs behave alike: hierarchical clustering of correlation maps and of metric profiles, with its support.

Average linkage on 1 − correlation of single models, so that an aug with one model and one with three are treated
alike, or on the distance of standardised profiles. A cluster's strength is the length of its stem: how much higher
than the cluster itself the next merge lies. It is claimed where its stem is longer than the longest of 95 % of the
trees that come of permuting the models among the augs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from auglens.stats.cells import Cells, Floats
from auglens.stats.permutations import p_value, parts_of, permuted, resampled_seeds, without_controls
from auglens.stats.resampling import weighted_means
from auglens.stats.similarity import ALL, Covariances, block_means, correlations, fisher

PROFILES, WITH_CONTROLS = "profiles", "all with controls"
CLUSTERS = ["source", "members", "size", "height", "support", "strength", "p", "claimed"]
AGREEMENT = ["metric_a", "metric_b", "mantel_r", "mantel_p", "cophenetic_r"]
LEAST_AUGS = 3


def condensed(distance: Floats) -> Floats:
    """[A, A] → [A (A − 1) / 2], the upper triangle; the diagonal is not looked at."""
    return np.asarray(distance[np.triu_indices(len(distance), 1)])


def cophenetic(merges: Floats) -> Floats:
    """[A (A − 1) / 2]: the height at which two augs come together in a tree."""
    from scipy.cluster.hierarchy import cophenet  # slow to import, and `compare` grows no tree

    return np.asarray(cophenet(merges))


def tree(distance: Floats) -> Floats:
    """scipy's linkage matrix [A − 1, 4] of a distance matrix [A, A]; its diagonal is not looked at."""
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(condensed(distance), "average"))


def clusters_of(merges: Floats) -> dict[frozenset[int], tuple[float, float]]:
    """Members → (height, how much higher the next merge is) of every cluster but the leaves and the whole."""
    size = len(merges) + 1
    members = [frozenset([leaf]) for leaf in range(size)]
    heights = [0.0] * size
    found = {}
    for a, b, height, _ in merges:
        for part in (int(a), int(b)):
            if part >= size:
                found[members[part]] = (heights[part], float(height) - heights[part])
        members.append(members[int(a)] | members[int(b)])
        heights.append(float(height))
    return found


def strongest(distance: Floats) -> float:
    """The greatest strength of a tree's clusters: the statistic of the permutation test."""
    return max(strength for _, strength in clusters_of(tree(distance)).values())


def cluster_source(
    name: str, augs: Sequence[str], distance: Floats, drawn: Floats, null: Floats, confidence: float
) -> tuple[list[tuple], dict]:
    """Rows and linkage of one tree. distance [A, A]; drawn [B, A, A] under resampling; null [P, A, A]."""
    merges = tree(distance)
    # The diagonal may be undefined: an aug with one model has none to compare it with. A resample of few images
    # may leave more undefined, and then has no tree.
    off = ~np.eye(len(augs), dtype=bool)
    trees = [set(clusters_of(tree(one))) for one in drawn if np.isfinite(one[off]).all()]
    top = np.array([strongest(one) for one in null])
    rows = []
    for members, (height, value) in clusters_of(merges).items():
        support = float(np.mean([members in one for one in trees])) if trees else float("nan")
        p = float(p_value(np.array(value), top)) if len(top) else float("nan")
        names = ", ".join(augs[n] for n in sorted(members))
        rows.append((name, names, len(members), height, support, value, p, bool(p <= 1 - confidence)))
    agreement = float(np.corrcoef(cophenetic(merges), condensed(distance))[0, 1])
    return rows, {"labels": list(augs), "linkage": merges.tolist(), "cophenetic": agreement}


def model_distance(covariance: Floats, averaging: Floats) -> Floats:
    """1 − mean correlation of single models, for one [A, C] average or a stack; one covariance or a stack."""
    return np.asarray(1 - np.tanh(block_means(fisher(correlations(covariance)), averaging)))


def profile_distance(means: Floats, averaging: Floats) -> Floats:
    """Euclidean distance of standardised profiles. means: [..., C, M] of each model and metric; averaging
    [..., A, C]. Each metric counts alike: minus its mean over augs, by its standard deviation."""
    profiles = averaging @ means
    centred = profiles - profiles.mean(-2, keepdims=True)
    deviation = centred.std(-2, ddof=1, keepdims=True)
    scaled = centred / np.where(deviation > 0, deviation, np.inf)
    gaps = scaled[..., :, None, :] - scaled[..., None, :, :]
    return np.asarray(np.sqrt((gaps**2).sum(-1)))


def structure(
    cells: Cells, found: Covariances, metrics: Sequence[str], weights: np.ndarray, *, permutations: int,
    confidence: float, seed: int,
) -> tuple[pd.DataFrame, dict[str, dict], pd.DataFrame]:  # fmt: skip
    """(clusters.csv, linkage.json, agreement.csv): trees of every metric, of all, of the profiles, and of all
    with the controls among the leaves (no p there: controls are no part of a claim). Only `all` makes claims."""
    everyone, everything = cells, found
    cells, found = without_controls(cells, found)
    augs = cells.augs
    usable = [metric for metric in metrics if np.isfinite(correlations(found.whole[metric])).all()]
    if len(augs) < LEAST_AUGS or not usable:
        return pd.DataFrame(columns=CLUSTERS), {}, pd.DataFrame(columns=AGREEMENT)
    averaging = cells.averaging()
    several = bool((averaging > 0).sum(1).max() > 1)
    shuffled = permuted(cells, permutations if several else 0, seed=seed)
    resampled = resampled_seeds(cells, found.draws, seed=seed + 1)

    def mean_distance(covariance: Mapping[str, Floats], average: Floats) -> Floats:
        z = np.mean([fisher(correlations(covariance[metric])) for metric in usable], axis=0)
        return np.asarray(1 - np.tanh(block_means(z, average)))

    controlled = len(everyone.augs) > len(augs)
    rows = np.flatnonzero([everyone.augs[place] in augs for place in everyone.aug])
    of_everyone = resampled_seeds(everyone, found.draws, seed=seed + 2) if controlled else resampled

    def of_draws(block: Mapping[str, Floats], which: slice) -> dict[str, Floats]:
        mine = {metric: value[:, rows][:, :, rows] for metric, value in block.items()}
        distances = {metric: model_distance(mine[metric], resampled[which]) for metric in usable}
        distances[ALL] = mean_distance(mine, resampled[which])
        return distances | ({WITH_CONTROLS: mean_distance(block, of_everyone[which])} if controlled else {})

    drawn = everything.of_draws(of_draws)
    null = np.concatenate([mean_distance(found.whole, some) for some in parts_of(shuffled)])
    sources: dict[str, tuple[Sequence[str], Floats, Floats, Floats]] = {
        ALL: (augs, mean_distance(found.whole, averaging), drawn[ALL], null)
    }
    none = np.empty((0, 0, 0))
    if controlled:
        whole = mean_distance(everything.whole, everyone.averaging())
        sources[WITH_CONTROLS] = (everyone.augs, whole, drawn[WITH_CONTROLS], none)
    for metric in usable:
        sources[metric] = (augs, model_distance(found.whole[metric], averaging), drawn[metric], none)
    values = np.concatenate([cells.values[m] for m in usable])
    once = np.ones((1, values.shape[1]), dtype=np.int32)
    size = len(cells.aug)
    means, drawn_means = (
        weighted_means(values, w).reshape(-1, len(usable), size).transpose(0, 2, 1) for w in (once, weights)
    )
    if np.isfinite(means).all():
        sources[PROFILES] = (
            augs, profile_distance(means[0], averaging), profile_distance(drawn_means, resampled),
            profile_distance(means[0], shuffled[:999]),
        )  # fmt: skip
    found_rows, trees = [], {}
    for name, source in sources.items():
        own, trees[name] = cluster_source(name, *source, confidence)
        found_rows += [row if name == ALL else (*row[:-1], False) for row in own]
    agreed = agreement({m: sources[m][1] for m in usable}, permutations=min(permutations, 999), seed=seed + 3)
    return pd.DataFrame(found_rows, columns=CLUSTERS), trees, agreed


def agreement(distances: Mapping[str, Floats], *, permutations: int, seed: int) -> pd.DataFrame:
    """Do two metrics see the same structure? Mantel's r of their distances, its p (one-sided, augs permuted), and
    the correlation of their trees' cophenetic distances. Source: Mantel, Cancer Research 1967."""
    generator = np.random.Generator(np.random.Philox(seed))
    names = list(distances)
    rows = []
    for n, a in enumerate(names):
        size = len(distances[a])
        upper = np.triu_indices(size, 1)
        orders = np.array([generator.permutation(size) for _ in range(permutations)])
        for b in names[n + 1 :]:
            fixed = distances[b][upper]
            observed = np.corrcoef(distances[a][upper], fixed)[0, 1]
            moved = distances[a][orders[:, upper[0]], orders[:, upper[1]]]
            centred = moved - moved.mean(1, keepdims=True)
            null = centred @ (fixed - fixed.mean()) / (len(fixed) * moved.std(1) * fixed.std())
            p = float(p_value(np.array(observed), null))
            trees = np.corrcoef(cophenetic(tree(distances[a])), cophenetic(tree(distances[b])))[0, 1]
            rows.append((a, b, float(observed), p, float(trees)))
    return pd.DataFrame(rows, columns=AGREEMENT)
