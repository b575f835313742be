"""Finished maps equal pytorch-grad-cam's on a dozen families. Importing it takes seconds: only here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auglens import compat
from auglens.config import ModelConfig
from auglens.models import build
from auglens.saliency import explain, finish, target_layer

compat.import_torchvision()

from pytorch_grad_cam import GradCAM  # noqa: E402
from pytorch_grad_cam.utils.image import scale_cam_image  # noqa: E402
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:maps.layer")

# Sums in another order and format differ by some 1e-6 of a map's largest cell; scaling a map whose maximum is
# small beside its parts amplifies that.
TOLERANCE = 1e-4

NETWORKS = [
    ("resnet18", 64, 8),
    ("test_resnet", 64, 8),
    ("efficientnet_b0", 64, 8),
    ("mobilenetv2_050", 64, 8),
    ("densenet121", 128, None),
    ("convnext_atto", 64, 8),
    ("mobilenetv3_small_100", 128, None),
    ("regnetx_002", 64, 8),
    ("ghostnet_050", 128, None),
    ("repvgg_a0", 64, 8),
    ("rexnet_100", 64, 8),
    ("mobilevit_xxs", 64, 8),
    ("nf_regnet_b0", 64, 8),
]


def lively(name, size, output_stride):
    """A network whose maps are neither flat nor saturated: every parameter moved, batch norm with statistics."""
    settings = ModelConfig(name=name, image_size=size, output_stride=output_stride, dropout=0.0, drop_path=0.0)
    model = build(settings, 10, init_seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2)
        for parameter in model.parameters():
            parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=generator))
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        for _ in range(3):
            model.train()(2 * torch.randn(4, 3, size, size, generator=generator))
    return model.eval()


def peer(model, layer, images, targets):
    chosen = None if targets is None else [ClassifierOutputTarget(int(target)) for target in targets]
    with GradCAM(model, [model.get_submodule(layer)]) as cam:
        return cam(images.clone(), chosen)


def compare(model, size, layer):
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(3))
    name = target_layer(model, layer, image_size=size)
    for targets in (None, np.array([0, 3, 9, 5])):
        # Ours first: pytorch-grad-cam leaves hooks' traces and gradients behind.
        finished = finish(explain(model, images, targets=targets, layer=layer, batch_size=3).raw, size)
        expected = peer(model, name, images, targets)
        if targets is None:
            assert (expected.max((1, 2)) > 0.99).all(), "the comparison is to be of maps, not of zeros"
        np.testing.assert_allclose(finished, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "size", "output_stride"), NETWORKS)
def test_features(name, size, output_stride):
    compare(lively(name, size, output_stride), size, "features")


def test_the_last_convolution_before_norm_and_activation():
    model = lively("efficientnet_b0", 64, 8)
    assert target_layer(model, "last_conv", image_size=64) == "conv_head"
    compare(model, 64, "last_conv")


def test_oblong_images():
    model = lively("test_resnet", 64, 8)
    images = torch.randn(4, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    finished = finish(explain(model, images).raw, (64, 96))
    np.testing.assert_allclose(finished, peer(model, "layer4", images, None), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("shape", "size"), [((7, 7), (224, 224)), ((8, 5), (64, 40)), ((9, 9), (4, 4))])
@pytest.mark.parametrize("magnitude", [1.0, 1e-9])
def test_finishing_alone(shape, size, magnitude):
    raw = np.random.default_rng(0).random((10, *shape), np.float32) * np.float32(magnitude)
    raw[0] = raw[0, 0, 0]
    expected = scale_cam_image(scale_cam_image(raw, size[::-1]))
    np.testing.assert_allclose(finish(raw, size), expected, rtol=0, atol=1e-6)
