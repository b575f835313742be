"""What a search leaves in reports/search/NAME: trials.csv, importance.csv and figures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from auglens import artifacts, figures
from auglens.search import Outcome, Search
from auglens.search.driving import directions, distributions


def trials_table(search: Search, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """A row per finished trial: its number, its point, its objectives, then every other metric's mean."""
    rows = []
    for number, outcome in enumerate(outcomes, start=1):
        values = dict(zip(search.objectives, outcome.values, strict=True))
        rest = {name: value for name, value in outcome.told.get("metrics", {}).items() if name not in values}
        rows.append({"trial": number, **outcome.point, **values, **rest})
    return pd.DataFrame(rows)


def pareto_rows(values: np.ndarray, directions: Sequence[str]) -> list[int]:
    """Rows of float [N,O] that no other row equals or beats in every objective while it beats it in one."""
    signed = values * np.array([1.0 if direction == "maximize" else -1.0 for direction in directions])
    return [
        row
        for row, mine in enumerate(signed)
        if not any((other >= mine).all() and (other > mine).any() for other in signed)
    ]


def importance(search: Search, outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Objective → factor → importance by fANOVA (Hutter et al., ICML 2014), as Optuna has it; {} where nothing can
    be told: fewer than four trials, or one level of every factor."""
    import optuna

    space = distributions(search)
    varied = [name for name in space if len({repr(outcome.point[name]) for outcome in outcomes}) > 1]
    if len(outcomes) < 4 or not varied:
        return {}
    found = {}
    for place, objective in enumerate(search.objectives):
        values = [outcome.values[place] for outcome in outcomes]
        if len(set(values)) == 1:
            continue
        study = optuna.create_study(directions=directions(search)[place : place + 1])
        for outcome, value in zip(outcomes, values, strict=True):
            trial = optuna.create_trial(params=dict(outcome.point), distributions=space, values=[value])
            study.add_trial(trial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.seed)
            found[objective] = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    return found


def write(search: Search, outcomes: Sequence[Outcome], folder: Path) -> None:
    table = trials_table(search, outcomes)
    shares: Mapping[str, Mapping[str, float]] = importance(search, outcomes)
    objectives = dict(search.objectives)
    rows = pareto_rows(table[list(objectives)].to_numpy(dtype=np.float64), list(objectives.values()))
    drawn = {}
    if len(objectives) > 1 and len(table) > 1:
        drawn["pareto.svg"] = figures.pareto_front(table, objectives, rows)
    if shares:
        drawn["importance.svg"] = figures.importances(shares)
    if len(table) > 1:
        drawn["parallel.svg"] = figures.parallel_coordinates(table, list(search.space), next(iter(objectives)))
    front = set(rows)
    table.insert(1, "pareto", [row in front for row in range(len(table))])
    with artifacts.atomic_folder(folder) as temporary:
        artifacts.save_table(temporary / "trials.csv", table)
        lines = [(o, name, share) for o, found in shares.items() for name, share in found.items()]
        artifacts.save_table(
            temporary / "importance.csv", pd.DataFrame(lines, columns=["objective", "factor", "importance"])
        )
        for name, figure in drawn.items():
            artifacts.save_figure(temporary / name, figure)
        artifacts.save_json(temporary / "alt.json", {name: figures.alt_text(one) for name, one in drawn.items()})
