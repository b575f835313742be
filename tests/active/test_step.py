"""A step: which images, explained how, changed into what; and what it must leave alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.active import oracles
from tests.active.oracles import LAYER, VIEW, network, parameters, pictures, segmenter
from torch import Tensor, nn

from auglens.active import step
from auglens.active.step import Made, Memory, Step, Training, make
from auglens.active.windows import at_pixels
from auglens.data.augmentations import Part
from auglens.data.views import View, to_unit
from auglens.saliency import explain
from auglens.saliency.foreground import explain_foreground
from auglens.tasks import CLASSIFICATION, SEGMENTATION

ALL = ("ada", "proxy_attention", "saliencymix", "attentive_cutmix")


def part(name: str, **changes: Any) -> Part:
    return Part(name, parameters(name, **changes))


def taken(
    model: nn.Module, training: Training, one: Part, *, seed: int | None = 1, epoch: int = 3, **more: Any
) -> tuple[Made, Step]:
    return make(model, training, VIEW, CLASSIFICATION, one, layer=LAYER, seed=seed, epoch=epoch, **more)


def answers(model: nn.Module, training: Training) -> Tensor:
    """int64 [N]: what the model says in evaluation mode."""
    with torch.no_grad():
        return deepcopy(model).eval()(VIEW(to_unit(training.images))).argmax(1)


def explained(model: nn.Module, training: Training, rows: list[int], one: Part) -> np.ndarray:
    """float32 [K,H,W], at the images' pixels."""
    images = VIEW(to_unit(training.images[rows]))
    targets = training.labels[rows] if one.params["target"] == "label" else None
    found = explain(model, images, method=one.params["method"], targets=targets, layer=LAYER)
    return at_pixels(torch.from_numpy(found.raw), 32, 32).numpy()


def same(one: Made, two: Made) -> bool:
    names = ("rows", "images", "partner_labels", "partner_weight", "masks")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


def unpacked(taken_step: Step) -> np.ndarray:
    bits = np.unpackbits(taken_step.where.numpy(), axis=1)
    assert not bits[:, 32 * 32 :].any()
    return bits[:, : 32 * 32].reshape(-1, 32, 32).astype(bool)


def check_contract(made: Made, done: Step, training: Training, epoch: int) -> None:
    count = len(made.rows)
    assert made.rows.dtype == torch.int64
    assert made.rows.tolist() == sorted(set(made.rows.tolist()))
    assert made.images.dtype == torch.uint8
    assert made.images.shape == (count, 3, 32, 32)
    assert made.partner_labels.dtype == torch.int64
    assert made.partner_labels.shape == (count,)
    assert made.partner_weight.dtype == torch.float32
    assert made.partner_weight.shape == (count,)
    assert made.masks is not None
    assert made.masks.dtype == torch.bool
    assert made.masks.shape == (count, 32, 32)
    assert done.epoch == epoch
    assert done.where.dtype == torch.uint8
    assert done.where.shape == (len(done.rows), 32 * 32 // 8)


@pytest.mark.parametrize("target", ["predicted", "label"])
@pytest.mark.parametrize("method", ["gradcam", "gradient", "inputxgradient", "gradcam++"])
def test_ada_erases_the_greatest_window_of_the_models_own_map(
    model: nn.Module, training: Training, method: str, target: str
) -> None:
    one = part("ada", method=method, target=target, window=9)
    made, done = taken(model, training, one)
    check_contract(made, done, training, 3)
    maps = explained(model, training, list(range(14)), one)
    assert made.rows.tolist() == [row for row in range(14) if maps[row].max() > maps[row].min()]
    assert len(made.rows) >= 10
    for index, row in enumerate(made.rows.tolist()):
        corner = oracles.greatest_window(maps[row], 9)
        mask = training.masks[row].numpy() != 0
        image = training.images[row].numpy()
        assert np.array_equal(made.images[index].numpy(), oracles.erased(image, corner, 9, mask, 0))
        chosen = oracles.erased(np.ones_like(image), corner, 9, mask, 0)[0] == 0
        assert np.array_equal(unpacked(done)[index], chosen)
        assert np.array_equal(made.masks[index].numpy(), mask)
    assert torch.equal(done.rows, made.rows)
    assert (done.wrong, done.considered, done.flat) == (-1, 14, 14 - len(made.rows))
    assert torch.equal(made.partner_labels, training.labels[made.rows])
    assert made.partner_weight.tolist() == [0.0] * len(made.rows)


def test_the_target_decides_the_maps(model: nn.Module, training: Training) -> None:
    """What the test above is worth."""
    one, two = (explained(model, training, list(range(14)), part("ada", target=t)) for t in ("predicted", "label"))
    assert not np.array_equal(one, two)


def test_an_image_filled_with_the_mean_colour(model: nn.Module, training: Training) -> None:
    made, done = taken(model, training, part("ada", fill="mean", spare=False))
    where = unpacked(done)
    for index in range(len(made.rows)):
        colours = made.images[index].numpy()[:, where[index]]
        # 0.45 · 255 = 114.75 and 0.4 · 255 = 102; 0.5 · 255 is halfway between two levels
        assert set(np.unique(colours[0])) <= {127, 128}
        assert set(np.unique(colours[1])) == {115}
        assert set(np.unique(colours[2])) == {102}


def test_pixels_that_do_not_fill_their_last_byte(model: nn.Module) -> None:
    """27 · 27 = 729 of 736 bits."""
    training = Training(pictures(5, seed=4, side=27), torch.arange(5) % 4)
    made, done = taken(model, training, part("ada", method="gradient", spare=False, window=6))
    assert done.where.shape == (5, 92)
    bits = np.unpackbits(done.where.numpy(), axis=1)
    assert not bits[:, 729:].any()
    where = torch.from_numpy(bits[:, :729].reshape(5, 27, 27).astype(bool))
    assert where.sum((1, 2)).tolist() == [36] * 5
    assert not made.images.movedim(1, -1)[where].any()
    assert torch.equal(made.images.movedim(1, -1)[~where], training.images.movedim(1, -1)[~where])


def test_data_without_masks(model: nn.Module, training: Training) -> None:
    made, _ = taken(model, replace(training, masks=None), part("ada"))
    expected, _ = taken(model, training, part("ada", spare=False))
    assert made.masks is None
    assert torch.equal(made.images, expected.images)


def test_proxy_attention_weakens_what_the_model_attends_to_in_the_images_it_has_wrong(
    model: nn.Module, training: Training
) -> None:
    one = part("proxy_attention", threshold=0.6, image_weight=0.2)
    made, done = taken(model, training, one)
    check_contract(made, done, training, 3)
    wrong = (answers(model, training) != training.labels).nonzero()[:, 0].tolist()
    maps = explained(model, training, wrong, one)
    stand_out = [index for index in range(len(wrong)) if maps[index].max() > maps[index].min()]
    assert made.rows.tolist() == [wrong[index] for index in stand_out]
    assert len(stand_out) >= 3
    for position, index in enumerate(stand_out):
        image = training.images[wrong[index]].numpy()
        exact, where = oracles.weakened(image, oracles.unit(maps[index]), 0.6, 0.2)
        assert np.array_equal(unpacked(done)[position], where)
        got = made.images[position].numpy()
        assert np.array_equal(got[:, ~where], image[:, ~where])
        assert np.abs(got - exact).max() <= 0.5 + 1e-4


def patch_of(made: Made, index: int, training: Training, maps: np.ndarray, row: int) -> tuple[int, Tensor]:
    """(partner, where its patch lies): the one training image whose patch around its peak explains `made`."""
    image, original = made.images[index], training.images[row]
    found = []
    for other in range(14):
        if other == row:
            continue
        height, width = maps[other].shape
        for reach in range(17):
            y, x = oracles.peak(maps[other])
            where = torch.zeros(height, width, dtype=torch.bool)
            where[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach] = True
            if reach and torch.equal(torch.where(where, training.images[other], original), image):
                found.append((other, where))
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("images", ["all", "wrong"])
def test_saliencymix_pastes_around_the_partners_peak(model: nn.Module, training: Training, images: str) -> None:
    one = part("saliencymix", images=images)
    made, done = taken(model, training, one, seed=4)
    check_contract(made, done, training, 3)
    maps = explained(model, training, list(range(14)), one)
    where = unpacked(done)
    partners = []
    for index, row in enumerate(made.rows.tolist()):
        if not where[index].any():  # a share so small that no pixel is pasted
            assert torch.equal(made.images[index], training.images[row])
            assert float(made.partner_weight[index]) == 0
            continue
        partner, patch = patch_of(made, index, training, maps, row)
        partners.append(partner)
        assert np.array_equal(where[index], patch.numpy())
        assert int(made.partner_labels[index]) == int(training.labels[partner])
        assert float(made.partner_weight[index]) == pytest.approx(float(patch.double().mean()), rel=1e-6)
        expected = torch.where(patch, training.masks[partner] != 0, training.masks[row] != 0)
        assert torch.equal(made.masks[index], expected)
    assert len(set(partners)) >= 4


def test_attentive_cutmix_pastes_the_partners_best_cells(model: nn.Module, training: Training) -> None:
    one = part("attentive_cutmix", grid=4, cells=3, method="gradient")  # no map of which is zero in whole cells
    made, done = taken(model, training, one, seed=4)
    check_contract(made, done, training, 3)
    maps = explained(model, training, list(range(14)), one)
    where = unpacked(done)
    assert (where.sum((1, 2)) == 3 * 64).all()
    assert made.partner_weight.tolist() == [3 / 16] * len(made.rows)
    partners = []
    for index, row in enumerate(made.rows.tolist()):
        pasted = made.images[index][:, where[index]]
        (partner,) = [p for p in range(14) if torch.equal(training.images[p][:, where[index]], pasted)]
        assert partner != row
        means = maps[partner].astype(np.float64).reshape(4, 8, 4, 8).mean((1, 3))
        cells = where[index].reshape(4, 8, 4, 8).all((1, 3))
        assert means[cells].min() > means[~cells].max()
        assert int(made.partner_labels[index]) == int(training.labels[partner])
        partners.append(partner)
    assert len(set(partners)) >= 4


@pytest.mark.parametrize("name", ["saliencymix", "attentive_cutmix"])
def test_the_images_own_label_may_stay(model: nn.Module, training: Training, name: str) -> None:
    mixed, _ = taken(model, training, part(name, label="mixed"))
    kept, _ = taken(model, training, part(name, label="source"))
    assert torch.equal(mixed.images, kept.images)
    assert kept.partner_weight.tolist() == [0.0] * len(kept.rows)
    assert mixed.partner_weight.max() > 0


@pytest.mark.parametrize("name", ALL)
def test_equal_arguments_give_equal_bytes(training: Training, name: str) -> None:
    one, first = taken(network(), training, part(name, images="all", fraction=0.7))
    torch.manual_seed(99)
    two, second = taken(network(), training, part(name, images="all", fraction=0.7))
    assert same(one, two)
    assert torch.equal(first.where, second.where)
    assert (first.considered, first.flat, first.wrong) == (second.considered, second.flat, second.wrong)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 4}])
def test_the_seed_and_the_epoch_decide_which_images_are_taken(
    model: nn.Module, training: Training, name: str, other: dict[str, int]
) -> None:
    one, _ = taken(model, training, part(name, images="all", fraction=0.5))
    two, _ = taken(model, training, part(name, images="all", fraction=0.5), **other)
    assert one.rows.tolist() != two.rows.tolist()


@pytest.mark.parametrize("name", ["saliencymix", "attentive_cutmix"])
@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 4}])
def test_the_seed_and_the_epoch_decide_the_partners(
    model: nn.Module, training: Training, name: str, other: dict[str, int]
) -> None:
    one, _ = taken(model, training, part(name))
    two, _ = taken(model, training, part(name), **other)
    assert one.partner_labels.tolist() != two.partner_labels.tolist()
    assert not torch.equal(one.images, two.images)


@pytest.mark.parametrize("name", ["ada", "proxy_attention"])
def test_what_draws_nothing_is_the_same_for_every_seed_and_for_none(
    model: nn.Module, training: Training, name: str
) -> None:
    made = [taken(model, training, part(name, images="all"), seed=seed)[0] for seed in (1, 2, None)]
    assert same(made[0], made[1])
    assert same(made[0], made[2])


@pytest.mark.parametrize("images", ["all", "wrong"])
@pytest.mark.parametrize("name", ALL)
def test_nothing_else_is_touched(training: Training, name: str, images: str) -> None:
    model = network(dropout=0.5)
    model.train()
    next(model.children()).eval()  # modes that are not all the same
    first = next(model.parameters())
    first.requires_grad_(False)
    next(iter(model.get_classifier().parameters())).grad = torch.ones_like(model.get_classifier().weight)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    frozen = [one.requires_grad for one in model.parameters()]
    data = Training(training.images.clone(), training.labels.clone(), training.masks.clone())
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    taken(model, data, part(name, images=images, fraction=0.9))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert [module.training for module in model.modules()] == modes
    assert [one.requires_grad for one in model.parameters()] == frozen
    assert torch.equal(model.get_classifier().weight.grad, torch.ones_like(model.get_classifier().weight))
    assert first.grad is None
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(data.images, training.images)
    assert torch.equal(data.labels, training.labels)
    assert torch.equal(data.masks, training.masks)


def test_a_model_in_training_and_in_evaluation_mode_gives_the_same(training: Training) -> None:
    """Dropout and the batch's statistics would give others."""
    made = [
        taken(network(dropout=0.5).train(mode), training, part("proxy_attention"))[0] for mode in (True, False)
    ]
    assert same(*made)


def test_wrong_images_are_those_that_it_has_wrong_in_evaluation_mode(model: nn.Module, training: Training) -> None:
    wrong = (answers(model, training) != training.labels).nonzero()[:, 0].tolist()
    with torch.no_grad():
        training_mode = deepcopy(model).train()(VIEW(to_unit(training.images))).argmax(1)
    assert 0 < len(wrong) < 14
    assert (training_mode != training.labels).nonzero()[:, 0].tolist() != wrong
    made, done = taken(model, training, part("ada", images="wrong", method="gradient"))
    assert made.rows.tolist() == wrong
    assert (done.wrong, done.considered, done.flat) == (len(wrong), len(wrong), 0)


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 14), (0.5, 7), (0.51, 8), (0.01, 1), (0.2, 3), (0.99, 14)])
def test_a_fraction_of_all(model: nn.Module, training: Training, fraction: float, count: int) -> None:
    made, done = taken(model, training, part("ada", fraction=fraction, method="gradient"))
    assert len(made.rows) == done.considered == count


@pytest.mark.parametrize("fraction", [0.3, 0.5, 1.0])
def test_a_fraction_of_the_wrong_ones(model: nn.Module, training: Training, fraction: float) -> None:
    wrong = (answers(model, training) != training.labels).nonzero()[:, 0].tolist()
    made, done = taken(model, training, part("ada", images="wrong", fraction=fraction, method="gradient"))
    assert set(made.rows.tolist()) <= set(wrong)
    assert len(made.rows) == done.considered == math.ceil(fraction * len(wrong))
    assert done.wrong == len(wrong)


def test_a_fraction_is_not_rounded_up_by_its_own_binary_form(model: nn.Module) -> None:
    """0.07 of 100 are 7, though 0.07 · 100 is 7.000000000000001."""
    hundred = Training(pictures(100, seed=8), torch.zeros(100, dtype=torch.int64))
    _, done = taken(model, hundred, part("ada", fraction=0.07, method="gradient"))
    assert done.considered == 7


def test_every_image_is_drawn_as_often(model: nn.Module, training: Training) -> None:
    drawn = np.zeros(14)
    for seed in range(40):
        made, _ = taken(model, training, part("ada", fraction=0.5, method="gradient"), seed=seed)
        drawn[made.rows.numpy()] += 1
    # 20 expected, standard deviation 3.2: beyond 4.5 of them in one of 14 by chance once in 10,000
    assert np.abs(drawn - 20).max() <= 14.3


@pytest.mark.parametrize("name", ALL)
def test_none_wrong_is_none_made(model: nn.Module, training: Training, name: str) -> None:
    right = replace(training, labels=answers(model, training))
    made, done = taken(model, right, part(name, images="wrong"))
    check_contract(made, done, training, 3)
    assert len(made.rows) == 0
    assert (done.wrong, done.considered, done.flat) == (0, 0, 0)
    nothing = "step after epoch 3: no training image is wrong: nothing to make"
    assert done.told(None, keep=False) == f"{nothing}"
    before, _ = taken(model, training, part(name, images="all"))
    assert done.told(before, keep=False) == f"{nothing}"
    assert done.told(before, keep=True) == f"{nothing}; {len(before.rows)} of earlier steps stay where none is new"
    cleared, _ = taken(model, right, part(name, images="wrong", keep=False), before=before)
    assert len(cleared.rows) == 0
    kept, _ = taken(model, right, part(name, images="wrong", keep=True), before=before)
    assert same(kept, before)


def test_flat_maps_are_left_out_and_counted(model: nn.Module, training: Training) -> None:
    """A black image has no input × gradient where the data's mean is black."""
    view = View(56, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    images = training.images.clone()
    images[[0, 5, 13]] = 0
    dark = replace(training, images=images)
    more = {"layer": LAYER, "seed": 1, "epoch": 3}
    one = part("ada", method="inputxgradient")
    made, done = make(model, dark, view, CLASSIFICATION, one, **more)
    assert made.rows.tolist() == [row for row in range(14) if row not in (0, 5, 13)]
    assert (done.considered, done.flat) == (14, 3)
    assert done.rows.tolist() == made.rows.tolist()
    assert done.told(None, keep=False) == (
        "step after epoch 3: 11 images made, 3 with a map that says nothing, left as they are"
    )
    # those before them and behind them are what they would be
    alone, _ = make(model, training, view, CLASSIFICATION, one, **more)
    assert torch.equal(made.images, alone.images[made.rows])


def test_maps_that_are_not_finite_are_left_out(
    model: nn.Module, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **more: Any) -> Any:
        found = explain(*args, **more)
        found.raw[2, 3, 3], found.raw[4, 0, 0] = np.nan, np.inf
        return found

    monkeypatch.setattr(step, "explain", broken)
    made, done = taken(model, training, part("ada"))
    assert not {2, 4} & set(made.rows.tolist())
    assert done.flat == 14 - len(made.rows)


def test_partners_whose_maps_are_flat(model: nn.Module, training: Training) -> None:
    """Nothing is pasted from them; no image is made of what a flat map says."""
    view = View(56, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    images = training.images.clone()
    images[::2] = 0
    dark = replace(training, images=images)
    one = part("saliencymix", method="inputxgradient")
    made, done = make(model, dark, view, CLASSIFICATION, one, layer=LAYER, seed=1, epoch=3)
    assert 0 < len(made.rows) < 14
    assert done.flat == 14 - len(made.rows)
    where = unpacked(done)
    for index in range(len(made.rows)):
        assert made.images[index].numpy()[:, where[index]].any() or not where[index].any()


@pytest.mark.parametrize("name", ALL)
def test_earlier_images_are_kept_where_none_is_new(model: nn.Module, training: Training, name: str) -> None:
    some = part(name, images="all", fraction=0.4, keep=True)
    before, _ = taken(model, training, some, epoch=1)
    alone, _ = taken(model, training, some, epoch=2)
    assert len(set(before.rows.tolist()) - set(alone.rows.tolist())) >= 1
    assert set(before.rows.tolist()) & set(alone.rows.tolist())
    kept, done = taken(model, training, some, epoch=2, before=before)
    check_contract(kept, done, training, 2)
    assert kept.rows.tolist() == sorted({*before.rows.tolist(), *alone.rows.tolist()})
    assert torch.equal(done.rows, alone.rows)
    for index, row in enumerate(kept.rows.tolist()):
        source = alone if row in alone.rows.tolist() else before
        where = source.rows.tolist().index(row)
        for field in ("images", "partner_labels", "partner_weight", "masks"):
            assert torch.equal(getattr(kept, field)[index], getattr(source, field)[where])
    cleared, _ = taken(model, training, part(name, images="all", fraction=0.4, keep=False), epoch=2, before=before)
    assert same(cleared, alone)


def test_those_that_stay_are_counted_and_no_others(model: nn.Module, training: Training) -> None:
    before, _ = taken(model, training, part("ada", method="gradient"), epoch=1)
    some = part("ada", method="gradient", fraction=0.5, keep=True)
    kept, done = taken(model, training, some, epoch=2, before=before)
    assert (len(before.rows), len(done.rows), len(kept.rows)) == (14, 7, 14)
    text = "step after epoch 2: 7 images made"
    assert done.told(before, keep=True) == f"{text}; 7 of earlier steps stay where none is new"
    assert done.told(before, keep=False) == text
    assert done.told(None, keep=True) == text
    _, again = taken(model, training, part("ada", method="gradient", keep=True), epoch=2, before=before)
    assert again.told(before, keep=True) == "step after epoch 2: 14 images made"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("chunk", [1, 3, 13, 14])
def test_chunks_change_nothing(
    model: nn.Module, training: Training, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = part(name, images="all", fraction=0.95)
    whole, first = taken(model, training, one)
    monkeypatch.setattr(step, "CHUNK", chunk)
    cut, second = taken(model, training, one)
    assert same(whole, cut)
    assert torch.equal(first.where, second.where)
    assert torch.equal(first.rows, second.rows)
    assert (first.considered, first.flat) == (second.considered, second.flat)


def limited(most: int, seen: list[int]) -> Callable[..., Any]:
    """`explain` on a device with memory for `most` images."""

    def counted(batches: Any, size: int) -> Iterator[Tensor]:
        for batch in [batches] if isinstance(batches, Tensor) else batches:
            seen.append(min(len(batch), size))
            if seen[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            yield batch

    def explain_some(model: nn.Module, images: Any, **more: Any) -> Any:
        return explain(model, counted(images, more.get("batch_size", 128)), **more)

    return explain_some


@pytest.mark.parametrize("name", ALL)
def test_where_memory_runs_out_fewer_images_are_explained_at_once(
    model: nn.Module, training: Training, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = part(name, images="all")
    whole, first = taken(model, training, one)
    told: list[str] = []
    seen: list[int] = []
    memory = Memory(batch_size=14, say=told.append)
    monkeypatch.setattr(step, "explain", limited(4, seen))
    made, second = taken(model, training, one, memory=memory)
    assert memory.batch_size == 3  # 14, 7, 3
    assert seen[:2] == [14, 7]
    assert max(seen[2:]) <= 4
    assert sum(seen[2:]) == 14
    assert told == [
        f"step after epoch 3: explaining 14 images by {one.params['method']}",
        "memory ran out explaining 14 images at once: going on with 7",
        "memory ran out explaining 7 images at once: going on with 3",
    ]
    assert made.rows.tolist() == whole.rows.tolist()
    assert (first.considered, first.flat) == (second.considered, second.flat)
    # up to rounding of the maps: no window, peak or cell of these images is as near to another
    difference = (made.images.int() - whole.images.int()).abs()
    assert int(difference.max()) <= (1 if name == "proxy_attention" else 0)
    # what was found is kept: the next step does not try again
    seen.clear()
    taken(model, training, one, epoch=4, memory=memory)
    assert max(seen) == 3


def test_memory_for_no_image(model: nn.Module, training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(step, "explain", limited(0, seen))
    with pytest.raises(ValueError, match="memory") as caught:
        taken(model, training, part("ada"), memory=Memory(batch_size=8))
    assert str(caught.value) == (
        "active step: memory does not suffice to explain one image by gradcam; use another method, a smaller"
        " model.image_size or train.device=cpu"
    )
    assert seen == [8, 4, 2, 1]


def cpu_without_memory() -> None:
    torch.empty(2**50, dtype=torch.uint8)  # a pebibyte


def numpy_without_memory() -> None:
    np.empty(2**50, dtype=np.uint8)


@pytest.mark.parametrize("fails", [cpu_without_memory, numpy_without_memory])
def test_a_processor_runs_out_of_memory_too(
    model: nn.Module, training: Training, monkeypatch: pytest.MonkeyPatch, fails: Callable[[], None]
) -> None:
    """The errors that torch and numpy themselves raise."""
    whole, _ = taken(model, training, part("ada"))

    def explain_some(model: nn.Module, images: Tensor, **more: Any) -> Any:
        if len(images) > 4:
            fails()
        return explain(model, images, **more)

    monkeypatch.setattr(step, "explain", explain_some)
    memory = Memory(batch_size=14)
    made, _ = taken(model, training, part("ada"), memory=memory)
    assert memory.batch_size == 3
    assert same(made, whole)


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    model: nn.Module, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **more: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    modes = [module.training for module in model.modules()]
    monkeypatch.setattr(step, "explain", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        taken(model, training, part("ada", images="wrong"))
    assert [module.training for module in model.modules()] == modes


def test_a_window_that_does_not_fit_the_data(model: nn.Module, training: Training) -> None:
    with pytest.raises(ValueError, match="window") as caught:
        taken(model, training, part("ada", window=33))
    assert str(caught.value) == (
        "window: expected 1 to 32 pixels, the side of the images, got 33; lower aug.ada.window"
    )


def test_more_cells_than_pixels(model: nn.Module, training: Training) -> None:
    with pytest.raises(ValueError, match="grid") as caught:
        taken(model, training, part("attentive_cutmix", grid=33))
    assert str(caught.value) == (
        "grid: expected 1 to 32 cells along a side, the pixels of an image's, got 33;"
        " lower aug.attentive_cutmix.grid"
    )


def test_a_seed_is_asked_for_where_something_is_drawn(model: nn.Module, training: Training) -> None:
    with pytest.raises(ValueError, match="seed"):
        taken(model, training, part("saliencymix"), seed=None)


# A segmentation


@pytest.mark.parametrize("target", ["predicted", "label"])
@pytest.mark.parametrize("method", ["gradcam", "gradient", "guided_gradcam"])
def test_ada_of_a_segmentation_spares_the_object(training: Training, method: str, target: str) -> None:
    unet = segmenter(dropout=0.2)
    view = View(40, (0.5, 0.45, 0.4), (0.25, 0.2, 0.3))
    one = part("ada", method=method, target=target, window=9)
    made, done = make(unet, training, view, SEGMENTATION, one, layer=LAYER, seed=1, epoch=3)
    check_contract(made, done, training, 3)
    regions = view.masks(training.masks) if target == "label" else None
    found = explain_foreground(unet, [(view(to_unit(training.images)), regions)], method=method)
    maps = at_pixels(torch.from_numpy(found.raw), 32, 32).numpy()
    assert made.rows.tolist() == [row for row in range(14) if maps[row].max() > maps[row].min()]
    assert len(made.rows) >= 10
    for index, row in enumerate(made.rows.tolist()):
        mask = training.masks[row].numpy() != 0
        corner = oracles.greatest_window(maps[row], 9)
        expected = oracles.erased(training.images[row].numpy(), corner, 9, mask, 0)
        assert np.array_equal(made.images[index].numpy(), expected)
        assert np.array_equal(made.masks[index].numpy(), mask)
