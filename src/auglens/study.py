"""Which cells a comparison is made of: the plan's own, and those that others have published of the same study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from auglens.config import REFERENCE
from auglens.data.augmentations import schema


@dataclass(frozen=True)
class StudyCell:
    """A cell that can be compared. content: sha256 of its artefacts; published: where its order breaks a tie."""

    cell: str
    aug: str
    seed: int
    aug_key: str
    cell_key: str
    content: str
    run_id: str | None = None  # None: its files are here
    published: int = 0  # milliseconds since 1970


def order(cell: StudyCell) -> tuple[int, int, str, int]:
    """The reference, the seven, one's own, chains by name, the controls: the order of every table and figure."""
    if cell.aug == REFERENCE:
        return (0, 0, "", 0)
    if cell.aug in schema.AUGS:
        return (1, schema.AUGS.index(cell.aug), cell.aug, cell.seed)
    if cell.aug in schema.CONTROLS:
        return (3, schema.CONTROLS.index(cell.aug), cell.aug, cell.seed)
    own = "+" not in cell.aug
    return (1, len(schema.AUGS), cell.aug, cell.seed) if own else (2, 0, cell.aug, cell.seed)


def choose(
    own: Sequence[StudyCell], found: Sequence[StudyCell], planned: dict[str, str]
) -> tuple[list[StudyCell], list[str]]:
    """(cells of the comparison in order, names of runs left out because their aug has other parameters).

    own: cells whose files are here; found: runs of the study; planned: aug → aug key of this plan. An aug that
    the plan has keeps the plan's parameters. One that it has not takes those with the most seeds, then those
    published last: one name never mixes two settings of an aug.
    """
    mine = {cell.cell_key for cell in own}
    others = [cell for cell in found if cell.cell_key not in mine]
    keys = dict(planned)
    for aug in {cell.aug for cell in others} - keys.keys():
        count = Counter(cell.aug_key for cell in others if cell.aug == aug)
        last = {cell.aug_key: cell.published for cell in sorted(others, key=lambda c: c.published)}
        keys[aug] = max(count, key=lambda key: (count[key], last[key], key))
    taken = [cell for cell in others if cell.aug_key == keys[cell.aug]]
    left_out = sorted(f"{cell.cell} ({cell.aug_key[:8]})" for cell in others if cell.aug_key != keys[cell.aug])
    return sorted([*own, *taken], key=order), left_out
