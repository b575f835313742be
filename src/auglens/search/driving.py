"""Which point comes next, and the record of those that are done, which Optuna's journal keeps.

A trial enters the journal when it has ended, whole. What is proposed next is a function of those that have, and
of the search's seed. So a search that is killed anywhere and started again goes on as if nothing had happened: the
same trials, none twice.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from auglens import rng
from auglens.search.definition import Point, Range, Search

if TYPE_CHECKING:
    import optuna

TRIES = 64  # proposals of points already tried, after which the rest is taken in order


@dataclass(frozen=True)
class Outcome:
    """A finished trial. values: of the objectives, in their order; told: further JSON values kept beside."""

    point: Point
    values: tuple[float, ...]
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """A point, and what the sampler must know of it later."""

    point: Point
    attributes: dict[str, Any] = field(default_factory=dict)


def distributions(search: Search) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, levels in search.space.items():
        if not isinstance(levels, Range):
            found[name] = CategoricalDistribution(tuple(levels))
        elif levels.whole:
            found[name] = IntDistribution(int(levels.low), int(levels.high), log=levels.log)
        else:
            found[name] = FloatDistribution(levels.low, levels.high, log=levels.log)
    return found


def directions(search: Search) -> list[Any]:
    return list(search.objectives.values())


class Record:
    """The finished trials of a search in Optuna's journal at `path`, for `optuna-dashboard` and us."""

    def __init__(self, search: Search, path: Path) -> None:
        quiet()
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path.parent.mkdir(parents=True, exist_ok=True)
        mend(path)
        storage = JournalStorage(JournalFileBackend(str(path)))
        self.search = search
        self.study: optuna.Study = optuna.create_study(
            storage=storage, study_name=search.name, directions=directions(search),
            load_if_exists=True,
        )  # fmt: skip

    def finished(self) -> list[Outcome]:
        """In the order in which they were finished."""
        return [
            Outcome({name: trial.params[name] for name in self.search.space}, tuple(trial.values),
                    dict(trial.user_attrs))
            for trial in self._complete()
        ]  # fmt: skip

    def _complete(self) -> list[optuna.trial.FrozenTrial]:
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def add(self, proposal: Proposal, outcome: Outcome) -> None:
        """One write: the trial is there, finished, or not at all."""
        import optuna

        self.study.add_trial(
            optuna.create_trial(
                params=dict(proposal.point), distributions=distributions(self.search),
                values=list(outcome.values), user_attrs=dict(outcome.told), system_attrs=dict(proposal.attributes),
            )
        )  # fmt: skip

    def fail(self, proposal: Proposal, error: str) -> None:
        """The trial could not be run. A sampled search counts it and goes elsewhere; any other tries it again when
        it is started again."""
        import optuna

        self.study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState.FAIL, params=dict(proposal.point),
                distributions=distributions(self.search), user_attrs={"error": error},
                system_attrs=dict(proposal.attributes),
            )
        )  # fmt: skip

    def remaining(self) -> Iterator[Proposal]:
        """What is to be tried, one after the other; each is looked up after the one before has ended."""
        from optuna.trial import TrialState

        search = self.search
        if search.design in ("grid", "one_at_a_time"):
            done = {_key(outcome.point) for outcome in self.finished()}
            yield from (Proposal(point) for point in search.points() if _key(point) not in done)
            return
        states = (TrialState.COMPLETE, TrialState.FAIL)
        while len(ended := self.study.get_trials(deepcopy=False, states=states)) < search.trials:
            proposal = propose(search, ended)
            if proposal is None:
                return
            yield proposal


def mend(journal: Path) -> None:
    """Cut a last line that was not written to its end, as a full disk or a power cut leaves one: Optuna would add
    to it, and never read the journal again."""
    if journal.exists():
        content = journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            journal.write_bytes(whole)


def means(cells: Mapping[str, Mapping[str, float | None]], wanted: Sequence[str]) -> dict[str, float]:
    """Each metric's mean over cells (seeds) in which it is defined; counts of undefined values are 0 where absent.

    wanted: the objectives; ValueError where one is not defined in every cell: it would be a mean of fewer seeds.
    """
    found: dict[str, float] = {}
    for name in dict.fromkeys(name for metrics in cells.values() for name in metrics):
        absent = 0.0 if name.endswith("_undefined") else None
        values = [value for metrics in cells.values() if (value := metrics.get(name, absent)) is not None]
        if values:
            found[name] = float(fmean(values))
        if name in wanted and len(values) < len(cells):
            raise ValueError(f"objective {name}: defined for {len(values)} of {len(cells)} seeds; choose another")
    for name in wanted:
        if name not in found:
            near = ", ".join(difflib.get_close_matches(name, found, 3)) or ", ".join(sorted(found)[:8])
            raise ValueError(f"objective {name}: not measured; the nearest are {near}: correct it in conf/search")
    return found


def propose(search: Search, ended: Sequence[optuna.trial.FrozenTrial]) -> Proposal | None:
    """The next point of a sampled search, none that was tried; None where a finite space has no other left.

    A function of its arguments: the sampler is made anew, seeded by the number of trials before.
    """
    import optuna

    quiet()
    tried = {_key(trial.params) for trial in ended}
    space = distributions(search)
    for attempt in range(TRIES):
        seed = rng.derive(search.seed, "search", len(ended), attempt) % 2**32
        study = optuna.create_study(sampler=_sampler(search, seed), directions=directions(search))
        study.add_trials(ended)
        trial = study.ask(space)
        point: Point = {name: trial.params[name] for name in search.space}
        if _key(point) not in tried:
            frozen = study.trials[-1]
            return Proposal(point, dict(frozen.system_attrs))
    left = (point for point in search.points() if _key(point) not in tried) if search.finite else iter(())
    return next((Proposal(point) for point in left), None)


def _sampler(search: Search, seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search.design == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, min(50, search.trials // 4)))
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(2, search.trials // 3)))


def _key(point: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in point.items()))


def quiet() -> None:
    """Optuna tells every trial; progress here is ours."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
