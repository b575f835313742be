"""search: the trials of a file in conf/search, run by the stages of any study, into MLflow and reports/search.

A trial works in a folder of its own under .auglens/search, named by what decides its result, so that two searches
that try the same thing train it once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from auglens import artifacts, config, search, tracking
from auglens.cards import plain
from auglens.commands.compose import composed
from auglens.commands.trials import (
    CONF,
    MANIFEST,
    RESULT,
    UNPUBLISHED,
    connect,
    planned,
    prepared,
    publish,
    searched,
    trial_folder,
    work,
)
from auglens.config import Config
from auglens.metrics import FAITHFULNESS, FLOORS, LOCALIZATION
from auglens.progress import Progress
from auglens.stages import once
from auglens.tracking.searches import publish_holder

SEARCHES = Path("conf/search")


def run(name: str | None, size: str, overrides: Sequence[str]) -> int:
    if name is None:
        for one in search.names(SEARCHES):
            print(f"{one:16} {search.load(SEARCHES, one).question}")
        return 0
    wanted = search.load(SEARCHES, name, size=size, extra=tuple(overrides))
    with at_root():
        text = composed(wanted.overrides({}), CONF)
        manifest = artifacts.load_json(prepared(config.from_mapping(yaml.safe_load(text)), text) / MANIFEST)
        check_objectives(wanted, config.from_mapping(yaml.safe_load(text)), masks=manifest["masks"])
        # Other settings in conf/, other data or other code make another record: finished trials are of these.
        conf = [
            path.read_text(encoding="utf-8")
            for path in sorted(CONF.rglob("*.yaml"))
            if SEARCHES not in path.parents
        ]
        key = artifacts.hash_values([wanted.identity(), conf, manifest["content"], once.code()])
        folder = Path(".auglens/search").resolve() / f"{name}-{key[:12]}"
        with once.alone(folder, f"search {name}"):
            return drive(wanted, key, folder)


def check_objectives(wanted: search.Search, settings: Config, *, masks: bool) -> None:
    """ValueError, before anything is trained, for a score that no trial will have."""
    for name in wanted.objectives:
        score, _, method = name.partition(".")
        if score in LOCALIZATION and not masks:
            raise ValueError(f"objective {name}: the data have no masks; choose another, as road.gradcam")
        known = [plain(one) for one in (settings.maps.method, *settings.score.methods)]
        if score in (*LOCALIZATION, *FAITHFULNESS) and method not in (*known, *FLOORS):
            raise ValueError(
                f"objective {name}: scored are {', '.join(known)}; add to score.methods, or choose another"
            )
        if score in FAITHFULNESS and score not in settings.score.faithfulness:
            raise ValueError(f"objective {name}: {score} is not in score.faithfulness; add it")


@contextlib.contextmanager
def at_root() -> Iterator[None]:
    """Stages find the project by DVC_ROOT, wherever they work."""
    before = os.environ.get("DVC_ROOT")
    os.environ["DVC_ROOT"] = str(Path.cwd())
    try:
        yield
    finally:
        os.environ.pop("DVC_ROOT")
        if before is not None:
            os.environ["DVC_ROOT"] = before


def drive(wanted: search.Search, key: str, folder: Path) -> int:
    """All trials, one after the other; 1 where one could not be run."""
    record = search.Record(wanted, folder / "journal.log")
    finished = record.finished()
    total = len(list(wanted.points())) if wanted.design in ("grid", "one_at_a_time") else wanted.trials
    if finished:
        print(f"search {wanted.name}: going on after {len(finished)} finished trials", flush=True)
    for outcome in finished:  # while MLflow was away
        if (trial_folder(outcome.told["trial"]) / UNPUBLISHED).exists():
            one(wanted, key, outcome.point)
    failed = 0
    with Progress(f"search {wanted.name}", total, len(finished), unit="trial") as progress:
        for proposal in record.remaining():
            told = ", ".join(f"{factor}={level}" for factor, level in proposal.point.items())
            progress.line(f"trial {progress.done + 1} of {total}: {told}")
            try:
                outcome = one(wanted, key, proposal.point)
            except (ValueError, RuntimeError, MemoryError) as error:  # a GPU without memory is a RuntimeError
                failed += 1
                text = " ".join(str(error).split())[:500]
                record.fail(proposal, text)
                progress.line(f"{told} failed: {text}")
                continue
            record.add(proposal, outcome)
            progress.advance(1)
            values = zip(wanted.objectives, outcome.values, strict=True)
            progress.line(f"{told}: {', '.join(f'{name} {value:.4g}' for name, value in values)}")
    report(wanted, key, record.finished())
    if failed:
        print(f"search {wanted.name}: {failed} of {total} trials failed, as said above")
    return 1 if failed else 0


def one(wanted: search.Search, key: str, point: search.Point) -> search.Outcome:
    """A trial from its point to its values: what is there already is not made again, whichever search made it."""
    trial = planned(wanted, point)
    path = trial.folder / RESULT
    with once.alone(trial.folder, "trial"):
        if not path.exists():
            trial.folder.mkdir(parents=True, exist_ok=True)
            work(trial)
        result = artifacts.load_json(path, ("cells", "seconds"))
        metrics = search.means(result["cells"], ())
        publish(wanted, key, trial, result, metrics)
    metrics = search.means(result["cells"], list(wanted.objectives))
    values = tuple(metrics[name] for name in wanted.objectives)
    return search.Outcome(point, values, {"trial": trial.key, "metrics": metrics})


def report(wanted: search.Search, key: str, outcomes: Sequence[search.Outcome]) -> None:
    """Tables and figures in reports/search/NAME, and into the search's own run."""
    from auglens.commands.searching import write

    if not outcomes:
        return
    folder = Path("reports/search") / (f"{wanted.name}-{key[:8]}" if wanted.extra else wanted.name)
    write(wanted, outcomes, folder)
    print(f"search {wanted.name}: {len(outcomes)} trials; tables and figures in {folder}")
    tracker = connect(config.from_mapping(yaml.safe_load(composed(wanted.overrides({}), CONF))))
    if tracker is not None:
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        try:
            publish_holder(tracker.store, replace(searched(wanted, key), artifacts=files))
        except tracking.StoreUnavailable as error:
            print(f"search {wanted.name}: {error}")
