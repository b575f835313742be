"""explain@cell: a checkpoint + test images → raw maps, logits and targets, for both targets."""

from __future__ import annotations

from typing import Any

from auglens import artifacts
from auglens.config import other_variant
from auglens.stages import layout, once


def run(cell: str) -> None:
    keys = ("train_key", "map_key", "variant", "method", "target", "layer")
    spec = artifacts.load_json(layout.maps_spec(cell), keys)
    if not once.shared("map_key", spec["map_key"]):
        explain(cell, spec)
        return
    outputs = [layout.maps(cell, variant) for variant in (spec["variant"], other_variant(spec["variant"]))]
    work = once.work(spec["map_key"], artifacts.sha256(layout.checkpoint(cell)))
    told = "the same model as another cell's: its maps"
    once.taken_over(work, outputs, f"explain {cell}", told, lambda: explain(cell, spec))


def explain(cell: str, spec: dict[str, Any]) -> None:
    from auglens.stages import explaining  # torch and timm: not for maps that are taken over

    explaining.run(cell, spec)
