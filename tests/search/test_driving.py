"""The record and what is proposed next: a search that is stopped anywhere goes on as if it had not been."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from auglens.search.definition import Point, Range, Search
from auglens.search.driving import Outcome, Record, means


def searching(design: str = "tpe", trials: int = 12, objectives: int = 1, **space: object) -> Search:
    told = {"accuracy": "maximize", "energy": "minimize"}
    factors = space or {
        "rate": Range(1e-4, 1e-1, log=True),
        "size": Range(4, 32, whole=True),
        "norm": levels("batch", "none"),
    }
    return Search(
        "mine", "", (), "reseed", (1,), design, trials, dict(list(told.items())[:objectives]), factors, seed=3,
    )  # type: ignore[arg-type]  # fmt: skip


def levels(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (f"x={name}",) for name in names}


def measured(point: Point, objectives: int) -> tuple[float, ...]:
    rate, size = float(point["rate"]), float(point["size"])  # type: ignore[arg-type]
    return (-((np.log10(rate) + 2) ** 2) - size / 100, size * rate)[:objectives]


def go_on(search: Search, journal: Path, most: int) -> list[Outcome]:
    """Up to `most` further trials by a new process's eyes: the journal is opened anew."""
    record = Record(search, journal)
    for proposal, _ in zip(record.remaining(), range(most), strict=False):
        record.add(proposal, Outcome(proposal.point, measured(proposal.point, len(search.objectives)), {"n": 1}))
    return Record(search, journal).finished()


@pytest.mark.parametrize(("design", "objectives"), [("tpe", 1), ("tpe", 2), ("nsga2", 2)])
def test_stopping_after_every_trial_changes_none(tmp_path: Path, design: str, objectives: int) -> None:
    search = searching(design, objectives=objectives)
    whole = go_on(search, tmp_path / "whole.log", 99)
    for _ in range(search.trials):
        parts = go_on(search, tmp_path / "parts.log", 1)
    assert parts == whole
    assert len(whole) == search.trials
    assert len({tuple(outcome.point.items()) for outcome in whole}) == search.trials


def test_a_proposal_that_was_never_finished_leaves_no_trace(tmp_path: Path) -> None:
    search = searching(trials=6)
    whole = go_on(search, tmp_path / "whole.log", 99)
    for _ in range(3):
        next(Record(search, tmp_path / "killed.log").remaining())  # asked, then killed
        go_on(search, tmp_path / "killed.log", 2)
    assert go_on(search, tmp_path / "killed.log", 99) == whole


def test_the_seed_decides_and_global_state_is_untouched(tmp_path: Path) -> None:
    random.seed(1)
    state = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    search = searching(trials=3)
    one = go_on(search, tmp_path / "one.log", 99)
    other = Search(**{**vars(search), "seed": 4})
    assert [o.point for o in go_on(other, tmp_path / "two.log", 99)] != [o.point for o in one]
    assert np.array_equal(state[0], np.random.get_state()[1])  # noqa: NPY002
    assert state[1] == random.getstate()


def test_the_sampler_learns(tmp_path: Path) -> None:
    """TPE's later proposals are nearer to the best rate, 0.01, than its first ones."""
    found = go_on(searching(trials=40), tmp_path / "journal.log", 99)
    far = [abs(np.log10(float(outcome.point["rate"])) + 2) for outcome in found]  # type: ignore[arg-type]
    assert np.mean(far[-15:]) < 0.7 * np.mean(far[:10])


def test_a_finite_space_is_tried_once_each_and_then_ends(tmp_path: Path) -> None:
    search = searching("tpe", 50, norm=levels("a", "b", "c"), kind=levels("x", "y"))
    record = Record(search, tmp_path / "journal.log")
    for proposal in record.remaining():
        record.add(proposal, Outcome(proposal.point, (1.0,)))
    points = [tuple(outcome.point.values()) for outcome in record.finished()]
    assert sorted(points) == sorted((a, b) for a in "abc" for b in "xy")


def test_a_grid_goes_on_with_what_is_not_done(tmp_path: Path) -> None:
    search = searching("grid", 0, norm=levels("a", "b", "c"))
    record = Record(search, tmp_path / "journal.log")
    first = next(record.remaining())
    record.add(first, Outcome(first.point, (0.5,), {"metrics": {"accuracy": 0.5}}))
    left = [proposal.point["norm"] for proposal in Record(search, tmp_path / "journal.log").remaining()]
    assert left == ["b", "c"]
    assert Record(search, tmp_path / "journal.log").finished() == [
        Outcome({"norm": "a"}, (0.5,), {"metrics": {"accuracy": 0.5}})
    ]


@pytest.mark.parametrize("at", [1, 3])
def test_failures_are_part_of_the_record_of_a_sampled_search(tmp_path: Path, at: int) -> None:
    """A search whose second trial failed goes on alike, whether it was stopped after that or not."""

    def drive(journal: Path, stops: int) -> list[Outcome]:
        for most in (stops, 99):
            record = Record(search, journal)
            for proposal, _ in zip(record.remaining(), range(most), strict=False):
                ended = len(record.study.get_trials(deepcopy=False))
                if ended == 1:
                    record.fail(proposal, "no memory")
                else:
                    record.add(proposal, Outcome(proposal.point, measured(proposal.point, 1)))
        return Record(search, journal).finished()

    search = searching(trials=8)
    whole = drive(tmp_path / "whole.log", 99)
    assert drive(tmp_path / "parts.log", at) == whole
    assert len(whole) == 7  # the failed one counts


def test_a_grid_tries_failed_points_again_when_it_is_started_again(tmp_path: Path) -> None:
    search = searching("grid", 0, norm=levels("a", "b"))
    record = Record(search, tmp_path / "journal.log")
    for proposal in record.remaining():
        record.fail(proposal, "no memory")
    assert record.finished() == []
    again = Record(search, tmp_path / "journal.log").remaining()
    assert [proposal.point["norm"] for proposal in again] == ["a", "b"]


def test_a_torn_last_line_of_the_journal_is_cut(tmp_path: Path) -> None:
    search, journal = searching(trials=4), tmp_path / "journal.log"
    before = go_on(search, journal, 2)
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker_id": "x", "stu')
    assert go_on(search, journal, 99)[:2] == before
    assert go_on(search, journal, 99) == go_on(search, tmp_path / "whole.log", 99)


def test_means_are_over_the_seeds_that_have_a_value_and_counts_over_all() -> None:
    cells = {"a": {"x": 1.0, "n_undefined": 6}, "b": {"x": 3.0, "y": 5.0}, "c": {"x": None, "y": None}}
    assert means(cells, ()) == {"x": 2.0, "n_undefined": 2.0, "y": 5.0}
    with pytest.raises(ValueError, match=r"^objective x: defined for 2 of 3 seeds; choose another$"):
        means(cells, ["x"])
    with pytest.raises(ValueError, match=r"^objective z: not measured; the nearest are "):
        means(cells, ["z"])
