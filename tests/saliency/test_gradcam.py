"""Grad-CAM by hand, by finite differences in float64, against captum; and a model left as it was."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from auglens.config import ModelConfig
from auglens.models import build
from auglens.saliency import explain
from auglens.saliency.cams import gradcam
from auglens.saliency.hooks import frozen

pytestmark = pytest.mark.filterwarnings("ignore:maps.layer")


def random_images(number=6, size=8, seed=0):
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(seed))


def exactly(message):
    return f"^{re.escape(message)}$"


def pooled_net():
    """A¹ = red, A² = green; logits = (mean A¹ - 2 mean A², 3 mean A²)."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]])[..., None, None])
        net[3].weight.copy_(torch.tensor([[1.0, -2], [0, 3]]))
        net[3].bias.zero_()
    return net


def flat_net(inplace=False):
    """Gradients that vary over the map: a convolution, ReLU, a convolution, tanh, and no pooling."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(inplace=inplace),
            nn.Conv2d(5, 4, 3, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(4 * 64, 3),
        )


def test_by_hand():
    """With 16 cells the weights are the classifier's rows / 16."""
    images = torch.zeros(2, 3, 4, 4)
    images[:, 0] = torch.arange(16.0).reshape(4, 4)  # mean 7.5
    images[0, 1, 0, 3], images[1, 1] = 1.0, 2.0  # means 1/16 and 2
    found = explain(pooled_net(), images, layer="0")
    red, green = images[:, 0].numpy(), images[:, 1].numpy()
    np.testing.assert_allclose(found.logits, [[7.5 - 2 / 16, 3 / 16], [3.5, 6]])
    assert found.targets.tolist() == [0, 1]
    np.testing.assert_allclose(found.raw[0], np.maximum(red[0] - 2 * green[0], 0) / 16)
    np.testing.assert_allclose(found.raw[1], 3 * green[1] / 16)
    other = explain(pooled_net(), images, layer="0", targets=np.array([1, 0]))
    np.testing.assert_allclose(other.raw[0], 3 * green[0] / 16)
    np.testing.assert_allclose(other.raw[1], np.maximum(red[1] - 4, 0) / 16)
    assert (found.raw.dtype, found.logits.dtype, found.targets.dtype) == (np.float32, np.float32, np.int64)


def literal(net, at, image, target, step=1e-6):
    """Grad-CAM of one image from its definition, the gradient by central differences in float64."""
    head, tail = net[: at + 1], net[at + 1 :]
    with torch.no_grad():
        activations = head(image[None])
        moves = step * torch.eye(activations.numel(), dtype=torch.float64).reshape(-1, *activations.shape[1:])
        difference = tail(activations + moves)[:, target] - tail(activations - moves)[:, target]
    gradient = (difference / (2 * step)).reshape(activations.shape[1:]).numpy()
    raw = np.zeros(activations.shape[2:])
    for channel, values in enumerate(activations[0].numpy()):
        raw += gradient[channel].mean() * values
    return np.maximum(raw, 0)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_equals_finite_differences(at):
    net, images, targets = flat_net().double(), random_images(3).double(), torch.tensor([0, 1, 2])
    expected = [literal(net, at, image, target) for image, target in zip(images, targets.tolist(), strict=True)]
    with frozen(net):
        raw = gradcam(net, str(at), images, targets).raw
    assert raw.amax((1, 2)).min() > 0
    # Contracts say float32: the sums are in float64, what is stored has 24 bits.
    np.testing.assert_allclose(raw.numpy(), np.stack(expected), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("at", [0, 2])
def test_equals_captum(at):
    net, images, targets = flat_net(), random_images(), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = LayerGradCam(net, net[at]).attribute(images, target=targets, relu_attributions=True)
    found = explain(net, images, layer=str(at), targets=targets)
    np.testing.assert_allclose(found.raw, expected[:, 0].detach().numpy(), rtol=1e-4, atol=1e-7)


def test_equals_captum_on_a_timm_network():
    settings = ModelConfig(name="test_resnet", image_size=64, output_stride=8, dropout=0.0, drop_path=0.0)
    net, images = build(settings, 10, init_seed=0).eval(), random_images(4, 64)
    found = explain(net, images)
    captum = LayerGradCam(net, net.layer4)
    expected = captum.attribute(images, target=torch.from_numpy(found.targets), relu_attributions=True)
    np.testing.assert_allclose(found.raw, expected[:, 0].detach().numpy(), rtol=1e-3, atol=1e-6 * found.raw.max())


def test_an_in_place_activation_behind_the_layer_does_not_reach_the_map():
    """pytorch-grad-cam stores the activation as the in-place ReLU left it; here the layer's own output counts."""
    found, plain = (explain(flat_net(inplace), random_images(), layer="0") for inplace in (True, False))
    assert found.raw.tobytes() == plain.raw.tobytes()
    assert found.logits.tobytes() == plain.logits.tobytes()


def mixed_net():
    """Modes and `requires_grad` of every kind, a `.grad` that someone left, batch norm with its buffers."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 3, 8))
    net.append(nn.Flatten())
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    net[3].weight.grad = torch.ones_like(net[3].weight)
    return net


def snapshot(net):
    return (
        [module.training for module in net.modules()],
        [parameter.requires_grad for parameter in net.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        [tensor.tolist() for tensor in net.state_dict().values()],
        [tensor.stride() for tensor in net.state_dict().values()],
        [len(module._forward_hooks) for module in net.modules()],
        torch.get_rng_state().tolist(),
    )


def test_the_model_is_left_as_it_was():
    net = mixed_net()
    before = snapshot(net)
    explain(net, random_images(), layer="0")
    assert snapshot(net) == before


@pytest.mark.parametrize("arguments", [{"targets": torch.tensor([0, 9])}, {"layer": "4"}, {"layer": "conv"}])
def test_the_model_is_left_as_it_was_after_an_error(arguments):
    net = mixed_net()
    before = snapshot(net)
    with pytest.raises(ValueError, match=r"^(targets|maps\.layer): "):
        explain(net, random_images(2), **{"layer": "0", **arguments})
    assert snapshot(net) == before


def test_the_model_is_left_as_it_was_after_an_error_of_its_own():
    net = mixed_net()
    before = snapshot(net)

    def images():
        yield random_images(2)
        raise OSError("the disk went away")

    with pytest.raises(OSError, match=r"^the disk went away$"):
        explain(net, images(), layer="0")
    assert snapshot(net) == before


def test_evaluation_mode_is_used():
    """Dropout would make two explanations differ, batch statistics an image depend on its batch."""
    net, images = mixed_net(), random_images()
    alone = explain(net, images[:1], layer="0")
    np.testing.assert_allclose(explain(net, images, layer="0").raw[0], alone.raw[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_that_wants_no_gradients_gets_maps(mode):
    net = flat_net()
    expected = explain(net, random_images(), layer="0")
    with mode():
        assert explain(net, random_images(), layer="0").raw.tobytes() == expected.raw.tobytes()


def test_the_backward_pass_covers_the_head_only():
    """A layer before the target that cannot be differentiated does no harm."""

    class Sealed(torch.autograd.Function):
        @staticmethod
        def forward(context, values):
            return values.clone()

        @staticmethod
        def backward(context, gradient):
            raise AssertionError("the backward pass went past the target layer")

    class Seal(nn.Module):
        def forward(self, values):
            return Sealed.apply(values)

    net = nn.Sequential(Seal(), *flat_net())
    images = random_images().requires_grad_(True)
    assert explain(net, images, layer="1").raw.tobytes() == explain(flat_net(), images, layer="0").raw.tobytes()
    assert images.grad is None


class Aside(nn.Module):
    """A layer that runs and has no part in the logits."""

    def __init__(self, uses_images=True):
        super().__init__()
        self.aside, self.main = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, images):
        self.aside(images)
        return self.main(images).mean((2, 3))


def test_a_layer_without_a_part_in_the_logits():
    expected = "maps.layer: 'aside' has no part in the logits; use features"
    with pytest.raises(ValueError, match=exactly(expected)):
        explain(Aside(), random_images(), layer="aside")


def test_a_model_that_gives_no_logits():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Tanh())
    expected = "model: expected logits [N, classes], got [6, 2, 8, 8]; explain a classifier"
    with pytest.raises(ValueError, match=exactly(expected)):
        explain(net, random_images(), layer="0")


def test_scaling_the_classifier_scales_the_map():
    net, doubled = flat_net(), flat_net()
    with torch.no_grad():
        doubled[5].weight.mul_(2)
    targets = torch.zeros(6, dtype=torch.int64)
    raw, twice = (explain(one, random_images(), layer="2", targets=targets).raw for one in (net, doubled))
    np.testing.assert_allclose(twice, 2 * raw, rtol=1e-5)


def test_equal_models_give_equal_bytes():
    net = flat_net()
    first, again = (explain(one, random_images(), layer="2") for one in (net, copy.deepcopy(net)))
    assert first.raw.tobytes() == again.raw.tobytes()
