"""Which point comes next, and the record of those that are done, which Optuna's journal keeps.

A trial enters the journal when it is finished, whole. What is proposed next is a function of the finished ones,
their number and the search's seed. So a search that is killed anywhere and started again goes on as if nothing had
happened: the same trials, none twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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

    def remaining(self, failed: Sequence[Point] = ()) -> Iterator[Proposal]:
        """What is to be tried, one after the other; each is looked up after the one before was added.

        failed: points that this process could not finish; they are not proposed again by it.
        """
        search = self.search
        if search.design in ("grid", "one_at_a_time"):
            done = {_key(outcome.point) for outcome in self.finished()}
            yield from (Proposal(point) for point in search.points() if _key(point) not in done)
            return
        while len(complete := self._complete()) + len(failed) < search.trials:
            proposal = propose(search, complete, failed)
            if proposal is None:
                return
            yield proposal


def propose(
    search: Search, complete: Sequence[optuna.trial.FrozenTrial], failed: Sequence[Point] = ()
) -> Proposal | None:
    """The next point of a sampled search, none that was tried; None where a finite space has no other left.

    A function of its arguments: the sampler is made anew, seeded by the number of trials before.
    """
    import optuna

    quiet()
    tried = {_key(trial.params) for trial in complete} | {_key(point) for point in failed}
    space = distributions(search)
    for attempt in range(TRIES):
        seed = rng.derive(search.seed, "search", len(complete) + len(failed), attempt) % 2**32
        study = optuna.create_study(sampler=_sampler(search, seed), directions=directions(search))
        study.add_trials(complete)
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
