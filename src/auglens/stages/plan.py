"""plan: parameters + prepared data's hash → one spec per cell and the index, in data/cells."""

from __future__ import annotations

from auglens import artifacts, config
from auglens.plan import make_plan
from auglens.stages import layout


def check(settings: config.Config, classes: int) -> tuple[str, tuple[int, int]]:
    """The layer that will be explained and the size of its maps; ValueError before anything is trained in vain
    for an unknown network, one that cannot follow a setting, or maps too small to compare."""
    from auglens.models import build  # torch and timm: needed here alone
    from auglens.saliency import check_map_size, target_layer

    size = settings.model.image_size
    model = build(settings.model, classes, init_seed=0)
    layer = target_layer(model, settings.maps.layer, image_size=size)
    return layer, check_map_size(model, layer, size)


def run() -> None:
    settings = config.load()
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json", ("content", "classes"))
    layer, (height, width) = check(settings, len(manifest["classes"]))
    plan = make_plan(settings, manifest["content"])
    with artifacts.atomic_folder(layout.CELLS) as folder:
        for cell in plan.cells:
            artifacts.save_json(folder / layout.train_spec(cell.name).name, cell.train)
            artifacts.save_json(folder / layout.maps_spec(cell.name).name, cell.maps)
        artifacts.save_json(folder / layout.INDEX.name, plan.index())
    print(f"plan: {len(plan.cells)} cells, maps of {height} × {width} at {layer}, study {plan.study_key[:12]}")
