"""plan: parameters + prepared data's hash → one spec per cell and the index, in data/cells."""

from __future__ import annotations

from auglens import artifacts, config
from auglens.active import specs as active
from auglens.data.augmentations import schema
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
    from auglens.saliency.foreground import PREFIX, Foreground, foreground_layer
    from auglens.saliency.methods import try_out

    size = settings.model.image_size
    model = build(settings.model, classes, init_seed=0)
    if settings.data.task == "segmentation":
        model = Foreground(model)
        layer = PREFIX + foreground_layer(model.network, settings.maps.layer, image_size=size)
    else:
        layer = target_layer(model, settings.maps.layer, image_size=size)
    check_pixels(settings, pixels)
    for method in (*settings.score.methods, *active_methods(settings)):
        try_out(method, model, layer, size)
    found = try_out(settings.maps.method, model, layer, size)
    if own:
        from auglens.own import checks

        found = checks.check(own, settings, model, layer, pixels) or found
    return layer.removeprefix(PREFIX), found


def active_methods(settings: config.Config) -> list[str]:
    """What the study's saliency-driven augs explain by."""
    parts = [schema.active_part(schema.parse(name)) for name in settings.aug.names]
    return [(settings.aug.of(part) or {})["method"] for part in parts if part is not None]


def check_pixels(settings: config.Config, pixels: int) -> None:
    """ValueError where something is larger than the images."""
    sides = {"robustness.size": settings.robustness.size or 1}
    for name in settings.aug.names:
        part = schema.active_part(schema.parse(name))
        params = (settings.aug.of(part) or {}) if part else {}
        shown = "ada" if part and active.fixed_method(part) else part
        sides |= {f"aug.{shown}.{knob}": params[knob] for knob in ("window", "grid") if knob in params}
    for key, side in sides.items():
        if side > pixels:
            raise ValueError(
                f"parameter {key}: expected 1 to {pixels} pixels, the side of the images, got {side}; lower it"
            )


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
