"""Which layer is explained, by name, over the families of networks; and which maps are refused."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch import nn

from auglens.config import ModelConfig
from auglens.models import build
from auglens.saliency import check_map_size, explain, map_size, target_layer


def make(name, image_size=64, output_stride=None, device="cpu"):
    settings = ModelConfig(
        name=name, image_size=image_size, output_stride=output_stride, dropout=0.0, drop_path=0.0
    )
    with torch.device(device):
        return build(settings, 10, init_seed=0)


def exactly(message):
    return f"^{re.escape(message)}$"


# name, features and its map, last_conv and its map, at 128 pixels
FAMILIES = [
    ("resnet18", "layer4", (4, 4), "layer4.1.conv2", (4, 4)),
    ("efficientnet_b0", "bn2", (4, 4), "conv_head", (4, 4)),  # bn2 holds the activation
    ("densenet121", "features", (4, 4), "features.denseblock4.denselayer16.conv2", (4, 4)),
    ("convnext_atto", "stages", (4, 4), "stages.3.blocks.1.mlp.fc2", (4, 4)),  # norm_pre passes on: not named
    ("mobilenetv3_small_100", "blocks", (4, 4), "blocks.5.0.conv", (4, 4)),  # conv_head comes after pooling
    ("regnetx_002", "s4", (4, 4), "s4.b7.conv3.conv", (4, 4)),
    ("legacy_xception", "act4", (4, 4), "conv4.pointwise", (4, 4)),  # act4 works in place on bn4's output
]


@pytest.mark.parametrize(("name", "features", "size", "last_conv", "last_size"), FAMILIES)
def test_layers_of_the_families(name, features, size, last_conv, last_size):
    model = make(name, device="meta")  # shapes are all that counts
    assert target_layer(model, image_size=128) == features
    assert map_size(model, features, 128) == size
    assert target_layer(model, "last_conv", image_size=128) == last_conv
    assert map_size(model, last_conv, 128) == last_size


def test_features_is_what_the_head_pools():
    """Independent of names: the head applied to the module's output gives the logits."""
    model = make("mobilenetv3_small_100").eval()
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    seen = []
    layer = model.get_submodule(target_layer(model, image_size=128))
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        logits = model(images)
        handle.remove()
        assert torch.equal(model.forward_head(seen[0]), logits)


def test_the_size_defaults_to_the_one_that_timm_states():
    assert target_layer(make("test_resnet"), "features") == "layer4"


def test_output_stride_and_oblong_images_make_the_map():
    model = make("test_resnet", output_stride=8)
    assert map_size(model, "layer4", 64) == (8, 8)
    assert map_size(model, "layer4", (64, 96)) == (8, 12)
    assert target_layer(model, image_size=(61, 99)) == "layer4"


def test_a_module_s_own_name():
    assert target_layer(make("test_resnet"), "layer2", image_size=64) == "layer2"


def test_looking_leaves_the_model_as_it_was():
    model = make("test_resnet").train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    target_layer(model, "last_conv", image_size=64)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_unknown_name_is_answered_with_near_ones():
    expected = "maps.layer: test_resnet has no module 'layer5'; did you mean layer4 or layer3 or layer2?"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(make("test_resnet"), "layer5", image_size=64)


def test_a_name_like_no_other():
    expected = "maps.layer: test_resnet has no module '%%'; use features, last_conv or a module's name"
    with pytest.raises(ValueError, match=exactly(expected)):
        map_size(make("test_resnet"), "%%", 64)


NO_MAP = "expected a map [N, C, h, w]; choose another model.name or a convolutional layer's name"


@pytest.mark.parametrize(
    ("name", "image_size", "layer", "cells"),
    [
        ("test_vit", 160, "blocks.5.norm1", (10, 10)),
        ("swin_tiny_patch4_window7_224", 224, "norm", (7, 7)),
        ("mambaout_femto", 64, "stages", (2, 2)),
    ],
)
def test_tokens_and_channels_last_are_maps(name, image_size, layer, cells):
    model = make(name, image_size)
    assert target_layer(model, image_size=image_size) == layer
    assert map_size(model, layer, image_size) == cells


def test_a_layer_without_a_map():
    expected = f"maps.layer: 'fc' of test_resnet gives [1, 10], {NO_MAP}"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(make("test_resnet"), "fc", image_size=64)


class Twice(nn.Module):
    """One activation used twice, one layer never."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.spare = nn.ReLU(), nn.Conv2d(4, 4, 1)

    def forward(self, images):
        return self.act(self.second(self.act(self.first(images)))).mean((2, 3))


def test_layers_that_do_not_run_once():
    model = Twice()
    assert target_layer(model, "last_conv", image_size=8) == "second"
    expected = "maps.layer: 'act' of Twice runs 2 times per image, expected once; use features"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(model, "act", image_size=8)
    expected = "maps.layer: 'spare' of Twice never runs, expected once; use features"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(model, "spare", image_size=8)


def test_networks_of_another_kind():
    expected = "maps.layer: features of Twice: no forward_features, as timm's have; name a module instead"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(Twice(), image_size=8)
    expected = "image_size: Twice states none; pass the images' size in pixels"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(Twice())
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    expected = "maps.layer: Sequential runs no Conv2d on a map; name a module or use features"
    with pytest.raises(ValueError, match=exactly(expected)):
        target_layer(flat, "last_conv", image_size=8)


FIX = "use a larger model.image_size or a smaller model.output_stride"


@pytest.mark.parametrize(("image_size", "cells"), [(32, 1), (64, 2), (96, 3)])
def test_maps_too_small_to_compare(image_size, cells):
    found = f"the map of 'layer4' of test_resnet is {cells}×{cells} at {image_size}×{image_size} pixels"
    with pytest.raises(ValueError, match=exactly(f"maps.layer: {found}, expected at least 4×4; {FIX}")):
        check_map_size(make("test_resnet"), "layer4", image_size)


def test_the_last_conv_of_a_map_of_one_cell_is_refused_not_replaced():
    """At 32 pixels an earlier convolution still has a larger map: it must not silently become the layer."""
    found = "the map of 'bn2' of efficientnet_b0 is 1×1 at 32×32 pixels"
    with pytest.raises(ValueError, match=exactly(f"maps.layer: {found}, expected at least 4×4; {FIX}")):
        target_layer(make("efficientnet_b0"), "last_conv", image_size=32)


def test_a_coarse_map_warns():
    found = "the map of 'layer4' of test_resnet is 4×6 at 128×192 pixels"
    with pytest.warns(UserWarning, match=exactly(f"maps.layer: {found}, coarse below 7×7; {FIX}")):
        assert check_map_size(make("test_resnet"), "layer4", (128, 192)) == (4, 6)


def test_a_fine_map_does_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_map_size(make("test_resnet", output_stride=8), "layer4", 56) == (7, 7)


@pytest.mark.parametrize(("layer", "size"), [("layer4", 64), ("fc", 64), ("layer5", 64), ("%%", 64)])
def test_explaining_refuses_what_looking_refuses(layer, size):
    """It looks at the first batch instead of a blank image, and says the same."""
    model = make("test_resnet").eval()
    with pytest.raises(ValueError, match=r"^maps.layer: ") as looked:
        check_map_size(model, layer, size)
    with pytest.raises(ValueError, match=exactly(str(looked.value))):
        explain(model, torch.zeros(1, 3, size, size), layer=layer)
    assert not any(module._forward_hooks for module in model.modules())


def test_explaining_warns_of_a_coarse_map_once():
    model = make("test_resnet", output_stride=8).eval()
    with pytest.warns(UserWarning, match="^maps.layer: ") as found:
        explain(model, torch.zeros(3, 3, 40, 40), layer="layer4", batch_size=1)
    assert [str(one.message) for one in found] == [
        f"maps.layer: the map of 'layer4' of test_resnet is 5×5 at 40×40 pixels, coarse below 7×7; {FIX}"
    ]
