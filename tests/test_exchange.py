"""What comes back from MLflow is checked before any of it becomes a path here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auglens.stages.exchange import found_cell
from auglens.tracking import FoundRun, refuse_foreign

HASH = "0123456789abcdef" * 4
RUN = FoundRun(
    run_id="r1",
    cell="affine+color_jitter-2",
    aug="affine+color_jitter",
    seed=2,
    keys={"cell_key": "k", "study_key": "s", "train_key": "t", "map_key": "m"},
    content="c",
    reference_train_key="reference",
    tags={"aug_key": HASH, "files": HASH},
    metrics={},
    started=7,
)


def test_a_run_becomes_a_cell() -> None:
    cell = found_cell(RUN)
    assert (cell.cell, cell.aug, cell.seed, cell.content) == (RUN.cell, RUN.aug, 2, HASH)
    assert (cell.run_id, cell.published) == ("r1", 7)
    assert found_cell(replace(RUN, cell="reference", aug="reference", seed=0)).aug == "reference"
    assert found_cell(replace(RUN, cell="someones_own-2", aug="someones_own")).aug == "someones_own"


@pytest.mark.parametrize(
    "changed",
    [
        {"cell": "../../outside"},
        {"cell": "affine-2"},
        {"aug": "../x", "cell": "../x-2"},
        {"aug": "in/vented", "cell": "in/vented-2"},
        {"aug": "", "cell": "-2"},
        {"tags": {"aug_key": HASH, "files": "../../../outside"}},
        {"tags": {"aug_key": HASH}},
        {"tags": {"aug_key": "short", "files": HASH}},
    ],
)
def test_a_run_with_other_tags_is_refused_in_one_line(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^MLflow run r1: expected the tags of a cell, got ") as caught:
        found_cell(replace(RUN, **changed))
    assert str(caught.value).endswith("delete that run in MLflow, or set collect.scope: requested")
    assert "\n" not in str(caught.value)


def test_a_run_against_another_reference_is_refused() -> None:
    refuse_foreign([RUN], "reference")
    with pytest.raises(ValueError, match=r"^MLflow run r1 .*: expected the reference with train key other"):
        refuse_foreign([RUN], "other")
