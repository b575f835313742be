"""The one shuffle that every augmented set shares (protocol A)."""

from __future__ import annotations

import numpy as np

from auglens.rng import numpy_generator


def epoch_order(n: int, *, seed: int, halves: int) -> np.ndarray:
    """n training images → int64 [halves * n], the same for every epoch and every aug.

    A value v < n is original v, a value v >= n the augmented image of source v - n: the concatenation of both
    halves, in the originals' order, is shuffled once with a seed of its own, so that position k has the same
    source in every augmented set. halves=1 (the reference, `reseed`) is that same shuffle restricted to the
    originals.
    """
    if n < 1:
        raise ValueError(f"epoch_order: expected n of 1 or more training images, got {n}; check the split")
    if halves not in (1, 2):
        raise ValueError(
            f"epoch_order: expected halves of 1 (originals) or 2 (and their augmented images), got {halves}"
        )
    order = numpy_generator(seed, "order").permutation(2 * n).astype(np.int64, copy=False)
    return order if halves == 2 else order[order < n]
