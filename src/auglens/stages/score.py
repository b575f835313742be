"""score@cell: how good a cell's explanations are, the sanity check, and how the model bears erased pixels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from auglens import artifacts, config
from auglens.metrics import SanityRow
from auglens.stages import layout, once

if TYPE_CHECKING:
    from auglens.config import RobustnessConfig, ScoreConfig


def run(cell: str) -> None:
    spec = artifacts.load_json(layout.maps_spec(cell), ("map_key", "variant", "method", "layer"))
    loaded = config.load()
    settings, erasing = loaded.score, loaded.robustness
    outputs = [layout.scores(cell), layout.sanity(cell), layout.robustness(cell)]

    def make() -> None:
        score(cell, spec, settings, erasing)

    if once.shared("map_key", spec["map_key"]):
        work = once.work(
            spec["map_key"], artifacts.sha256(layout.checkpoint(cell)), asdict(settings), asdict(erasing)
        )
        once.taken_over(work, outputs, f"score {cell}", "the same model as another cell's: its scores", make)
    else:
        make()


def score(cell: str, spec: dict[str, Any], settings: ScoreConfig, erasing: RobustnessConfig) -> None:
    import pandas as pd

    from auglens.stages import scoring  # torch and timm: not for scores that are taken over

    columns, sanity = scoring.run(cell, spec, settings)
    table, erased = pd.DataFrame(columns), pd.DataFrame(scoring.erase(cell, spec, erasing))
    for told, by in ((table, settings), (erased, erasing)):
        attrs: dict[Hashable, Any] = dict(attributes(spec["map_key"], by).items())
        told.attrs = attrs
    artifacts.save_table(layout.scores(cell), table)
    artifacts.save_table(layout.robustness(cell), erased)
    artifacts.save_table(layout.sanity(cell), pd.DataFrame(sanity, columns=list(SanityRow.__annotations__)))
    print(f"score {cell}: {table['method'].nunique()} methods and floors on {table['image'].nunique()} images")


def attributes(map_key: str, settings: ScoreConfig | RobustnessConfig) -> dict[str, str]:
    """What a table was made from: `collect` knows an old one by it."""
    return {"map_key": map_key, "score": artifacts.hash_values(asdict(settings))}
