"""Every method against an independent one on several networks: pytorch-grad-cam, captum, or by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, LayerGradCam, Saliency
from tests.saliency.test_pytorch_grad_cam import TOLERANCE, lively
from torch import nn
from torch.nn.functional import interpolate

from auglens import compat
from auglens.config import ModelConfig
from auglens.models import build
from auglens.saliency import METHODS, explain, finish, names, target_layer
from auglens.saliency.methods import OF_LAYER, OF_PIXELS
from auglens.saliency.pixels import SMOOTHGRAD_DRAWS, SMOOTHGRAD_NOISE
from auglens.saliency.scorecam import ScoreCam

compat.import_torchvision()

from pytorch_grad_cam import (  # noqa: E402
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    ScoreCAM,
    XGradCAM,
)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:maps.layer")

PEERS = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "xgradcam": XGradCAM,
    "layercam": LayerCAM,
    "hirescam": HiResCAM,
}
NETWORKS = [("test_resnet", 64, 8), ("efficientnet_b0", 64, 8), ("densenet121", 128, None), ("resnet18", 64, 8)]
# In these every activation is ReLU.
RELU_NETWORKS = [("test_resnet", 64, 8), ("densenet121", 128, None), ("resnet18", 64, 8)]


def images_of(size, number=3):
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=NETWORKS, ids=lambda network: network[0])
def network(request):
    name, size, stride = request.param
    return lively(name, size, stride), images_of(size)


@pytest.fixture(params=RELU_NETWORKS, ids=lambda network: network[0])
def relu_network(request):
    name, size, stride = request.param
    return lively(name, size, stride), images_of(size)


def activations_of(model, layer, images):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output.clone()))
    with torch.no_grad():
        model(images)
    handle.remove()
    return kept[0].numpy()


def test_the_registry_is_what_the_parameters_may_name():
    assert (tuple(OF_LAYER), tuple(OF_PIXELS)) == (names.OF_LAYER, names.OF_PIXELS)
    assert tuple(METHODS) == names.METHODS


@pytest.mark.parametrize("method", PEERS)
def test_equals_pytorch_grad_cam(method, network):
    model, images = network
    layer = target_layer(model, image_size=images.shape[2])
    for targets in (None, np.array([0, 9, 5])):
        finished = finish(explain(model, images, method=method, targets=targets).raw, images.shape[2])
        chosen = None if targets is None else [ClassifierOutputTarget(int(target)) for target in targets]
        with PEERS[method](model, [model.get_submodule(layer)]) as peer:
            expected = peer(images.clone(), chosen)
        np.testing.assert_allclose(finished, expected, rtol=0, atol=10 * TOLERANCE)
        assert finished.max() > 0.99


def test_eigencam_equals_pytorch_grad_cams_projection_with_its_sign(network):
    model, images = network
    layer = target_layer(model, image_size=images.shape[2])
    expected = get_2d_projection_with_sign_correction(activations_of(model, layer, images).astype(np.float64))
    raw = explain(model, images, method="eigencam").raw
    np.testing.assert_allclose(raw, np.maximum(expected, 0), rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.parametrize("name", [("test_resnet", 64, 8), ("mobilenetv2_050", 64, 16), ("repvgg_a0", 64, 16)])
def test_scorecam_equals_pytorch_grad_cam(name):
    model, images = lively(*name), images_of(name[1], 2)
    layer = target_layer(model, image_size=name[1])
    for targets in (None, np.array([0, 9])):
        raw = explain(model, images, method="scorecam", targets=targets).raw
        chosen = None if targets is None else [ClassifierOutputTarget(int(target)) for target in targets]
        with ScoreCAM(model, [model.get_submodule(layer)]) as peer:
            expected = peer(images.clone(), chosen)
        np.testing.assert_allclose(finish(raw, name[1]), expected, rtol=0, atol=10 * TOLERANCE)


def head_by_hand(weights):
    """A¹ = red, A² = green, A³ = blue, average pooling, one linear layer."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[..., None, None])
        net[3].weight.copy_(torch.tensor(weights))
        net[3].bias.zero_()
    return net


def test_scorecam_by_hand():
    """4×4 cells at 4×4 pixels: nothing to upsample. Red lights the upper half, green all but one cell, blue is
    flat and lets nothing through. Scaled, red is 1 above and 0 below; green 1 everywhere but 0 in the corner."""
    images = torch.zeros(1, 3, 4, 4)
    images[0, 0, :2], images[0, 1], images[0, 1, 0, 0], images[0, 2] = 2.0, 4.0, 0.0, 3.0
    net = head_by_hand([[1.0, 2.0, -1.0], [0.0, 0.0, 1.0]])
    # Means of the channels seen through red: red 16/16, green (7·4)/16, blue (8·3)/16; through green: red
    # (7·2)/16, green (15·4)/16, blue (15·3)/16; through blue nothing.
    first = np.array([16 / 16 + 2 * 28 / 16 - 24 / 16, 14 / 16 + 2 * 60 / 16 - 45 / 16, 0.0])
    second = np.array([24 / 16, 45 / 16, 0.0])
    for target, scores in ((0, first), (1, second)):
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = np.tensordot(weights, images[0].numpy(), 1)
        raw = explain(net, images, method="scorecam", layer="0", targets=np.array([target])).raw
        np.testing.assert_allclose(raw[0], expected, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_scorecam_is_the_same_in_chunks_of_any_size(chunk):
    model, images = lively("test_resnet", 64, 8), images_of(64, 2)
    whole = explain(model, images, method="scorecam").raw
    np.testing.assert_allclose(explain(model, images, method=ScoreCam(chunk)).raw, whole, rtol=1e-4, atol=1e-6)


def test_cam_is_grad_cam_up_to_scale_where_both_exist(network):
    """But for the ReLU: CAM keeps what speaks against the class."""
    model, images = network
    worst = explain(model, images).logits.argmin(1)
    for targets in (None, worst):
        cam, gradcam = (explain(model, images, method=name, targets=targets).raw for name in ("cam", "gradcam"))
        cells = cam.shape[1] * cam.shape[2]
        np.testing.assert_allclose(np.maximum(cam, 0) / cells, gradcam, rtol=1e-3, atol=1e-5 * np.abs(cam).max())
    assert cam.min() < 0


def test_cam_by_hand():
    images = torch.zeros(1, 3, 4, 4)
    images[0, 0] = torch.arange(16.0).reshape(4, 4)
    images[0, 1, 1, 2] = 5.0
    net = head_by_hand([[1.0, 0.0, 0.0], [-1.0, 2.0, 0.0]])
    raw = explain(net, images, method="cam", layer="0", targets=np.array([1])).raw
    np.testing.assert_allclose(raw[0], -images[0, 0].numpy() + 2 * images[0, 1].numpy())


def hidden_net():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 6),
            nn.ReLU(),
            nn.Linear(6, 3),
        ).eval()


@pytest.mark.parametrize(("net", "layer"), [(hidden_net(), "1"), (hidden_net(), "0")])
def test_cam_is_refused_where_the_head_is_not_linear(net, layer):
    with pytest.raises(ValueError, match=re.escape("cam needs a layer with nothing but average pooling")):
        explain(net, images_of(8), method="cam", layer=layer)


def length(attributions):
    return attributions.detach().norm(dim=1).numpy()


def in_float64(network):
    """Where rounding turns no ReLU's sign: in float32 a pixel in a hundred moves by more than a thousandth."""
    model, images = network
    return model.double(), images.double()


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_gradients_equal_captum(network):
    model, images = in_float64(network)
    targets = torch.tensor([0, 9, 5])
    found = explain(model, images, method="gradient", targets=targets).raw
    close(found, length(Saliency(model).attribute(images.clone().requires_grad_(), target=targets, abs=False)))
    found = explain(model, images, method="inputxgradient", targets=targets).raw
    products = InputXGradient(model).attribute(images.clone().requires_grad_(), target=targets)
    close(found, products.sum(1).abs().detach().numpy())


def test_integrated_gradients_equal_captum():
    model, images = in_float64((lively("test_resnet", 64, 8), images_of(64)))
    targets = torch.tensor([0, 9, 5])
    found = explain(model, images, method="integrated_gradients", targets=targets).raw
    expected = IntegratedGradients(model).attribute(
        images, target=targets, n_steps=32, method="gausslegendre", internal_batch_size=16
    )
    close(found, expected.sum(1).abs().detach().numpy())


def test_integrated_gradients_are_complete():
    """A positive net from a black image: what all pixels have adds up to the logit."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    images = images_of(8).abs()
    found = explain(net, images, method="integrated_gradients", layer="0", targets=np.zeros(3, int))
    with torch.no_grad():
        gained = net(images)[:, 0] - net(torch.zeros(1, 3, 8, 8))[0, 0]
    np.testing.assert_allclose(found.raw.sum((1, 2)), gained.numpy(), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_guided_backprop_equals_captum(relu_network):
    model, images = in_float64(relu_network)
    targets = torch.tensor([0, 9, 5])
    found = explain(model, images, method="guided_backprop", targets=targets).raw
    guided = explain(model, images, method="guided_gradcam", targets=targets).raw
    coarse = explain(model, images, method="gradcam", targets=targets).raw
    for module in model.modules():  # captum's backward hooks do not bear ReLUs that write into their input
        if isinstance(module, nn.ReLU):
            module.inplace = False
    expected = GuidedBackprop(model).attribute(images.clone().requires_grad_(), target=targets)
    close(found, length(expected))
    layer = model.get_submodule(target_layer(model, image_size=images.shape[2]))
    captum = LayerGradCam(model, layer).attribute(images, target=targets, relu_attributions=True)
    close(coarse, captum[:, 0].detach().numpy())
    upsampled = interpolate(captum.detach(), size=images.shape[2:], mode="bilinear", align_corners=False)
    close(guided, length(expected * upsampled))


def functional_net():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, x):
            return torch.relu(self.b(self.a(x).relu_())).mean((2, 3))

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Net()


def test_guided_backprop_sees_relus_that_are_called_as_functions():
    """By hand: gradients go back through one ReLU after another, what is negative is dropped each time."""
    net, image = functional_net(), images_of(6, 1)
    first = net.a(image)
    second = net.b(first.relu())
    back = torch.full_like(second, 1 / 36) * (second > 0)
    back[:, 0] = 0
    middle = torch.nn.grad.conv2d_input(first.shape, net.b.weight, back, padding=1).relu() * (first > 0)
    expected = torch.nn.grad.conv2d_input(image.shape, net.a.weight, middle, padding=1)
    found = explain(net, image, method="guided_backprop", layer="a", targets=np.array([1])).raw
    np.testing.assert_allclose(found, length(expected), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["guided_backprop", "guided_gradcam"])
def test_guided_methods_refuse_other_activations(method):
    model = build(ModelConfig("efficientnet_b0", 64, 16, 0.0, 0.0), 10, init_seed=0)
    message = "guided backpropagation is defined for ReLU, and this network uses silu; use gradient"
    with pytest.raises(ValueError, match=re.escape(message)):
        explain(model, images_of(64), method=method)
    linear = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 2))
    with pytest.raises(ValueError, match="this network has no ReLU"):
        explain(linear, images_of(8), method=method, layer="0")


def test_smoothgrad_is_the_mean_over_its_draws():
    model, images = in_float64((lively("test_resnet", 64, 8), images_of(64)))
    targets = torch.tensor([0, 9, 5])
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros_like(images)
    for _ in range(SMOOTHGRAD_DRAWS):
        noise = torch.randn(3, 64, 64, generator=generator).double()
        for row, image in enumerate(images):
            leaf = (image + SMOOTHGRAD_NOISE * (image.max() - image.min()) * noise)[None].requires_grad_()
            model(leaf)[0, targets[row]].backward()
            total[row] += leaf.grad[0]
    found = explain(model, images, method="smoothgrad", targets=targets).raw
    close(found, length(total / SMOOTHGRAD_DRAWS))


def snapshot(model):
    return (
        [module.training for module in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [tensor.clone() for tensor in model.state_dict().values()],
        [len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules()],
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(method):
    """The model as it was; no image depends on another; a second target is that of a run of its own."""
    model, images = in_float64((lively("test_resnet", 64, 8).train(), images_of(64)))
    before = snapshot(model)
    kept = images.clone()
    found = explain(model, images, method=method)
    after = snapshot(model)
    assert torch.equal(images, kept)
    assert before[:2] == after[:2]
    assert before[3:] == after[3:]
    assert all(torch.equal(*pair) for pair in zip(before[2], after[2], strict=True))
    assert found.raw.dtype == np.float32
    assert found.raw.shape == ((3, 64, 64) if method in OF_PIXELS else (3, 8, 8))
    assert np.isfinite(found.raw).all()
    alone = explain(model, images, method=method, batch_size=1)
    np.testing.assert_allclose(alone.raw, found.raw, rtol=1e-3, atol=1e-4 * np.abs(found.raw).max())
    np.testing.assert_allclose(alone.logits, found.logits, rtol=1e-4, atol=1e-5)
    again = explain(model, images, method=method, targets=found.targets)
    assert again.raw.tobytes() == found.raw.tobytes()


@pytest.mark.parametrize("name", [("vit_tiny_patch16_224", 64), ("deit_tiny_distilled_patch16_224", 64)])
def test_vision_transformers_equal_pytorch_grad_cam_with_its_reshape(name):
    model = build(ModelConfig(name[0], name[1], None, 0.0, 0.0), 10, init_seed=0).eval()
    images, prefix = images_of(name[1]), model.num_prefix_tokens

    def reshape(tensor):
        return tensor[:, prefix:].reshape(len(tensor), 4, 4, -1).permute(0, 3, 1, 2)

    layer = target_layer(model, image_size=name[1])
    assert layer == "blocks.11.norm1"
    for method in ("gradcam", "hirescam", "layercam"):
        finished = finish(explain(model, images, method=method).raw, name[1])
        with PEERS[method](model, [model.get_submodule(layer)], reshape_transform=reshape) as peer:
            np.testing.assert_allclose(finished, peer(images.clone(), None), rtol=0, atol=10 * TOLERANCE)


def test_a_channels_last_network_is_turned():
    model = build(ModelConfig("swin_tiny_patch4_window7_224", 128, None, 0.0, 0.0), 10, init_seed=0).eval()
    images = images_of(128, 2)
    layer = target_layer(model, image_size=128)
    finished = finish(explain(model, images).raw, 128)
    turned = lambda tensor: tensor.permute(0, 3, 1, 2)  # noqa: E731
    with GradCAM(model, [model.get_submodule(layer)], reshape_transform=turned) as peer:
        np.testing.assert_allclose(finished, peer(images.clone(), None), rtol=0, atol=10 * TOLERANCE)
