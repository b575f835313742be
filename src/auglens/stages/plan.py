"""plan: parameters + prepared data's hash → one spec per cell and the index, in data/cells."""

from __future__ import annotations

from auglens import artifacts, config
from auglens.own import loading
from auglens.plan import make_plan
from auglens.stages import layout


def check(
    settings: config.Config, classes: int, pixels: int, own: loading.Own | None = None
) -> tuple[str, tuple[int, int]]:
    """The layer that will be explained and the size of its maps; ValueError before anything is trained in vain
    for an unknown network, one that cannot follow a setting, maps too small to compare, or a function of one's
    own that breaks a rule. pixels: side of the data's images."""
    from auglens.models import build  # torch and timm: needed here alone
    from auglens.saliency import target_layer
    from auglens.saliency.methods import try_out

    size = settings.model.image_size
    model = build(settings.model, classes, init_seed=0)
    layer = target_layer(model, settings.maps.layer, image_size=size)
    for method in settings.score.methods:
        try_out(method, model, layer, size)
    found = try_out(settings.maps.method, model, layer, size)
    if own:
        from auglens.own import checks

        found = checks.check(own, settings, model, layer, pixels) or found
    return layer, found


def run() -> None:
    settings = config.load()
    manifest = artifacts.load_json(layout.SPLITS / "manifest.json", ("content", "classes", "size", "masks"))
    if settings.score.least_mask > 0 and not manifest["masks"]:
        least = settings.score.least_mask
        raise ValueError(f"score.least_mask: expected 0, since the data have no masks, got {least:g}; set it to 0")
    own = loading.load(settings.own) if settings.own_names else None
    layer, (height, width) = check(settings, len(manifest["classes"]), manifest["size"], own)
    plan = make_plan(settings, manifest["content"], own.source if own else None)
    with artifacts.atomic_folder(layout.CELLS) as folder:
        for cell in plan.cells:
            artifacts.save_json(folder / layout.train_spec(cell.name).name, cell.train)
            artifacts.save_json(folder / layout.maps_spec(cell.name).name, cell.maps)
        artifacts.save_json(folder / layout.INDEX.name, plan.index())
        artifacts.save_json(folder / "measure.json", plan.measure)
    print(f"plan: {len(plan.cells)} cells, maps of {height} × {width} at {layer}, study {plan.study_key[:12]}")
