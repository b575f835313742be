"""The training loop: the order of protocol A, resuming, seeds and selection."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from auglens import rng, training
from auglens.batches import LabelledImages, Recipe, batches
from auglens.config import ModelConfig, TrainConfig
from auglens.convolution import quick_gradients
from auglens.data.augmentations import Part, augment
from auglens.data.order import epoch_order
from auglens.data.views import View, to_unit
from auglens.device import deterministic
from auglens.models import Bottleneck, build
from auglens.stages import fitting
from auglens.tasks import CLASSIFICATION, Batch
from auglens.training import State, evaluate, fit, penalties

CONFIG = TrainConfig(
    epochs=3,
    batch_size=16,
    learning_rate=1e-3,
    weight_decay=1e-5,
    select="validation_accuracy",
    threads=1,
    device="cpu",
    precision="fp32",
)
VIEW = View(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
NOISE = Recipe((Part("noise", {}),), 2, augmentation_seed=1, dropout_seed=None, order_seed=0)
IDENTITY = Recipe((Part("identity", {}),), 2, augmentation_seed=None, dropout_seed=None, order_seed=0)
ALONE = Recipe((), 1, augmentation_seed=None, dropout_seed=None, order_seed=0)


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(40) % 4
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=generator, dtype=torch.uint8)
    images[:, 0] = (images[:, 0] // 4) + (labels * 48).to(torch.uint8)[:, None, None]  # the class can be learned
    return LabelledImages(images, labels)


def model(dropout: float = 0.0) -> torch.nn.Module:
    return build(ModelConfig("test_resnet", 32, None, dropout, 0.0), 4, init_seed=0)


def trained(data: LabelledImages, recipe: Recipe, *, dropout: float = 0.0, config: TrainConfig = CONFIG) -> State:
    return fit(model(dropout), data, data, VIEW, CLASSIFICATION, config, recipe)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def sources(data: LabelledImages, recipe: Recipe) -> list[int]:
    """The source image of every position of an epoch, recognised by its blue channel's pixels."""
    pixels = to_unit(data.images)
    found = []
    for batch in batches(data, recipe, epoch=0, batch_size=16):
        for image in batch.images:
            distance = (pixels - image).abs().amax((1, 2, 3))
            found.append(int(distance.argmin()))
    return found


def test_position_k_has_the_same_source_image_under_every_aug(data: LabelledImages) -> None:
    order = sources(data, IDENTITY)
    assert sorted(order) == sorted([*range(40), *range(40)])
    assert order != sorted(order)
    assert sources(data, NOISE) == order


def test_the_reference_sees_the_shared_order_restricted_to_the_originals(data: LabelledImages) -> None:
    positions = epoch_order(40, seed=0, halves=2)
    assert sources(data, ALONE) == [int(p) for p in positions if p < 40]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_batch_size_changes_no_image(data: LabelledImages, size: int) -> None:
    one = torch.cat([batch.images for batch in batches(data, NOISE, epoch=2, batch_size=16)])
    two = torch.cat([batch.images for batch in batches(data, NOISE, epoch=2, batch_size=size)])
    assert torch.equal(one, two)


def test_the_order_is_the_same_in_every_epoch_and_the_augmentation_is_not(data: LabelledImages) -> None:
    first = torch.cat([batch.images for batch in batches(data, NOISE, epoch=0, batch_size=16)])
    second = torch.cat([batch.images for batch in batches(data, NOISE, epoch=1, batch_size=16)])
    assert not torch.equal(first, second)
    assert (first - second).abs().max() < 2.5 / 255


def test_equal_arguments_give_equal_weights_and_global_state_is_untouched(data: LabelledImages) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    one = trained(data, NOISE, dropout=0.5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    torch.manual_seed(12)
    two = trained(data, NOISE, dropout=0.5)
    assert same(one.model, two.model)
    assert one.history == two.history


def test_no_operation_of_a_step_reads_memory_that_nobody_wrote(
    data: LabelledImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's filling of new tensors with NaN, which training leaves out, changes no bit."""
    one = trained(data, NOISE, dropout=0.5)
    monkeypatch.setattr(training, "deterministic", lambda threads, fill: deterministic(threads, fill=True))
    two = trained(data, NOISE, dropout=0.5)
    assert same(one.model, two.model)
    assert one.history == two.history


@pytest.mark.parametrize("fill", [True, False])
def test_settings_of_the_process_are_as_before_a_training(fill: bool) -> None:
    def settings() -> tuple[bool, bool, int]:
        filled = torch.utils.deterministic.fill_uninitialized_memory
        return torch.are_deterministic_algorithms_enabled(), filled, torch.get_num_threads()

    before = settings()
    with deterministic(before[2] + 1, fill=fill):
        assert settings() == (True, fill, before[2] + 1)
        assert bool(torch.empty(3).isnan().all()) or not fill
    assert settings() == before


@pytest.mark.parametrize("field", ["augmentation_seed", "dropout_seed", "order_seed"])
def test_every_seed_is_used(data: LabelledImages, field: str) -> None:
    recipe = replace(NOISE, dropout_seed=1)
    one = trained(data, recipe, dropout=0.5)
    two = trained(data, replace(recipe, **{field: 2}), dropout=0.5)
    assert not same(one.model, two.model)


def test_without_dropout_its_seed_changes_nothing(data: LabelledImages) -> None:
    one, two = (trained(data, replace(NOISE, dropout_seed=seed)) for seed in (1, 2))
    assert same(one.model, two.model)


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_training_goes_on_to_the_same_bytes(data: LabelledImages, stop: int) -> None:
    whole = trained(data, NOISE, dropout=0.5)
    states: list[State] = []
    fit(
        model(0.5),
        data,
        data,
        VIEW,
        CLASSIFICATION,
        replace(CONFIG, epochs=stop),
        NOISE,
        on_epoch=states.append,
    )
    rest = fit(model(0.5), data, data, VIEW, CLASSIFICATION, CONFIG, NOISE, state=states[-1])
    assert same(whole.model, rest.model)
    assert same(whole.best, rest.best)
    assert whole.history == rest.history


def test_of_equal_epochs_the_first_is_kept_and_the_best_is_the_best(data: LabelledImages) -> None:
    states: list[State] = []
    for select in ("validation_accuracy", "validation_loss"):
        config = replace(CONFIG, epochs=6, select=select)
        states.clear()
        last = fit(model(), data, data, VIEW, CLASSIFICATION, config, ALONE, on_epoch=states.append)
        column = [row[select] for row in last.history]
        best = min(column) if select == "validation_loss" else max(column)
        assert last.best_epoch == column.index(best) + 1
        assert same(last.best, states[last.best_epoch - 1].model)
        network = model()
        network.load_state_dict(last.best)
        assert evaluate(network, data, VIEW, CLASSIFICATION)["loss"] == pytest.approx(
            last.history[last.best_epoch - 1]["validation_loss"], rel=1e-6
        )


def test_it_learns(data: LabelledImages) -> None:
    last = trained(data, IDENTITY, config=replace(CONFIG, epochs=8))
    assert last.history[-1]["train_accuracy"] > 0.6
    assert last.history[-1]["train_loss"] < last.history[0]["train_loss"] / 2


def test_a_non_finite_loss_is_named(data: LabelledImages) -> None:
    constant = replace(VIEW, std=(0.0, 0.25, 0.25))
    with pytest.raises(ValueError, match="lower") as caught:
        fit(model(), data, data, constant, CLASSIFICATION, CONFIG, ALONE)
    assert str(caught.value) == (
        "training: the loss became nan in epoch 1; lower train.learning_rate (now 0.001) or check the images"
    )


def test_a_step_of_training_is_adam_on_cross_entropy(data: LabelledImages) -> None:
    """A literal loop over one epoch in the same order gives the same weights (float32 rounding apart)."""
    mine = fit(model(), data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=1), ALONE)
    network = model().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    order = sources(data, ALONE)
    network.train()
    for start in range(0, 40, 16):
        rows = order[start : start + 16]
        inputs = (data.images[rows].float() / 255 - 0.5) / 0.25
        loss = torch.nn.functional.cross_entropy(network(inputs), data.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(mine.model[name], tensor, rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("label", ["mixed", "source"])
def test_labels_are_mixed_where_the_aug_mixes_them_and_nowhere_else(data: LabelledImages, label: str) -> None:
    recipe = replace(NOISE, parts=(Part("cutmix", {"alpha": 1.0, "label": label}),))
    positions = torch.from_numpy(epoch_order(40, seed=0, halves=2))
    rows, second = positions % 40, positions >= 40
    made = augment(recipe.parts, data.images, data.labels, rows[second], seed=1, epoch=0)
    found = list(batches(data, recipe, epoch=0, batch_size=16))
    assert torch.equal(torch.cat([batch.images for batch in found])[second], made.images)
    assert torch.equal(torch.cat([batch.labels for batch in found]), data.labels[rows])
    if label == "source":
        assert all(batch.partner is None for batch in found)
        return
    partners = [batch.partner for batch in found if batch.partner is not None]
    labels, weight = (torch.cat(parts) for parts in zip(*partners, strict=True))
    assert torch.equal(labels[second], made.partner_labels)
    assert torch.equal(weight[second], made.partner_weight)
    assert weight[second].any()
    assert not weight[~second].any()


def test_the_loss_weighs_the_partner_s_label() -> None:
    """By hand: two classes, logits 0 and log 3, so that the classes have 1/4 and 3/4."""
    outputs = torch.tensor([[0.0, math.log(3)]] * 2)
    images, labels = torch.zeros(2, 3, 1, 1), torch.tensor([0, 1])
    plain = CLASSIFICATION.loss(outputs, Batch(images, labels))
    assert plain.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)
    mixed = Batch(images, labels, (torch.tensor([1, 0]), torch.tensor([0.25, 0.0])))
    expected = (0.75 * math.log(4) + 0.25 * math.log(4 / 3) + math.log(4 / 3)) / 2
    assert CLASSIFICATION.loss(outputs, mixed).item() == pytest.approx(expected, rel=1e-6)
    nothing = Batch(images, labels, (torch.tensor([1, 0]), torch.zeros(2)))
    assert torch.equal(CLASSIFICATION.loss(outputs, nothing), plain)


def test_accuracy_is_the_same_in_training_as_among_the_scores() -> None:
    outputs = torch.tensor([[1.0, 2.0, 2.0], [3.0, 0.0, 1.0]])  # of equal outputs the first is the prediction
    labels = torch.tensor([1, 2])
    assert CLASSIFICATION.accuracy(outputs, labels).tolist() == [1.0, 0.0]
    assert CLASSIFICATION.scores(outputs, labels)["accuracy"].tolist() == [1.0, 0.0]


def with_bottleneck(size: int = 6, beta: float = 0.1) -> torch.nn.Module:
    config = ModelConfig("test_resnet", 32, None, 0.3, 0.0, precode_size=size, precode_beta=beta)
    return build(config, 4, init_seed=0)


def by_hand(
    network: torch.nn.Module, data: LabelledImages, recipe: Recipe, *, l1: float = 0.0
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """One epoch as plain as can be: weights, and the penalty of each step. L1 as a term of the gradient."""
    network.to(memory_format=torch.channels_last)
    found = []
    with deterministic(1, fill=False), quick_gradients(network), torch.random.fork_rng(devices=[]):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5, fused=True)
        network.train()
        for step, batch in enumerate(batches(data, recipe, epoch=0, batch_size=16)):
            torch.manual_seed(rng.derive(recipe.dropout_seed or 0, "dropout", 0, step) % 2**63)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(VIEW(batch.images)), batch.labels)
            heads = [module for module in network.modules() if isinstance(module, Bottleneck)]
            extra = heads[0].take_penalty() if heads else torch.zeros(())
            (loss + extra if heads else loss).backward()
            with torch.no_grad():
                size = sum(parameter.abs().double().sum() for parameter in network.parameters())
                for parameter in network.parameters():
                    if l1 and parameter.grad is not None:
                        parameter.grad += l1 * parameter.sign()
            found.append(float(extra.detach() + l1 * size))
            optimizer.step()
    return network.state_dict(), found


def test_with_everything_off_a_training_is_the_plain_loop_byte_for_byte(data: LabelledImages) -> None:
    recipe = replace(NOISE, dropout_seed=3)
    mine = fit(model(0.5), data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=1), recipe)
    assert same(mine.model, by_hand(model(0.5), data, recipe)[0])
    assert "train_penalty" not in mine.history[0]
    assert not [name for name in mine.history[0] if name.startswith("test_")]


def test_the_gradient_of_l1_is_lambda_times_the_sign() -> None:
    network, config = model(), replace(CONFIG, weight_decay_l1=0.01)
    frozen = next(network.parameters()).requires_grad_(False)
    found = penalties(network, config)
    assert found is not None
    trained = [parameter for parameter in network.parameters() if parameter is not frozen]
    assert found.item() == pytest.approx(0.01 * sum(p.abs().double().sum().item() for p in trained), rel=1e-5)
    found.backward()
    assert frozen.grad is None
    for parameter in trained:
        assert torch.equal(parameter.grad, 0.01 * parameter.sign())
    assert penalties(network, CONFIG) is None


def test_l1_is_added_to_the_loss_and_reported_apart(data: LabelledImages) -> None:
    """Rounding apart: the sum of two gradients here, the gradient of a sum there, through one epoch of Adam."""
    config = replace(CONFIG, epochs=1, weight_decay_l1=1e-3)
    mine = fit(model(), data, data, VIEW, CLASSIFICATION, config, ALONE)
    theirs, each = by_hand(model(), data, ALONE, l1=1e-3)
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine.model[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    row, sizes = mine.history[0], [16, 16, 8]
    expected = sum(value * size for value, size in zip(each, sizes, strict=True)) / 40
    assert row["train_penalty"] == pytest.approx(expected, rel=1e-5)
    plain = fit(model(), data, data, VIEW, CLASSIFICATION, replace(config, weight_decay_l1=0.0), ALONE)
    assert not same(plain.model, mine.model)
    # The first steps differ little, and the loss is the task's own in both: Σ|w| times λ alone would be over 1.
    assert row["train_penalty"] > 1
    assert row["train_loss"] == pytest.approx(plain.history[0]["train_loss"], abs=0.2)


def test_a_bottleneck_s_divergence_is_added_to_the_loss_and_reported_apart(data: LabelledImages) -> None:
    recipe = replace(ALONE, dropout_seed=3)
    mine = fit(with_bottleneck(), data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=1), recipe)
    theirs, each = by_hand(with_bottleneck(), data, recipe)
    assert same(mine.model, theirs)
    expected = sum(value * size for value, size in zip(each, [16, 16, 8], strict=True)) / 40
    assert mine.history[0]["train_penalty"] == pytest.approx(expected, rel=1e-6)
    other = fit(with_bottleneck(beta=0.0), data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=1), recipe)
    assert other.history[0]["train_penalty"] == 0
    assert not same(mine.model, other.model)


def test_a_bottleneck_samples_from_the_dropout_seed(data: LabelledImages) -> None:
    def found(seed: int) -> State:
        config = ModelConfig("test_resnet", 32, None, 0.0, 0.0, precode_size=6)
        recipe = replace(NOISE, dropout_seed=seed)
        network = build(config, 4, init_seed=0)
        return fit(network, data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=1), recipe)

    one = found(1)
    assert same(one.model, found(1).model)
    assert not same(one.model, found(2).model)


def test_an_interrupted_training_with_bottleneck_dropout_and_l1_goes_on_to_the_same_bytes(
    data: LabelledImages, tmp_path: Path
) -> None:
    recipe = replace(NOISE, dropout_seed=3)
    config = replace(CONFIG, weight_decay_l1=1e-4, watch_test=True)
    whole = fit(with_bottleneck(), data, data, VIEW, CLASSIFICATION, config, recipe, test=data)
    first = replace(config, epochs=1)
    state = fit(with_bottleneck(), data, data, VIEW, CLASSIFICATION, first, recipe, test=data)
    fitting.save_state(tmp_path, state)
    state = fitting.load_state(tmp_path, torch.device("cpu"))
    rest = fit(with_bottleneck(), data, data, VIEW, CLASSIFICATION, config, recipe, test=data, state=state)
    assert same(whole.model, rest.model)
    assert same(whole.best, rest.best)
    assert whole.history == rest.history


def test_the_test_images_are_scored_after_each_epoch_and_change_nothing(data: LabelledImages) -> None:
    rows = torch.arange(0, 40, 3)
    test = LabelledImages(data.images[rows], data.labels[rows])
    states: list[State] = []
    config = replace(CONFIG, watch_test=True)
    watched = fit(
        model(0.5), data, data, VIEW, CLASSIFICATION, config, NOISE, test=test, on_epoch=states.append
    )  # fmt: skip
    plain = fit(model(0.5), data, data, VIEW, CLASSIFICATION, CONFIG, NOISE, test=test)
    assert same(watched.model, plain.model)
    assert same(watched.best, plain.best)
    names = {f"test_{name}" for name in ("accuracy", "precision", "recall", "f1")}
    assert [{k: v for k, v in row.items() if k not in names} for row in watched.history] == list(plain.history)
    for state, row in zip(states, watched.history, strict=True):
        network = model(0.5).to(memory_format=torch.channels_last)
        network.load_state_dict(state.model)
        with torch.no_grad():
            said = network.eval()(VIEW(to_unit(test.images))).argmax(1).tolist()
        each: dict[str, list[float]] = {"precision": [], "recall": [], "f1": []}
        for one in range(4):  # a class with nothing to divide by has no score and is left out
            hits = sum(s == one == label for s, label in zip(said, test.labels.tolist(), strict=True))
            claimed, actual = said.count(one), test.labels.tolist().count(one)
            each["precision"] += [hits / claimed] if claimed else []
            each["recall"] += [hits / actual] if actual else []
            each["f1"] += [2 * hits / (claimed + actual)] if claimed + actual else []
        right = sum(s == label for s, label in zip(said, test.labels.tolist(), strict=True))
        assert row["test_accuracy"] == pytest.approx(right / len(said), rel=1e-12)
        for name, values in each.items():
            assert row[f"test_{name}"] == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_watching_needs_the_test_images(data: LabelledImages) -> None:
    with pytest.raises(ValueError, match="pass them") as caught:
        fit(model(), data, data, VIEW, CLASSIFICATION, replace(CONFIG, watch_test=True), ALONE)
    expected = "test: expected the test images, for train.watch_test is true; pass them or set it to false"
    assert str(caught.value) == expected


def test_a_penalty_that_is_not_finite_is_named(data: LabelledImages) -> None:
    network = model()
    network.unused = torch.nn.Parameter(torch.tensor(math.inf))  # the task's loss stays finite
    config = replace(CONFIG, weight_decay=0.0, weight_decay_l1=1e-3)
    with pytest.raises(ValueError, match=r"^training: the loss became inf in epoch 1; lower train\.learning_rate"):
        fit(network, data, data, VIEW, CLASSIFICATION, config, ALONE)


def test_seconds_go_on_counting_where_a_training_was_interrupted(
    data: LabelledImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    run = lambda epochs, state=None: fit(  # noqa: E731
        model(), data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=epochs), ALONE, state=state
    )
    first = run(2)
    assert first.seconds == 2
    fitting.save_state(tmp_path, first)
    loaded = fitting.load_state(tmp_path, torch.device("cpu"))
    assert loaded is not None
    assert run(3, loaded).seconds == 3
    assert run(2, loaded).seconds == 2


def test_a_state_without_seconds_is_read_as_one_of_none(data: LabelledImages, tmp_path: Path) -> None:
    state = fit(model(), data, data, VIEW, CLASSIFICATION, replace(CONFIG, epochs=1), ALONE)
    fitting.save_state(tmp_path, state)
    values = torch.load(tmp_path / "state.pt", weights_only=True)
    del values["seconds"]
    torch.save(values, tmp_path / "state.pt")
    loaded = fitting.load_state(tmp_path, torch.device("cpu"))
    assert loaded is not None
    assert (loaded.epoch, loaded.seconds, loaded.history) == (1, 0.0, state.history)
