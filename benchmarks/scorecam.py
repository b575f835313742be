"""Score-CAM of a few images: ours and pytorch-grad-cam.

    python -m benchmarks.scorecam

Both start from the same contiguous float32 images on two cores and explain the predicted classes at the same
layer, which is handed to them; maps are finished by both. The limit is the forward passes that the method is made
of, one per channel and image, as one plain loop under `inference_mode` with weights and images in `channels_last`,
made ready: we may run fewer, since channels without a range share one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gradcam import lively
from benchmarks.timing import alternate, difference, note, row

# timm's name, image size in pixels, output_stride, images at a time
SETTINGS: list[tuple[str, int, int | None, int]] = [("resnet18", 64, 8, 4), ("efficientnet_b0", 64, 16, 4)]
PEER, LIMIT = "pytorch-grad-cam", "forward passes, channels_last, inference_mode"
TOLERANCE = 1e-3  # of a finished map in [0, 1]
AT_ONCE = 32


def contenders(name: str, size: int, output_stride: int | None, batch: int) -> dict[str, Callable[[], Any]]:
    from auglens import compat
    from auglens.saliency import explain, finish, target_layer

    compat.import_torchvision()
    from pytorch_grad_cam import ScoreCAM

    warnings.filterwarnings("ignore", "maps.layer")
    ours, peer, plain = (lively(name, size, output_stride) for _ in range(3))
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(3))
    layer = target_layer(ours, image_size=size)
    cam = ScoreCAM(peer, [peer.get_submodule(layer)])
    cam.batch_size = AT_ONCE
    plain.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        channels = plain.forward_features(images[:1]).shape[1]
    ready = images[:1].expand(AT_ONCE, -1, -1, -1).contiguous(memory_format=torch.channels_last)

    def passes() -> Any:
        with torch.inference_mode():
            for _ in range(-(-channels * batch // AT_ONCE)):
                found = plain(ready)
        return found.numpy()

    return {
        "ours": lambda: finish(explain(ours, images, method="scorecam", layer=layer, batch_size=batch).raw, size),
        PEER: lambda: cam(images, None),
        LIMIT: passes,
    }


def main() -> bool:
    met = True
    for name, size, output_stride, batch in SETTINGS:
        note(f"scorecam: {name}, {size} px, {batch} images")
        arguments = {"name": name, "size": size, "output_stride": output_stride, "batch": batch}
        found = alternate(
            "benchmarks.scorecam",
            "contenders",
            arguments,
            repetitions=3,
            tuned=(True, False),
            only_untuned=(PEER,),
        )
        met &= row(
            f"scorecam: {name}, {size} px",
            found,
            items=batch,
            unit="image",
            peers={f"{PEER}, default allocator": 3.0, PEER: 3.0},
            limit=LIMIT,
            limit_target=0.0,
            apart=difference(found["ours"].result, found[PEER].result),
            tolerance=TOLERANCE,
        )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
