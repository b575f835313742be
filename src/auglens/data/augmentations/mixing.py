"""CutMix: a patch of another image of the whole training set (Yun et al. 2019, arXiv:1905.04899)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auglens.data.augmentations import Augmented
from auglens.data.augmentations.schema import Parameters
from auglens.data.views import to_shares, to_unit
from auglens.rng import fractions


def partners(drawn: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """drawn: float64 [B] in [0, 1); rows: [B] → int64 [B]: any other row, equally likely (n = 1: itself)."""
    other = np.minimum((drawn * (n - 1)).astype(np.int64), max(n - 2, 0))
    return np.where(n > 1, other + (other >= rows), rows)


def boxes(drawn: np.ndarray, alpha: float, height: int, width: int) -> np.ndarray:
    """drawn: float64 [B,3] in [0, 1) → int64 [B,4]: top, bottom, left, right of the patches, ends exclusive.

    The patch has the image's aspect ratio and 1 - λ of its area, λ from Beta(alpha, alpha); its centre is
    uniform and what reaches over the edge is cut off, so the area covered can be less.
    """
    share = drawn[:, 0]  # 1 - λ; Beta(alpha, alpha) is symmetric, and for alpha = 1 uniform
    if alpha != 1:
        from scipy.special import betaincinv  # a quarter of a second to import, and rarely needed

        share = betaincinv(alpha, alpha, share)
    sides = np.array([height, width])
    half = (np.sqrt(share)[:, None] * sides).astype(np.int64) // 2
    centre = (drawn[:, 1:3] * sides).astype(np.int64)
    first, last = np.clip(centre - half, 0, sides), np.clip(centre + half, 0, sides)
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)


def cutmix(
    made: Augmented,
    words: np.ndarray,
    params: Parameters,
    *,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    masks: Tensor | None = None,
) -> Augmented:
    """A patch of an un-augmented image of the training set on each of `made`.

    images: uint8 [N,C,H,W]; labels: int64 [N]; rows: int64 [B], the sources of `made`; words: uint64 [B,4].
    label=source (protocol A) keeps the source's label; label=mixed weighs the partner's by the area it
    covers. masks: uint8 or bool [N,H,W]; the patch brings the partner's.
    """
    device = made.images.device
    h, w = images.shape[-2:]
    drawn = fractions(words)
    partner = torch.from_numpy(partners(drawn[:, 3], rows.cpu().numpy(), len(images))).to(device)
    box = torch.from_numpy(boxes(drawn[:, :3], params["alpha"], h, w)).to(device)
    top, bottom, left, right = box.view(-1, 4, 1).unbind(1)
    y, x = torch.arange(h, device=device), torch.arange(w, device=device)
    inside = ((y >= top) & (y < bottom))[:, None, :, None] & ((x >= left) & (x < right))[:, None, None, :]
    patches = to_unit(images.index_select(0, partner))
    mixed = torch.where(inside, patches, made.images, out=made.images)
    moved = made.masks
    if masks is not None and moved is not None:
        moved = torch.where(inside[:, 0], to_shares(masks.index_select(0, partner)), moved)
    if params["label"] == "source":
        return Augmented(mixed, made.labels, made.partner_labels, made.partner_weight, moved)
    weight = ((bottom - top) * (right - left)).squeeze(1).to(torch.float32) / (h * w)
    return Augmented(mixed, made.labels, labels[partner], weight, moved)
