"""Every augmentation over batches of 256 images of 32×32: ours and torchvision v2 image by image.

    python -m benchmarks.augmentations

From uint8 [256,3,32,32] to float32 [256,3,32,32] in [0, 1]. `ours` is one call of `augment` per batch; the peer
makes 256 images as a Dataset's `__getitem__` would and stacks them. Both may use two threads, but the peer's
images are too small for torch to share one out: `ours, one thread` stands beside it. The limit is to read the same
bytes and write the same floats, `to_unit` of a ready batch into a fresh tensor; beside it a plain copy of the
floats.

Images drawn at random cannot be equal, so equality is checked by giving torchvision's functions the very numbers
that ours drew. And a batch of 256 must equal its images made one by one, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auglens import compat, rng
from auglens.data.augmentations import Part, augment, parse
from auglens.data.views import to_unit
from benchmarks.augmentations_peer import PARAMETERS, SIDE, expected, item_of
from benchmarks.timing import THREADS, Timed, alternate, difference, note, row

AUGS = (
    *("affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop"),
    *("identity", "noise", "affine+color_jitter"),
)
BATCH, BATCHES = 256, 4
SEED, EPOCH = 1, 0
REPETITIONS = 9  # batches take milliseconds, so that whatever else runs shows
ONE_THREAD, PEER, COPY, LIMIT = "ours, one thread", "torchvision v2, image by image", "copy", "read and write"
# What these images are made for: EfficientNet-B0 at 64 px trained on two cores, images/s (benchmarks/training.py).
TRAINING = 260.0
# Against torchvision with the same numbers; none: no function of theirs, compared with slices or whole numbers.
TOLERANCE = {
    "affine": 1e-4,  # float32 coordinates of up to 16 pixels from the middle, over steps of up to one per pixel
    "cutmix": 0.0,
    "color_jitter": 1e-5,  # a nearly grey colour's hue magnifies rounding
    "elastic": 2e-4,  # shifts on a grid of 2**-20 after the first filter, times alpha, and float32 coordinates
    "equalize": 0.0,
    "gaussian_blur": 2e-6,  # float32 sums of 10 terms against one of 25
    "random_crop": 1e-5,  # float32 coordinates
    "identity": 0.0,
    "noise": 0.0,
    "affine+color_jitter": 1e-3,  # affine's, through contrast, saturation and hue, which magnify differences
}


def parts(aug: str) -> list[Part]:
    return [Part(name, PARAMETERS.get(name, {})) for name in parse(aug)]


def pictures() -> tuple[Tensor, Tensor]:
    """uint8 [BATCH · BATCHES,3,32,32], smooth colours under noise, and their labels."""
    generator = torch.Generator().manual_seed(8)
    coarse = torch.rand(BATCH * BATCHES, 3, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic") * 255
    noisy = smooth + 15 * torch.randn(smooth.shape, generator=generator)
    return noisy.round().clamp(0, 255).to(torch.uint8), torch.arange(BATCH * BATCHES) % 10


def batches() -> Sequence[Tensor]:
    return torch.randperm(BATCH * BATCHES, generator=torch.Generator().manual_seed(2)).split(BATCH)


def contenders() -> dict[str, Callable[[], Any]]:
    """Called "AUG/CONTENDER"; each makes all batches, ours returns the first."""
    images, labels = pictures()
    plan = batches()
    ready = [images[rows] for rows in plan]
    floats = [to_unit(one) for one in ready]
    found: dict[str, Callable[[], Any]] = {}

    def ours(aug: str) -> np.ndarray:
        made = [augment(parts(aug), images, labels, rows, seed=SEED, epoch=EPOCH).images for rows in plan]
        return made[0].numpy()

    def one_thread(aug: str) -> np.ndarray:
        torch.set_num_threads(1)
        made = ours(aug)
        torch.set_num_threads(THREADS)
        return made

    def theirs(item: Callable[[int], Tensor]) -> None:
        for rows in plan:
            torch.stack([item(index) for index in rows.tolist()])

    for aug in AUGS:
        found[f"{aug}/ours"] = partial(ours, aug)
        found[f"{aug}/{ONE_THREAD}"] = partial(one_thread, aug)
        found[f"{aug}/{PEER}"] = partial(theirs, item_of(aug, images))
        found[f"{aug}/{LIMIT}"] = lambda: [to_unit(one) for one in ready] and None
        found[f"{aug}/{COPY}"] = lambda: [one.clone() for one in floats] and None
    return found


def apart(aug: str, made: np.ndarray, count: int = 32) -> float:
    """The largest difference of our first images from torchvision's with the same numbers."""
    from auglens.data.augmentations.chain import CUTMIX_WORDS, KERNELS

    images, labels = pictures()
    rows = batches()[0][:count]
    if aug == "elastic":  # mirrored at the edge by default, which torchvision does not do: black in both
        black = Part(aug, PARAMETERS[aug] | {"outside": "zeros"})
        made = augment([black], images, labels, rows, seed=SEED, epoch=EPOCH).images.numpy()
    widest = 0.0
    for at, mine in zip(rows.tolist(), made, strict=False):
        image = to_unit(images[at])
        for name in parse(aug):
            width = CUTMIX_WORDS if name == "cutmix" else KERNELS[name].words((3, SIDE, SIDE))
            stream = f"augmentation/{name}"
            drawn = rng.words(seed=SEED, stream=stream, epoch=EPOCH, rows=np.array([at]), width=width)[0]
            image = expected(name, image, drawn, at, images)
        widest = max(widest, difference(mine, image.numpy()))
    return widest


def one_by_one(aug: str) -> np.ndarray:
    """The first batch, each image made alone."""
    images, labels = pictures()
    alone = [augment(parts(aug), images, labels, r, seed=SEED, epoch=EPOCH) for r in batches()[0].split(1)]
    return torch.cat([one.images for one in alone]).numpy()


def main() -> bool:
    compat.import_torchvision()
    torch.set_num_threads(THREADS)
    note(f"augmentations: {len(AUGS)} augs, {BATCHES} batches of {BATCH}")
    # Under our allocator alone: it made no difference beyond the spread, neither to ours nor to the peer.
    together = alternate("benchmarks.augmentations", "contenders", repetitions=REPETITIONS)
    met = True
    for aug in AUGS:
        found: dict[str, Timed] = {
            label.partition("/")[2]: timed for label, timed in together.items() if label.startswith(f"{aug}/")
        }
        mine = found["ours"].result
        same = np.array_equal(mine, one_by_one(aug))
        rate = BATCH * BATCHES / found["ours"].median
        met &= same and row(
            f"augmentations: {aug}, batches of {BATCH}",
            found,
            items=BATCH * BATCHES,
            unit="image",
            peers={PEER: 3.0},
            limit=LIMIT,
            apart=apart(aug, mine),
            tolerance=TOLERANCE[aug],
            batch_equals_single_images=same,
            of_copy=found[COPY].median / found["ours"].median,
            # Every augmented image trains beside its original.
            share_of_epoch=(1 / rate) / (1 / rate + 2 / TRAINING),
        )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
