"""What cannot be right in a report by itself, and correlation maps whose labels were exchanged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from auglens.check.values import BROKEN, Line, Report, Values

# How far two places that hold the same number may disagree: rounding, never another model's number.
ROUNDING = 0.005
# A correlation map is mislabelled where it fits this many times better once two augs are exchanged ...
FITS_BETTER = 3.0
# ... and where it does not fit anyway: root mean square difference above what rounding makes.
FITS = 0.002


def matrix(values: Values, augs: Sequence[str]) -> np.ndarray:
    rows = [[values[a].get(b) for b in augs] for a in augs]
    return np.array([[math.nan if v is None else v for v in row] for row in rows]).reshape(len(augs), len(augs))


def exchanged(now: np.ndarray, then: np.ndarray) -> tuple[int, int] | None:
    """The two augs whose rows and columns were exchanged, if that explains how `now` differs from `then`.

    now, then: float64 [A,A], NaN where undefined. Two augs that behave alike can trade places with no cell moving
    by more than its tolerance; the pattern of all cells gives them away.
    """

    def misfit(order: Sequence[int]) -> float:
        square = (now[np.ix_(order, order)] - then) ** 2
        return math.sqrt(float(np.mean(square[np.isfinite(square)]))) if np.isfinite(square).any() else 0.0

    places = list(range(len(now)))
    as_is = misfit(places)
    if as_is <= FITS:
        return None
    found: dict[tuple[int, int], float] = {}
    for i, j in itertools.combinations(places, 2):
        order = places.copy()
        order[i], order[j] = j, i
        found[i, j] = misfit(order)
    best = min(found, key=found.__getitem__, default=None)
    return best if best is not None and found[best] * FITS_BETTER < as_is else None


def structure(report: Report) -> list[Line]:
    """What cannot be right in a report by itself: its files disagree, or a correlation map is none."""
    lines = []
    for group, table in report.tables.items():
        values = {**report.scores, **report.maps}.get(group, {})
        for aug, value in values.items():
            other = table.get(aug)
            close = (
                value is not None
                and other is not None
                and math.isclose(value, other, rel_tol=ROUNDING, abs_tol=1e-6)
            )
            if not close and (value is not None or other is not None):
                text = f"metrics.json has {value}, the comparison's table {other}"
                lines.append(Line(group, aug, BROKEN, value, other, text=text))
    for metric, found in report.correlations.items():
        order = [aug for aug in report.maps.get(metric, found) if aug in found]
        lines += [Line(f"correlation/{metric}", "all", BROKEN, text=text) for text in _faults(found, order)]
    return lines


def _faults(found: Values, order: Sequence[str]) -> Iterator[str]:
    rows = list(found)
    if any(list(columns) != rows for columns in found.values()):
        yield "rows and columns are not the same augs in the same order"
        return
    if rows != list(order):
        yield "augs stand in another order than in metrics.json"
    values = matrix(found, rows)
    diagonal = np.diag(values)
    bad = np.flatnonzero(np.abs(diagonal - 1) > ROUNDING)  # NaN, of a metric that is constant, is none of these
    if len(bad):
        yield f"the diagonal is {diagonal[bad[0]]:.4g} for {rows[bad[0]]}, not 1 ({len(bad)} such)"
    if (np.abs(values) > 1 + ROUNDING).any():
        yield f"a correlation of {values[np.abs(values) > 1 + ROUNDING][0]:.4g}, outside [-1, 1]"
    uneven = (np.abs(values - values.T) > ROUNDING) | (np.isnan(values) != np.isnan(values.T))
    if uneven.any():
        i, j = np.argwhere(uneven)[0]
        text = f"{rows[i]} × {rows[j]} is {values[i, j]:.4g}, but {rows[j]} × {rows[i]} {values[j, i]:.4g}"
        yield f"not symmetric: {text} ({int(uneven.sum()) // 2} such)"
