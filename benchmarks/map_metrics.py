"""The seven map metrics of 500 pairs, from raw 7×7 maps over 224×224 pixels to seven numbers per image.

    python -m benchmarks.map_metrics

Every contender starts from the same raw maps in memory. The peer goes image by image, as scripts do:
pytorch-grad-cam's scaling, `cv2.resize`, its scaling again, then numpy and scipy; that is serial by nature.
`ours` is what the stage `measure` does, finishing included, on two threads; `ours, one thread` on one. The limit
is `numpy.sort` of every finished map, one thread: what no exact rank or percentile does without. Ranks need the
pixels' positions too, so that the second limit sorts each value together with its position.

Equal: scipy's and numpy's numbers in float64 of our finished maps. From raw maps each side resizes by itself, in
float32: a pixel whose value is that of the percentile to the last bit may fall on either side (`from_raw_apart`).

`ours, further metrics too` has no target: what ssim, js, emd and centre_shift add per pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import THREADS, alternate, difference, note, row

PAIRS, CELLS, SIZE = 500, 7, 224
OVERLAP = (20, 10, 5)
FURTHER = ("ssim", "js", "emd", "centre_shift")
PEER, LIMIT = "cv2 + scipy, image by image", "one sort per map"
WITH_POSITIONS = "one sort per map, with positions"
TOLERANCE = 1e-6


def raw_maps(count: int, seed: int) -> np.ndarray:
    """Rectified noise, float32 [N,7,7]: zeros in half of the cells, as Grad-CAM's ReLU leaves them."""
    return np.maximum(np.random.default_rng(seed).standard_normal((count, CELLS, CELLS)), 0).astype(np.float32)


def resized(raw: np.ndarray) -> np.ndarray:
    """pytorch-grad-cam's finishing: `scale_cam_image`, resize, scale again."""
    import cv2

    def scaled(one: np.ndarray) -> np.ndarray:
        one = one - np.min(one)
        return one / (1e-7 + np.max(one))

    return scaled(cv2.resize(np.float32(scaled(raw)), (SIZE, SIZE)))


def by_scripts(
    reference: np.ndarray, other: np.ndarray, finished: Callable[[np.ndarray], np.ndarray] = resized
) -> dict[str, np.ndarray]:
    """Finishing, then numpy and scipy."""
    from scipy import stats

    rows = []
    for first, second in zip(reference, other, strict=True):
        p, q = finished(first).ravel(), finished(second).ravel()
        found = {"mad": np.abs(p - q).mean(dtype=np.float64), "msd": ((p - q) ** 2).mean(dtype=np.float64)}
        found["pearson"] = stats.pearsonr(p, q).statistic
        found["spearman"] = stats.spearmanr(p, q).statistic
        for y in OVERLAP:
            in_p, in_q = p >= np.percentile(p, 100 - y), q >= np.percentile(q, 100 - y)
            found[f"overlap_{y}"] = (in_p & in_q).sum() / (in_p | in_q).sum()
        rows.append(found)
    return {name: np.array([found[name] for found in rows]) for name in rows[0]}


def contenders() -> dict[str, Callable[[], Any]]:
    from auglens.metrics import compare_further, compare_maps
    from auglens.metrics.threads import spread
    from auglens.saliency import finish
    from auglens.saliency.finishing import repeated_edges
    from auglens.stages.measure import turns

    reference, other = raw_maps(PAIRS, 0), raw_maps(PAIRS, 1)
    cuts, edges = turns(PAIRS, SIZE), repeated_edges((CELLS, CELLS), SIZE)

    def seven(threads: int, further: bool = False) -> dict[str, np.ndarray]:
        def part(cut: slice) -> dict[str, np.ndarray]:
            p, q = finish(reference[cut], SIZE), finish(other[cut], SIZE)
            found = compare_maps(p, q, OVERLAP, edges=edges, threads=1)
            return found | compare_further(p, q, reference[cut], other[cut], FURTHER) if further else found

        parts = list(spread(part, cuts, threads))
        return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}

    finished = [one.ravel() for maps in (reference, other) for one in finish(maps, SIZE)]
    positions = np.arange(SIZE * SIZE, dtype=np.uint64)

    def sort() -> None:
        for one in finished:
            np.sort(one)

    def sort_with_positions() -> None:
        for one in finished:
            keys = one.astype(np.float64)
            keys.view(np.uint64)[:] |= positions
            keys.sort()

    return {
        "ours": lambda: seven(THREADS),
        "ours, one thread": lambda: seven(1),
        "ours, further metrics too": lambda: seven(THREADS, further=True),
        PEER: lambda: by_scripts(reference, other),
        LIMIT: sort,
        WITH_POSITIONS: sort_with_positions,
    }


def main() -> bool:
    from auglens.saliency import finish

    note(f"map_metrics: {PAIRS} pairs of {SIZE}×{SIZE}, about 1.5 minutes")
    found = alternate("benchmarks.map_metrics", "contenders")
    ours, one, peer = (found[name].result for name in ("ours", "ours, one thread", PEER))
    names = list(peer)
    same_maps = by_scripts(
        *(finish(raw_maps(PAIRS, seed), SIZE).astype(np.float64) for seed in (0, 1)), np.asarray
    )
    apart = {name: difference(ours[name], same_maps[name]) for name in names}
    further = found["ours, further metrics too"]
    return row(
        f"map metrics: raw {CELLS}×{CELLS} to seven numbers, {SIZE} px",
        found,
        items=PAIRS,
        unit="pair",
        peers={PEER: 12.0},
        limit=LIMIT,
        apart=max(apart.values()),
        tolerance=TOLERANCE,
        by_metric=apart,
        from_raw_apart={name: difference(ours[name], peer[name]) for name in names},
        any_threads_same_bytes=all(ours[name].tobytes() == one[name].tobytes() for name in names),
        of_sorts_with_positions=found[WITH_POSITIONS].median / found["ours"].median,
        ms_per_pair={name: timed.median / PAIRS * 1e3 for name, timed in found.items()},
        further_cost_ms_per_pair=(further.median - found["ours"].median) / PAIRS * 1e3,
    )


if __name__ == "__main__":
    raise SystemExit(not main())
