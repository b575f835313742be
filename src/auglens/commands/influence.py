"""influence: what depth, batch size, epochs, regularisers and PRECODE do to explanations, over all finished runs.

Tables, figures, six answers and a page from what MLflow holds (docs/influence.md).
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auglens import artifacts, config, tracking
from auglens.commands import influence_page, runs
from auglens.stages import layout

if TYPE_CHECKING:
    import pandas as pd

    from auglens.stats import Factor, Models

MARK = "influence.csv"  # a folder that holds it is one of ours
TRAINING = "training.json"
NEEDS = "run `auglens search depth` or `dvc repro` with the score stage"
VARY = "expected one that was varied with all else equal, in two or more configurations, got none"


def run(
    to: str = "reports/influence",
    every: bool = False,
    where: str | None = None,
    baseline: str | None = None,
    curves: bool = True,
) -> None:
    """to: a folder; every: of all experiments; where: an SQL condition on the table of `auglens runs`; baseline: a
    cell key or such a condition; curves: fetch each model's training.json."""
    target = checked_folder(to)
    settings = config.load()
    uri, experiment = settings.tracking.uri, settings.tracking.experiment
    found = tracking.read_table(uri, experiment, layout.root(), every=every)
    if where is not None:
        found = replace(found, rows=chosen(found, where, "--where"))
    from auglens import stats  # scipy and pandas: not for a mistake in the arguments
    from auglens.stats.scores import EXPLANATION, is_undefined_count, split_metric

    sources = {column.source: column.name for column in found.columns if column.kind == "metric"}
    scores = {split: name for source, name in sources.items() if (split := split_metric(source)) is not None}
    explained = [name for (score, _), name in scores.items() if score in EXPLANATION]
    scored = replace(found, rows=[row for row in found.rows if any(row[name] is not None for name in explained)])
    if not scored.rows:
        raise ValueError(f"runs: expected explanation scores in at least one run, got none; {NEEDS}")
    models = as_models(scored, scores)
    number = None if baseline is None else configuration(scored, models, baseline)
    start, factors = stats.find_factors(models, number)
    if not factors:
        count = len(models.configurations)
        told = f"{len(scored.rows)} runs of {count} configuration{'s' if count > 1 else ''}"
        raise ValueError(f"factors: {VARY} ({told}); {NEEDS}, or try --all")
    analysis = settings.analysis
    table = stats.influence_tables(models, factors, analysis.confidence)
    methods = stats.method_table(models, analysis.confidence)
    correlation = stats.correlation_of_scores(
        models, draws=analysis.draws, confidence=analysis.confidence, seed=analysis.seed
    )
    answers = stats.answers(table, factors, methods, correlation)
    undefined = int(sum(
        float(str(row[name] or 0)) for source, name in sources.items() if is_undefined_count(source)
        for row in scored.rows
    ))  # fmt: skip
    epochs = fetched_curves(scored, models, factors, uri) if curves else {}
    wide = {factor.name: stats.wide_table(table[table["factor"] == factor.name]) for factor in factors}
    tables = {MARK: table, "methods.csv": methods, "correlation.csv": correlation}
    with artifacts.atomic_folder(target) as folder:
        for name, one in tables.items():
            artifacts.save_table(folder / name, one)
        for name, one in wide.items():
            artifacts.save_table(folder / f"table_{name}.csv", one)
        artifacts.save_table(folder / "runs.csv", runs.frame(runs.arrow(scored)))
        artifacts.save_text(folder / "answers.md", influence_page.markdown(answers))
        text = influence_page.page(
            sections=influence_page.draw(folder / "figures", models, factors, table, correlation, epochs),
            tables=influence_page.tables(to, factors, wide, tables),
            findings=influence_page.findings(answers, undefined),
            facts={
                "Runs": f"{len(scored.rows)} ({len(models.table)} distinct models)",
                "Configurations": str(len(models.configurations)),
                "Baseline": "; ".join(f"{factor.title}: {factor.baseline}" for factor in factors),
            },
            command=command(every, where, baseline, curves),
            parameters=parameters(scored, int((models.of_cell == start).argmax())),
        )
        artifacts.save_text(folder / "index.html", text)
    for answer in answers:
        print(f"{answer.question}\n  {answer.text}")
    print(f"influence: {Path(to, 'index.html')}")


def checked_folder(to: str) -> Path:
    """`to`, if it is new, empty or a folder of ours: whatever stands in it is replaced."""
    folder = Path(to)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--to {to}: expected a folder, got a file; name another")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ValueError(f"--to {to}: expected a new or empty folder, or one of `auglens influence`; name another")
    return folder.resolve()


def chosen(found: tracking.RunTable, condition: str, flag: str) -> list[dict[str, Any]]:
    """The rows that meet an SQL condition, which is asked as `auglens runs --sql` asks."""
    try:
        answer = runs.ask(runs.arrow(found), f"SELECT run_id FROM runs WHERE (\n{condition}\n)")
    except ValueError as error:
        raise ValueError(str(error).replace("--sql", flag, 1)) from None
    kept = set(answer.column(0).to_pylist())
    rows: list[dict[str, Any]] = [row for row in found.rows if row["run_id"] in kept]
    if not rows:
        raise ValueError(f"{flag}: expected a condition that a run meets, got {condition!r}, which none does")
    return rows


def as_models(scored: tracking.RunTable, scores: dict[tuple[str, str], str]) -> Models:
    """The table of runs as distinct models. scores: (score, method) → column."""
    import pandas as pd

    from auglens import stats

    names = {column.source: column.name for column in scored.columns if column.kind == "parameter"} | {
        "aug": "aug"
    }
    parameters = pd.DataFrame(
        {source: pd.Series([row[name] for row in scored.rows], dtype=object) for source, name in names.items()}
    )
    values = pd.DataFrame({
        split: pd.Series([row[name] for row in scored.rows], dtype="float64") for split, name in scores.items()
    }).sort_index(axis=1)  # fmt: skip
    keys = pd.DataFrame([{name: row[name] for name in ("train_key", "cell", "seed")} for row in scored.rows])
    return stats.models_of(parameters, values, keys)


def configuration(scored: tracking.RunTable, models: Models, baseline: str) -> int:
    """The configuration that a cell key or a condition names."""
    mine = [row for row in scored.rows if row["cell_key"] == baseline]
    rows = mine or chosen(scored, baseline, "--baseline")
    named = {row["run_id"] for row in rows}
    places = [place for place, row in enumerate(scored.rows) if row["run_id"] in named]
    found = sorted({int(models.of_cell[place]) for place in places})
    if len(found) > 1:
        raise ValueError(
            f"--baseline: expected runs of one configuration, got {len(found)}; add conditions, or give a cell key"
        )
    return found[0]


def fetched_curves(
    scored: tracking.RunTable, models: Models, factors: Sequence[Factor], uri: str | None
) -> dict[str, pd.DataFrame]:
    """Factor → curves (level, seed, epoch, metric, value) of those models whose run holds its training.json."""
    import pandas as pd

    rows = {(number, row["train_key"]): row for number, row in zip(models.of_cell, scored.rows, strict=True)}
    wanted = models.table["configuration"].isin({one for factor in factors for one in factor.levels.values()})
    chosen = models.table[wanted]
    runs_of = {
        int(place): as_run(rows[number, key])
        for place, number, key in zip(chosen.index, chosen["configuration"], chosen["train_key"], strict=True)
    }
    reports = dict(fetched_reports(runs_of, str(scored.rows[0]["experiment"]), uri))
    found = {}
    for factor in factors:
        parts = [
            reports[place].assign(level=level, seed=place)
            for level, number in factor.levels.items()
            for place in models.rows(number).tolist()
            if place in reports
        ]
        if parts:
            found[factor.name] = pd.concat(parts, ignore_index=True)
    return found


def fetched_reports(
    wanted: Mapping[int, tracking.FoundRun], experiment: str, uri: str | None
) -> Iterator[tuple[int, pd.DataFrame]]:
    """(place, columns epoch, metric, value) of every run that has one. experiment: one that there is."""
    import pandas as pd

    from auglens.figures.influence import CURVES

    try:
        with (
            tempfile.TemporaryDirectory() as name,
            tracking.Tracker.connect(uri, experiment, layout.root()) as tracker,
        ):
            for place, run in wanted.items():
                try:
                    path = tracker.fetch(run, TRAINING, Path(name, f"{place}.json"))
                    epochs = pd.DataFrame(artifacts.load_json(path, ("epochs",))["epochs"])
                except tracking.StoreUnavailable:
                    raise
                except ValueError:  # it is not there: the tables need none of it
                    continue
                there = [metric for metric in CURVES if metric in epochs]
                if there and "epoch" in epochs:
                    yield place, epochs.melt("epoch", there, "metric", "value")
    except tracking.StoreUnavailable as error:
        print(f"influence: without curves: {error}")


def as_run(row: dict[str, Any]) -> tracking.FoundRun:
    """What fetching needs to know of a run."""
    return tracking.FoundRun(
        run_id=row["run_id"], cell=row["cell"], aug=row["aug"], seed=row["seed"], keys={}, content="",
        reference_train_key="", tags={}, metrics={}, started=0,
    )  # fmt: skip


def parameters(scored: tracking.RunTable, place: int) -> str:
    """A run's parameters, a line each."""
    names = {column.source: column.name for column in scored.columns if column.kind == "parameter"}
    lines = [f"{source}: {scored.rows[place][name]}" for source, name in names.items()]
    return "\n".join(["# of the baseline's first run, as MLflow holds them", *lines, ""])


def command(every: bool, where: str | None, baseline: str | None, curves: bool) -> str:
    """The line that makes the same tables again."""
    parts = ["auglens influence", *(["--all"] if every else [])]
    parts += [f"--where {shlex.quote(where)}"] if where is not None else []
    parts += [f"--baseline {shlex.quote(baseline)}"] if baseline is not None else []
    return " ".join(parts + ([] if curves else ["--no-curves"]))
