"""What an epoch is made of before and after a step, and the first half's own augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.active.oracles import parameters, pictures
from torch import Tensor

from auglens import rng
from auglens.active.step import Made
from auglens.batches import LabelledImages, Recipe, batches
from auglens.data.augmentations import Augmented, Part, augment
from auglens.data.order import epoch_order
from auglens.data.views import to_unit
from auglens.tasks import Batch

N = 20
BLUR = Part("gaussian_blur", parameters("gaussian_blur"))
AFFINE = Part("affine", parameters("affine"))
ELASTIC = Part("elastic", parameters("elastic"))
SHIFT = Part("channel_shift", parameters("channel_shift"))
JITTER = Part("color_jitter", parameters("color_jitter"))


def part(name: str, **changes: Any) -> Part:
    return Part(name, parameters(name, **changes))


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    masks = torch.zeros(N, 16, 16, dtype=torch.uint8)
    for row in range(1, N):
        masks[row, row % 7 : row % 7 + 6, row % 5 : row % 5 + 8] = 255
    return LabelledImages(pictures(N, seed=1, side=16), torch.arange(N) % 4, masks)


@pytest.fixture(scope="module")
def made() -> Made:
    """Images that a step made of seven rows."""
    rows = torch.tensor([0, 2, 3, 9, 11, 18, 19])
    masks = torch.rand(7, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    return Made(rows, pictures(7, seed=2, side=16), torch.arange(7) % 4, torch.zeros(7), masks)


def recipe(*parts: Part, **changes: Any) -> Recipe:
    return replace(Recipe(parts, 2, augmentation_seed=5, dropout_seed=None, order_seed=7), **changes)


def epoch_of(
    data: LabelledImages, one: Recipe, *, epoch: int = 4, batch_size: int = 6, **more: Any
) -> tuple[list[Batch], Tensor]:
    """The batches, and the values of the order at their positions: below N an original."""
    got = list(batches(data, one, epoch=epoch, batch_size=batch_size, **more))
    assert [len(batch.images) for batch in got[:-1]] == [batch_size] * (len(got) - 1)
    return got, torch.from_numpy(epoch_order(N, seed=one.order_seed, halves=one.halves))


def images_of(got: list[Batch]) -> Tensor:
    return torch.cat([batch.images for batch in got])


def partners_of(got: list[Batch]) -> tuple[Tensor, Tensor]:
    """Labels and shares by position; where a batch has none, its own labels and 0."""
    pairs = [batch.partner or (batch.labels, torch.zeros(len(batch.labels))) for batch in got]
    return torch.cat([one for one, _ in pairs]), torch.cat([share for _, share in pairs])


def replaced(data: LabelledImages, made: Made) -> LabelledImages:
    """The training images, the made ones in their rows."""
    images, masks = data.images.clone(), data.masks != 0
    for index, row in enumerate(made.rows.tolist()):
        images[row], masks[row] = made.images[index], made.masks[index]
    return LabelledImages(images, data.labels, masks)


def check(got: list[Batch], order: Tensor, first: Tensor, second: Tensor, data: LabelledImages) -> None:
    """Every position holds its half's image of its row. first, second: float32 [N,3,H,W]."""
    images = images_of(got)
    assert images.dtype == torch.float32
    assert len(images) == 2 * N
    for position, value in enumerate(order.tolist()):
        assert torch.equal(images[position], first[value] if value < N else second[value - N])
    assert torch.equal(torch.cat([batch.labels for batch in got]), data.labels[order % N])


@pytest.mark.parametrize("name", ["ada", "proxy_attention", "saliencymix", "attentive_cutmix", "ada_gradcam"])
def test_before_a_step_the_second_half_are_copies(data: LabelledImages, name: str) -> None:
    params = parameters("ada", method="gradcam") if name == "ada_gradcam" else parameters(name)
    got, order = epoch_of(data, recipe(Part(name, params)))
    check(got, order, to_unit(data.images), to_unit(data.images), data)
    assert all(batch.partner is None for batch in got)
    identity, _ = epoch_of(data, recipe(Part("identity", {})))
    assert torch.equal(images_of(got), images_of(identity))


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_after_a_step_the_made_images_stand_at_their_places(
    data: LabelledImages, made: Made, batch_size: int
) -> None:
    got, order = epoch_of(data, recipe(part("ada")), made=made, batch_size=batch_size)
    check(got, order, to_unit(data.images), to_unit(replaced(data, made).images), data)
    plain, _ = epoch_of(data, recipe(part("ada")), batch_size=batch_size)
    differ = (images_of(got) != images_of(plain)).flatten(1).any(1)
    expected = torch.tensor([value >= N and value - N in made.rows.tolist() for value in order.tolist()])
    assert torch.equal(differ, expected)
    assert int(differ.sum()) == 7


def test_a_step_that_made_nothing_leaves_copies(data: LabelledImages, made: Made) -> None:
    empty = Made(*(getattr(made, name)[:0] for name in Made.__dataclass_fields__))
    got, order = epoch_of(data, recipe(part("ada")), made=empty, masked=True)
    check(got, order, to_unit(data.images), to_unit(data.images), data)


def test_the_training_images_are_left_as_they_were(data: LabelledImages, made: Made) -> None:
    before = [data.images.clone(), data.masks.clone(), made.images.clone(), made.masks.clone()]
    epoch_of(data, recipe(part("ada"), BLUR, JITTER), made=made, masked=True)
    assert all(
        torch.equal(one, two)
        for one, two in zip(before, [data.images, data.masks, made.images, made.masks], strict=True)
    )


@pytest.mark.parametrize("rest", [(BLUR,), (AFFINE,), (JITTER, ELASTIC)])
@pytest.mark.parametrize("stepped", [True, False])
def test_the_rest_of_a_chain_is_applied_to_the_made_image(
    data: LabelledImages, made: Made, rest: tuple[Part, ...], stepped: bool
) -> None:
    got, order = epoch_of(data, recipe(part("ada"), *rest), made=made if stepped else None)
    source = replaced(data, made) if stepped else data
    expected = augment(rest, source.images, data.labels, torch.arange(N), seed=5, epoch=4)
    check(got, order, to_unit(data.images), expected.images, data)
    # It is another image for every epoch and every seed, as it is without a saliency-driven part before it.
    for other in (recipe(part("ada"), *rest, augmentation_seed=6), recipe(part("ada"), *rest)):
        again, _ = epoch_of(data, other, epoch=4 if other.augmentation_seed == 6 else 5, made=made)
        assert not torch.equal(images_of(again)[order >= N], images_of(got)[order >= N])
        assert torch.equal(images_of(again)[order < N], images_of(got)[order < N])


def test_an_augmented_image_without_a_saliency_driven_part_is_what_it_was(data: LabelledImages) -> None:
    got, order = epoch_of(data, recipe(BLUR, AFFINE))
    expected = augment((BLUR, AFFINE), data.images, data.labels, torch.arange(N), seed=5, epoch=4)
    check(got, order, to_unit(data.images), expected.images, data)


def test_mixed_labels_reach_the_loss(data: LabelledImages, made: Made) -> None:
    weights = torch.tensor([0.5, 0.25, 0.0, 1.0, 0.125, 0.75, 0.3])
    labels = torch.tensor([3, 2, 1, 0, 1, 0, 2])
    mixed = replace(made, partner_labels=labels, partner_weight=weights)
    got, order = epoch_of(data, recipe(part("saliencymix")), made=mixed)
    check(got, order, to_unit(data.images), to_unit(replaced(data, made).images), data)
    partner_labels, partner_weight = partners_of(got)
    for position, value in enumerate(order.tolist()):
        found = [index for index, row in enumerate(made.rows.tolist()) if value == row + N]
        weight = weights[found[0]] if found else torch.tensor(0.0)
        assert partner_weight[position] == weight
        if weight > 0:
            assert partner_labels[position] == labels[found[0]]
    assert int((partner_weight > 0).sum()) == 6
    # A chain after it changes pixels, not labels.
    chained, _ = epoch_of(data, recipe(part("saliencymix"), BLUR), made=mixed)
    assert torch.equal(partners_of(chained)[1], partner_weight)
    shares = partner_weight > 0
    assert torch.equal(partners_of(chained)[0][shares], partner_labels[shares])


def test_masks_come_with_their_images(data: LabelledImages, made: Made) -> None:
    got, order = epoch_of(data, recipe(part("ada")), made=made, masked=True)
    masks = torch.cat([batch.masks for batch in got])
    assert masks.dtype == torch.bool
    second = replaced(data, made).masks
    for position, value in enumerate(order.tolist()):
        assert torch.equal(masks[position], data.masks[value] != 0 if value < N else second[value - N])
    assert all(batch.masks is None for batch in epoch_of(data, recipe(part("ada")), made=made)[0])


@pytest.mark.parametrize("rest", [(AFFINE,), (BLUR, ELASTIC)])
def test_masks_move_with_the_rest_of_a_chain(data: LabelledImages, made: Made, rest: tuple[Part, ...]) -> None:
    got, order = epoch_of(data, recipe(part("ada"), *rest), made=made, masked=True)
    source = replaced(data, made)
    every = torch.arange(N)
    expected = augment(rest, source.images, data.labels, every, seed=5, epoch=4, masks=source.masks)
    check(got, order, to_unit(data.images), expected.images, data)
    masks = torch.cat([batch.masks for batch in got])
    assert torch.equal(masks[order >= N], expected.masks[order[order >= N] - N])
    assert torch.equal(masks[order < N], (data.masks != 0)[order[order < N]])
    assert not torch.equal(masks[order >= N], source.masks[order[order >= N] - N])


# The first half's own augmentation


def classic_by_hand(data: LabelledImages, parts: tuple[Part, ...], epoch: int) -> Augmented:
    """Its seed is one of its own, made from the order's, which all cells share (7 in these recipes)."""
    seed = rng.derive(7, "classic")
    return augment(parts, data.images, data.labels, torch.arange(N), seed=seed, epoch=epoch, masks=data.masks)


@pytest.mark.parametrize("parts", [(AFFINE,), (AFFINE, SHIFT, ELASTIC)])
@pytest.mark.parametrize("masked", [True, False])
def test_classic_augmentation_moves_image_and_mask_of_the_first_half(
    data: LabelledImages, made: Made, parts: tuple[Part, ...], masked: bool
) -> None:
    one = recipe(part("ada"), classic=parts)
    got, order = epoch_of(data, one, made=made, masked=masked)
    expected = classic_by_hand(data, parts, 4)
    assert not torch.equal(expected.masks, data.masks != 0)
    check(got, order, expected.images, to_unit(replaced(data, made).images), data)
    if masked:
        masks = torch.cat([batch.masks for batch in got])
        assert torch.equal(masks[order < N], expected.masks[order[order < N]])
        assert torch.equal(masks[order >= N], replaced(data, made).masks[order[order >= N] - N])


def test_it_begins_where_it_is_told_to(data: LabelledImages) -> None:
    one = recipe(part("ada"), classic=(AFFINE,), classic_from=3)
    for epoch in range(6):
        got, order = epoch_of(data, one, epoch=epoch, masked=True)
        first = to_unit(data.images) if epoch < 3 else classic_by_hand(data, (AFFINE,), epoch).images
        check(got, order, first, to_unit(data.images), data)


def test_it_is_the_same_for_all_cells(data: LabelledImages, made: Made) -> None:
    """For every aug and every seed of theirs, and for the reference; another in each epoch."""
    cells = [
        recipe(part("ada"), classic=(AFFINE,)),
        recipe(part("ada"), classic=(AFFINE,), augmentation_seed=6, dropout_seed=6),
        recipe(BLUR, classic=(AFFINE,)),
        recipe(Part("identity", {}), classic=(AFFINE,), augmentation_seed=None),
        recipe(classic=(AFFINE,), halves=1, augmentation_seed=None),
    ]
    halves = []
    for cell in cells:
        got, order = epoch_of(data, cell, made=made if cell.active else None)
        halves.append(images_of(got)[order < N])
    assert all(torch.equal(half, halves[0]) for half in halves[1:])
    again, order = epoch_of(data, cells[0], epoch=5)
    assert not torch.equal(images_of(again)[order < N], halves[0])


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_batch_size_changes_no_image_and_no_mask(data: LabelledImages, made: Made, batch_size: int) -> None:
    one = recipe(part("ada"), ELASTIC, classic=(AFFINE, SHIFT))
    expected, _ = epoch_of(data, one, made=made, masked=True)
    got, _ = epoch_of(data, one, made=made, masked=True, batch_size=batch_size)
    assert torch.equal(images_of(got), images_of(expected))
    assert torch.equal(torch.cat([b.masks for b in got]), torch.cat([b.masks for b in expected]))
