"""Which test images are scored."""

from __future__ import annotations

import numpy as np

from auglens.artifacts import Array


def chosen(count: int, masks: Array | None, *, images: int | None, least_mask: float) -> Array:
    """Places among `count` test images, int64, ascending: evenly spread over those that qualify.

    masks: bool [N,H,W] or None; images: how many at most, None = all; least_mask: share of the image that a mask
    must have. ValueError where masks are asked for and there are none, or none is large enough.
    """
    places = np.arange(count)
    if least_mask > 0:
        if masks is None:
            raise ValueError(
                f"score.least_mask: expected 0, since the data have no masks, got {least_mask:g}; set it to 0"
            )
        shares = masks.mean((1, 2))
        places = np.flatnonzero(shares >= least_mask)
        if not len(places):
            raise ValueError(
                f"score.least_mask: no test image's mask has {least_mask:g} of its pixels; the largest has"
                f" {shares.max():.2g}: lower it"
            )
    if images is None or images >= len(places):
        return places
    return places[np.linspace(0, len(places) - 1, images).round().astype(np.int64)]
