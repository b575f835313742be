"""The loss and the scores of a segmentation, by hand and pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from auglens.tasks import SEGMENTATION, TASKS, Batch, dice


def batch(masks: Tensor | None) -> Batch:
    count = 1 if masks is None else len(masks)
    return Batch(torch.zeros(count, 3, 4, 4), torch.zeros(count, dtype=torch.int64), None, masks)


def loss_by_hand(logits: np.ndarray, mask: np.ndarray) -> float:
    """One image: float64 [H,W] and bool [H,W]."""
    entropy, together, predicted, real = 0.0, 0.0, 0.0, 0.0
    for x, m in zip(logits.ravel().tolist(), mask.ravel().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
        # −log p and −log(1 − p), from the logit: exact where p is 0 or 1 to a double
        entropy += math.log1p(math.exp(-abs(x))) + max(-x if m else x, 0.0)
        together += p * m
        predicted += p
        real += m
    return entropy / logits.size + 1 - (2 * together + 1) / (predicted + real + 1)


def test_the_loss_of_two_pixels_by_hand() -> None:
    outputs = torch.tensor([[[[0.0, 0.0]]]])  # p = 0.5 and 0.5, of which the first is the object
    masks = torch.tensor([[[True, False]]])
    # −log 0.5 + 1 − (2 · 0.5 + 1) / (1 + 1 + 1)
    assert float(SEGMENTATION.loss(outputs, batch(masks))) == pytest.approx(math.log(2) + 1 / 3, rel=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_loss_pixel_by_pixel(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(5, 1, 6, 7, generator=generator) * scale
    masks = torch.rand(5, 6, 7, generator=generator) < 0.3
    masks[1], masks[2] = False, True
    one_by_one = [
        loss_by_hand(one[0].double().numpy(), mask.numpy()) for one, mask in zip(outputs, masks, strict=True)
    ]
    assert float(SEGMENTATION.loss(outputs, batch(masks))) == pytest.approx(np.mean(one_by_one), rel=1e-5)
    scores = SEGMENTATION.scores(outputs, masks)["loss"]
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores.numpy(), one_by_one, rtol=1e-5)


def test_the_loss_has_a_gradient_that_lowers_it() -> None:
    outputs = torch.randn(3, 1, 5, 5, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    masks = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(2)) < 0.4
    loss = SEGMENTATION.loss(outputs, batch(masks))
    (slope,) = torch.autograd.grad(loss, outputs)
    # more foreground where the object is, less where it is not
    assert bool((slope[:, 0][masks] < 0).all())
    assert bool((slope[:, 0][~masks] > 0).all())
    assert SEGMENTATION.loss(outputs - slope, batch(masks)).item() < loss.item()


def test_a_loss_without_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="masks") as caught:
        SEGMENTATION.loss(torch.zeros(1, 1, 4, 4), batch(None))
    assert str(caught.value) == (
        "masks: expected those of every image, for the task is segmentation, got none; pass them"
    )


def test_dice_by_hand() -> None:
    predicted = torch.tensor(
        [[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]], [[1, 1, 1, 1]]]
    ).bool()
    masks = torch.tensor([[[1, 0, 1, 1]], [[0, 0, 0, 0]], [[1, 0, 0, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 1]]]).bool()
    found = dice(predicted, masks)
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found.numpy(), [2 / 5, math.nan, 0.0, 0.0, 1.0])


def test_scores_and_the_prediction() -> None:
    generator = torch.Generator().manual_seed(4)
    outputs = torch.randn(6, 1, 5, 5, generator=generator)
    masks = torch.rand(6, 5, 5, generator=generator) < 0.4
    outputs[3], masks[3] = -1, False
    outputs[4, 0, 0] = 0.0  # of even odds: no foreground
    predicted = SEGMENTATION.predict(outputs)
    assert predicted.dtype == torch.bool
    assert torch.equal(predicted, outputs[:, 0] > 0)
    scores = SEGMENTATION.scores(outputs, masks)
    accuracy = SEGMENTATION.accuracy(outputs, masks)
    assert torch.equal(scores["accuracy"], accuracy)
    for index in range(6):
        p, m = predicted[index].numpy(), masks[index].numpy()
        assert float(accuracy[index]) == np.mean(p == m)
        expected = 2 * (p & m).sum() / (p.sum() + m.sum()) if (p | m).any() else math.nan
        assert float(scores["dice"][index]) == pytest.approx(expected, nan_ok=True)
    assert bool(scores["dice"].isnan()[3])
    assert not bool(scores["dice"].isnan()[[0, 1, 2, 4, 5]].any())


def test_the_task_says_that_it_segments() -> None:
    assert SEGMENTATION.segments
    assert not TASKS["classification"].segments
    assert TASKS["segmentation"] is SEGMENTATION
