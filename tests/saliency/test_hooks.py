"""Context managers that leave a model as they found it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from auglens.saliency.hooks import cut_at, frozen, recording


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1))


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_frozen_and_thawed():
    model = net().train()
    model[2].eval()
    model[0].bias.requires_grad_(False)
    with frozen(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False, True, True]


def test_thawed_after_an_error():
    model = net().train()
    with pytest.raises(KeyError), frozen(model):
        raise KeyError
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_calls_are_recorded_as_they_end():
    model = nn.Sequential(net(), nn.Flatten())
    with recording(model) as calls:
        output = model(torch.zeros(1, 3, 5, 5))
    assert [call.name for call in calls] == ["0.0", "0.1", "0.2", "0", "1"]
    assert calls[-1].output is output
    # The ReLU wrote into the convolution's output: one tensor, a later version.
    assert calls[0].output is calls[1].output
    assert calls[0].version < calls[1].version
    assert hooks(model) == 0


def test_a_cut_detaches_and_keeps_the_layer_s_own_output():
    model = net()
    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = model[0](images)
    with cut_at(model, "0") as leaves:
        output = model(images)
    (leaf,) = leaves
    assert torch.equal(leaf, expected)
    assert (leaf < 0).any()
    assert torch.equal(output, model(images))
    output.sum().backward()
    assert leaf.grad is not None
    assert images.grad is None
    assert hooks(model) == 0


@pytest.mark.parametrize("manager", [recording, lambda model: cut_at(model, "2")])
def test_hooks_go_after_an_error(manager):
    model = net()
    with pytest.raises(RuntimeError), manager(model):
        model(torch.zeros(1, 7, 5, 5))
    assert hooks(model) == 0
