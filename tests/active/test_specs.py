"""When steps come, and the parameters that names stand for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.active.oracles import parameters

from auglens.active.specs import due, first_step, fixed_method, last_step, resolved


@pytest.mark.parametrize("first", [1, 2, 5, 100])
@pytest.mark.parametrize("every", [1, 3, 30])
def test_steps_and_so_on(first: int, every: int) -> None:
    expected = [first + k * every for k in range(200)]
    steps = [first, first + every, "..."]
    assert [epoch for epoch in range(131) if due(steps, epoch)] == [one for one in expected if one < 131]
    assert first_step(steps) == last_step(steps) == first


def test_the_last_distance_is_what_goes_on() -> None:
    steps = (1, 5, 20, 23, "...")
    assert [epoch for epoch in range(31) if due(steps, epoch)] == [1, 5, 20, 23, 26, 29]
    assert first_step(steps) == 1


@pytest.mark.parametrize("steps", [[3, 6, 9], [1], [2, 3, 50]])
def test_steps_of_a_list(steps: list[int]) -> None:
    assert [epoch for epoch in range(60) if due(steps, epoch)] == steps
    assert [epoch for epoch in range(60) if due(tuple(steps), epoch)] == steps
    assert (first_step(steps), last_step(steps)) == (steps[0], steps[-1])


def test_the_study_of_ada_in_its_epochs() -> None:
    """100 standard epochs, then 31 cycles of 30 (protocol B)."""
    found = [epoch for epoch in range(100 + 31 * 30) if due([100, 130, "..."], epoch)]
    assert len(found) == 31
    assert found[:2] == [100, 130]


@pytest.mark.parametrize("method", ["gradient", "inputxgradient", "guided_backprop", "gradcam", "guided_gradcam"])
def test_ada_with_a_method_of_its_name_has_adas_other_parameters(method: str) -> None:
    every: dict[str, Any] = {"ada": parameters("ada", method="layercam", window=5)}
    assert fixed_method(f"ada_{method}") == method
    assert resolved(f"ada_{method}", every) == {**parameters("ada", window=5), "method": method}
    assert resolved("ada", every) == every["ada"]
    assert every == {"ada": parameters("ada", method="layercam", window=5)}


@pytest.mark.parametrize("name", ["ada", "proxy_attention", "saliencymix", "attentive_cutmix", "affine"])
def test_other_names_fix_no_method(name: str) -> None:
    assert fixed_method(name) is None
    assert resolved(name, {name: parameters(name)}) == parameters(name)
