"""Grad-CAM of one batch: ours, pytorch-grad-cam and a plain forward pass.

    python -m benchmarks.gradcam

Every contender starts from the same contiguous float32 images on two cores and explains the predicted classes at
the same layer, which is handed to them. `ours` gives raw maps, logits and targets by `auglens.saliency.explain`;
`ours, layer searched` looks for it first: one run on one blank image, for however many images;
`ours, finished` scales and upsamples them too, which pytorch-grad-cam always does; `ours, two targets` explains
both the predicted classes and labels of which a third are others, as the stage `explain` does. The limit is the
plain forward pass under `inference_mode` with weights and images in `channels_last`, made ready.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import alternate, difference, note, row

# timm's name, image size in pixels, output_stride (maps of at least 4×4), images at a time
SETTINGS: list[tuple[str, int, int | None, int]] = [
    ("efficientnet_b0", 224, None, 32),
    ("resnet18", 224, None, 32),
    ("efficientnet_b0", 64, 16, 128),
]
LIMIT, PEER = "forward, channels_last, inference_mode", "pytorch-grad-cam"
TOLERANCE = 1e-4  # of a finished map in [0, 1]


def lively(name: str, size: int, output_stride: int | None) -> nn.Module:
    """A network whose maps are neither flat nor saturated: every parameter moved, batch norm with statistics."""
    from auglens.config import ModelConfig
    from auglens.models import build

    settings = ModelConfig(name=name, image_size=size, output_stride=output_stride, dropout=0.0, drop_path=0.0)
    model = build(settings, 10, init_seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=generator))
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        for _ in range(3):
            model.train()(2 * torch.randn(4, 3, size, size, generator=generator))
    return model.eval()


def contenders(name: str, size: int, output_stride: int | None, batch: int) -> dict[str, Callable[[], Any]]:
    from auglens import compat
    from auglens.saliency import explain, explain_each, finish, target_layer

    compat.import_torchvision()
    from pytorch_grad_cam import GradCAM

    warnings.filterwarnings("ignore", "maps.layer")  # of 4×4 cells: coarse, and so they are for all
    ours, peer, plain = (lively(name, size, output_stride) for _ in range(3))
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(3))
    layer = target_layer(ours, image_size=size)
    cam = GradCAM(peer, [peer.get_submodule(layer)])
    plain.to(memory_format=torch.channels_last)
    ready = images.contiguous(memory_format=torch.channels_last)

    def explained() -> Any:
        found = explain(ours, images, layer=layer, batch_size=batch)
        return found.raw, found.logits, found.targets

    labels = explained()[2]
    labels[::3] = (labels[::3] + 1) % 10

    def both() -> Any:
        found = explain_each(ours, images, [None, labels], layer=layer, batch_size=batch)
        return found[0].raw, found[1].raw, found[1].targets

    def forward() -> Tensor:
        with torch.inference_mode():
            return plain(ready).numpy()

    return {
        "ours": explained,
        "ours, two targets": both,
        "ours, layer searched": lambda: explain(ours, images, batch_size=batch).raw,
        "ours, finished": lambda: finish(explained()[0], size),
        PEER: lambda: (cam(images, None), cam.outputs.detach().numpy()),
        LIMIT: forward,
    }


def main() -> bool:
    met = True
    for name, size, output_stride, batch in SETTINGS:
        note(f"gradcam: {name}, {size} px, {batch} images")
        arguments = {"name": name, "size": size, "output_stride": output_stride, "batch": batch}
        found = alternate(
            "benchmarks.gradcam", "contenders", arguments, tuned=(True, False), only_untuned=(PEER, "ours")
        )
        raw, logits, targets = found["ours"].result
        maps, scores = found[PEER].result
        met &= row(
            f"gradcam: {name}, {size} px, maps of {raw.shape[1]}×{raw.shape[2]}",
            found,
            items=batch,
            unit="image",
            peers={f"{PEER}, default allocator": 4.0, PEER: 3.0},
            limit=LIMIT,
            limit_target=0.9,
            apart=difference(found["ours, finished"].result, maps),
            tolerance=TOLERANCE,
            logits_apart={
                "pytorch-grad-cam": difference(logits, scores) / float(abs(scores).max()),
                "limit": difference(logits, found[LIMIT].result) / float(abs(scores).max()),
            },
            same_targets=bool((targets == scores.argmax(1)).all()),
            second_target_costs=found["ours, two targets"].median / found["ours"].median - 1,
        )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
