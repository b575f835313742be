"""torchvision's side of `benchmarks.augmentations`: each aug for one image, and its functions with our numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from auglens import compat, rng
from auglens.data.augmentations import parse
from auglens.data.augmentations.geometric import windows
from auglens.data.augmentations.mixing import boxes, partners
from auglens.data.views import to_unit

PARAMETERS = yaml.safe_load((Path(__file__).parents[1] / "conf/aug/_parameters.yaml").read_text())
SIDE = 32  # pixels


def item_of(aug: str, images: Tensor) -> Callable[[int], Tensor]:
    """`__getitem__`: one augmented image, float32 [3,32,32] in [0, 1]."""
    compat.import_torchvision()
    from torchvision.transforms import v2

    unit = v2.ToDtype(torch.float32, scale=True)

    def cutmix(image: Tensor) -> Tensor:
        """v2.CutMix works on batches alone: the same patch, by slices."""
        partner = images[int(torch.randint(len(images), ()))]
        half = (1 - torch.rand(()).item()) ** 0.5 / 2
        y, x = torch.randint(SIDE, (2,)).tolist()
        top, bottom = max(int(y - SIDE * half), 0), min(int(y + SIDE * half), SIDE)
        left, right = max(int(x - SIDE * half), 0), min(int(x + SIDE * half), SIDE)
        image = image.clone()
        image[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
        return image

    def noise(image: Tensor) -> Tensor:
        steps = torch.randint(0, 2, image.shape, dtype=torch.int16) * 2 - 1
        return (image + steps).clamp_(0, 255).to(torch.uint8)

    # On uint8 or on float32, whichever was faster when both were tried.
    def transforms(name: str) -> list[Callable[[Tensor], Tensor]]:
        p = PARAMETERS.get(name, {})
        bilinear = v2.InterpolationMode.BILINEAR
        if name == "affine":
            shift = (p["translate"], p["translate"])
            return [unit, v2.RandomAffine(p["degrees"], shift, p["scale"], p["shear"], bilinear)]
        if name == "color_jitter":
            return [unit, v2.ColorJitter(p["brightness"], p["contrast"], p["saturation"], p["hue"])]
        if name == "elastic":  # twice alpha: theirs shifts by alpha / 2 pixels
            return [unit, v2.ElasticTransform(2 * p["alpha"], p["sigma"])]
        if name == "equalize":
            return [v2.RandomEqualize(p["p"]), unit]
        if name == "gaussian_blur":
            return [unit, v2.GaussianBlur(p["kernel_size"], p["sigma"])]
        if name == "random_crop":
            return [v2.RandomResizedCrop(SIDE, p["scale"], p["ratio"], bilinear, antialias=False), unit]
        return {"identity": [unit], "noise": [noise, unit], "cutmix": [cutmix, unit]}[name]

    steps = [step for name in parse(aug) for step in transforms(name) if step is not unit]
    steps.insert(0 if transforms(parse(aug)[0])[0] is unit else len(steps), unit)

    def item(index: int) -> Tensor:
        image = images[index]
        for step in steps:
            image = step(image)
        return image

    return item


def expected(name: str, image: Tensor, drawn: np.ndarray, at: int, images: Tensor) -> Tensor:
    """image: float32 [3,32,32]; drawn: uint64 [width], what ours drew for row `at` → theirs from them."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as tv

    p = PARAMETERS.get(name, {})
    u = rng.fractions(drawn)

    def around(fraction: float, reach: float, middle: float = 0.0) -> float:
        return float(middle + reach * (2 * fraction - 1))

    if name == "affine":
        low, high = p["scale"]
        return tv.affine(
            image,
            angle=around(u[0], p["degrees"]),
            shear=[around(u[1], p["shear"]), 0.0],
            scale=low + (high - low) * float(u[2]),
            translate=[around(u[3], p["translate"]) * SIDE, around(u[4], p["translate"]) * SIDE],
            interpolation=InterpolationMode.BILINEAR,
        )
    if name == "color_jitter":
        for fraction, change in zip(u, ("brightness", "contrast", "saturation"), strict=False):
            image = getattr(tv, f"adjust_{change}")(image, around(fraction, p[change], 1.0))
        return tv.adjust_hue(image, around(u[3], p["hue"]))
    if name == "elastic":
        noise = (2 * drawn.astype("<u8").view("<u2").astype(np.float32) - 65535) / 65536
        side = 2 * (int(8 * p["sigma"] + 1) // 2) + 1
        smooth = tv.gaussian_blur(torch.from_numpy(noise).view(2, SIDE, SIDE), [side] * 2, [p["sigma"]] * 2)
        return tv.elastic(image, (smooth * p["alpha"] * 2 / SIDE).permute(1, 2, 0)[None])
    if name == "equalize":
        return to_unit(tv.equalize((image * 255).round().to(torch.uint8)))
    if name == "gaussian_blur":
        low, high = p["sigma"]
        return tv.gaussian_blur(image, [p["kernel_size"]] * 2, [low + (high - low) * float(u[0])] * 2)
    if name == "random_crop":
        window = windows(u[None], p, SIDE, SIDE)[0].tolist()
        return tv.resized_crop(image, *window, [SIDE, SIDE], antialias=False)
    if name == "noise":
        text = "".join(f"{byte:08b}" for word in drawn.tolist() for byte in word.to_bytes(8, "little"))
        steps = torch.tensor([1 if bit == "1" else -1 for bit in text]).view(image.shape)
        return to_unit(((image * 255).round() + steps).clamp(0, 255).to(torch.uint8))
    if name == "cutmix":
        top, bottom, left, right = boxes(u[None, :3], p["alpha"], SIDE, SIDE)[0]
        partner = int(partners(u[3:], np.array([at]), len(images))[0])
        image = image.clone()
        image[:, top:bottom, left:right] = to_unit(images[partner, :, top:bottom, left:right])
    return image  # identity, and the end of cutmix
