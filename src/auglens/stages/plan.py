"""plan: parameters + prepared data's hash → one spec per cell and the index, in data/cells."""

from __future__ import annotations

from auglens import artifacts, config
from auglens.plan import make_plan
from auglens.stages import layout


def run() -> None:
    settings = config.load()
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json", ("content",))
    plan = make_plan(settings, manifest["content"])
    with artifacts.atomic_folder(layout.CELLS) as folder:
        for cell in plan.cells:
            artifacts.save_json(folder / layout.train_spec(cell.name).name, cell.train)
            artifacts.save_json(folder / layout.maps_spec(cell.name).name, cell.maps)
        artifacts.save_json(folder / layout.INDEX.name, plan.index())
    print(f"plan: {len(plan.cells)} cells, study {plan.study_key[:12]}")
