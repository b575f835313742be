"""The window of greatest saliency of many maps: ours, and the integral image of scikit-image map by map.

    python -m benchmarks.windows

Both start from the same float32 maps in memory and end with the top and left of every window. The limit is one
integral image in float64 of all maps: two cumulative sums, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.timing import alternate, note, row

SETTINGS = [(4096, 32, 12), (256, 256, 20)]  # maps, side in pixels, window in pixels
PEER, LIMIT = "scikit-image's integral_image, map by map", "two cumulative sums in float64"


def contenders(count: int, side: int, window: int) -> dict[str, Callable[[], Any]]:
    from skimage.transform import integral_image

    from auglens.active.windows import greatest_windows

    maps = torch.rand(count, side, side, generator=torch.Generator().manual_seed(5))
    arrays = maps.numpy()

    def one_by_one() -> np.ndarray:
        found = np.empty((count, 2), np.int64)
        for place, values in enumerate(arrays):
            sums = np.pad(integral_image(values, dtype=np.float64), ((1, 0), (1, 0)))
            z = window
            windows = sums[z:, z:] - sums[:-z, z:] - sums[z:, :-z] + sums[:-z, :-z]
            found[place] = np.unravel_index(windows.argmax(), windows.shape)
        return found

    return {
        "ours": lambda: greatest_windows(maps, window).numpy(),
        PEER: one_by_one,
        LIMIT: lambda: maps.to(torch.float64).cumsum(1).cumsum(2).numpy(),
    }


def main() -> bool:
    met = True
    for count, side, window in SETTINGS:
        note(f"windows: {count} maps of {side} × {side}, {window} px")
        found = alternate("benchmarks.windows", "contenders", {"count": count, "side": side, "window": window})
        met &= row(
            f"windows: {count} maps of {side} × {side}",
            found,
            items=count,
            unit="map",
            peers={PEER: 1.0},
            limit=LIMIT,
            limit_target=0.0,
            apart=float(np.abs(found["ours"].result - found[PEER].result).max()),
            tolerance=0.0,
        )
    return met


if __name__ == "__main__":
    raise SystemExit(not main())
