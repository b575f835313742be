"""A training with steps: they come when due, of the model as it then is, and an interruption changes no byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.active.oracles import LAYER, VIEW, network, parameters, segmenter
from torch import Tensor

from auglens.active.step import Made, Step, Training, make
from auglens.batches import LabelledImages, Recipe
from auglens.config import TrainConfig
from auglens.data.augmentations import Part
from auglens.data.views import View
from auglens.saliency import explain
from auglens.stages.fitting import load_state, save_state
from auglens.tasks import CLASSIFICATION, SEGMENTATION, Task
from auglens.training import State, fit

CONFIG = TrainConfig(
    epochs=4,
    batch_size=8,
    learning_rate=1e-3,
    weight_decay=1e-5,
    select="validation_accuracy",
    threads=1,
    device="cpu",
    precision="fp32",
)
CPU = torch.device("cpu")
SMALL = View(32, VIEW.mean, VIEW.std)


def recipe(name: str, *rest: Part, **changes: Any) -> Recipe:
    parts = (Part(name, parameters(name, **changes)), *rest)
    return Recipe(parts, 2, augmentation_seed=1, dropout_seed=2, order_seed=0)


def trained(training: Training, one: Recipe, task: Task, **more: Any) -> State:
    data = LabelledImages(training.images, training.labels, training.masks)
    config = more.pop("config", CONFIG)
    if task.segments:
        return fit(
            segmenter(dropout=0.3), data, data, SMALL, task, replace(config, select="validation_dice"), one, **more
        )
    return fit(network(dropout=0.5), data, data, VIEW, task, config, one, **more)


def equal(one: Any, two: Any) -> bool:
    """Values of any nesting, to the last bit."""
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, Made | Step | State):
        return all(equal(getattr(one, name), getattr(two, name)) for name in one.__dataclass_fields__)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(equal(*pair) for pair in zip(one, two, strict=True))
    return one == two or (one != one and two != two)


BLUR = Part("gaussian_blur", parameters("gaussian_blur"))
CASES = {
    "ada": (recipe("ada", steps=[1, 3, "..."]), CLASSIFICATION),
    "ada, half of them, kept": (recipe("ada", steps=[1, 2, 3], fraction=0.5, keep=True), CLASSIFICATION),
    "proxy attention": (recipe("proxy_attention", steps=[2]), CLASSIFICATION),
    "saliencymix and a blur": (recipe("saliencymix", BLUR), CLASSIFICATION),
    "ada of a segmentation": (recipe("ada", steps=[1, 3, "..."], window=6), SEGMENTATION),
}


@pytest.mark.parametrize("case", CASES)
def test_interrupted_after_every_epoch_it_ends_with_the_same_bytes(
    training: Training, tmp_path: Path, case: str
) -> None:
    one, task = CASES[case]
    whole = trained(training, one, task)
    assert whole.epoch == 4
    assert whole.made is not None
    assert len(whole.made.rows)
    state: State | None = None
    for epoch in range(1, 5):
        states: list[State] = []
        state = trained(
            training, one, task, config=replace(CONFIG, epochs=epoch), state=state, on_epoch=states.append
        )
        assert [one.epoch for one in states] == [epoch]
        save_state(tmp_path, states[-1])
        state = load_state(tmp_path, CPU)
        assert state is not None
        assert equal(replace(state, seconds=0.0), replace(states[-1], seconds=0.0))
    assert state is not None
    assert equal(replace(state, seconds=0.0), replace(whole, seconds=0.0))


def test_steps_change_what_is_learned(training: Training) -> None:
    """What the test above is worth: without steps, and with a step less, other weights."""
    weights = [trained(training, recipe("ada", steps=steps), CLASSIFICATION).model for steps in ([1, 2], [1], [4])]
    weights.append(trained(training, replace(recipe("ada"), parts=(Part("identity", {}),)), CLASSIFICATION).model)
    assert not equal(weights[0], weights[1])
    assert not equal(weights[1], weights[2])
    assert equal(weights[2], weights[3])  # until its first step it is the control that sees copies


@pytest.mark.parametrize("case", ["ada, half of them, kept", "saliencymix and a blur", "ada of a segmentation"])
def test_each_step_is_of_the_model_as_it_then_is(training: Training, case: str) -> None:
    one, task = CASES[case]
    states: list[State] = []
    trained(training, one, task, on_epoch=lambda state: states.append(load_copy(state)))
    view = SMALL if task.segments else VIEW
    made: Made | None = None
    steps: list[Step] = []
    for epoch in range(4):
        if epoch in ((1, 3) if task.segments else (1, 2, 3)):
            model = segmenter(dropout=0.3) if task.segments else network(dropout=0.5)
            model.load_state_dict(states[epoch - 1].model)
            made, done = make(
                model, training, view, task, one.parts[0], layer=LAYER, seed=1, epoch=epoch, before=made
            )
            steps.append(done)
        assert equal(states[epoch].made, made) if made is not None else states[epoch].made is None
        assert equal(list(states[epoch].steps), steps)


def load_copy(state: State) -> State:
    model = {name: value.clone() for name, value in state.model.items()}
    return replace(state, model=model)


def test_a_damaged_state_is_none(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 not a state")
    assert load_state(tmp_path, CPU) is None
    assert load_state(tmp_path / "absent", CPU) is None


def test_a_state_whose_step_is_lost_is_none(training: Training, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    one, task = CASES["ada, half of them, kept"]
    trained(training, one, task, on_epoch=lambda state: save_state(tmp_path, state))
    assert load_state(tmp_path, CPU) is not None
    (step,) = tmp_path.glob("step_*.pt")  # the earlier ones are gone
    step.unlink()
    assert load_state(tmp_path, CPU) is None
    assert "is damaged; training starts anew" in capsys.readouterr().out


def test_a_state_of_another_kind_of_device_is_none(training: Training, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    one, task = CASES["ada, half of them, kept"]
    save_state(tmp_path, trained(training, one, task, config=replace(CONFIG, epochs=1)))
    assert load_state(tmp_path, torch.device("cuda")) is None
    assert "is of cpu; training starts anew on cuda" in capsys.readouterr().out


def test_where_memory_ran_out_before_as_few_are_explained_after(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, task = CASES["ada, half of them, kept"]
    state = trained(training, one, task, config=replace(CONFIG, epochs=1))
    save_state(tmp_path, replace(state, explained_at_once=3))
    seen: list[int] = []

    def counted(model: Any, images: Tensor, **more: Any) -> Any:
        seen.append(len(images))
        return explain(model, images, **more)

    monkeypatch.setattr("auglens.active.step.explain", counted)
    after = trained(training, one, task, state=load_state(tmp_path, CPU))
    assert max(seen) == 3
    assert after.explained_at_once == 3


def test_the_best_epoch_is_one_after_the_first_step(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model from before it would be that of the copies, under another name."""
    falling = iter(range(100, 0, -1))
    monkeypatch.setattr("auglens.training.evaluate", lambda *_: {"accuracy": next(falling) / 100, "loss": 1.0})
    one = recipe("ada", steps=[2])
    copies = replace(one, parts=(Part("identity", {}),))
    assert trained(training, copies, CLASSIFICATION).best_epoch == 1
    assert trained(training, one, CLASSIFICATION).best_epoch == 3
    first = trained(training, one, CLASSIFICATION, config=replace(CONFIG, epochs=2))
    assert first.best_epoch == 1
    assert trained(training, one, CLASSIFICATION, state=first).best_epoch == 3
