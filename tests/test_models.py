"""Models from a seed, settings that reach them, and checkpoints of other models."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch

from auglens.config import ModelConfig
from auglens.models import build, load_weights


def config(name="test_resnet", image_size=32, output_stride=None, dropout=0.0, drop_path=0.0):
    return ModelConfig(
        name=name, image_size=image_size, output_stride=output_stride, dropout=dropout, drop_path=drop_path
    )


def weights(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def exactly(message):
    return f"^{re.escape(message)}$"


def test_equal_seeds_give_byte_equal_weights():
    assert weights(build(config(), 3, init_seed=7)) == weights(build(config(), 3, init_seed=7))


def test_equal_seeds_give_byte_equal_weights_whatever_was_drawn_before():
    first = weights(build(config(), 3, init_seed=7))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert weights(build(config(), 3, init_seed=7)) == first


def test_another_seed_gives_other_weights():
    first, other = weights(build(config(), 3, init_seed=7)), weights(build(config(), 3, init_seed=8))
    assert first["conv1.0.weight"] != other["conv1.0.weight"]
    assert first["fc.weight"] != other["fc.weight"]


def test_settings_that_draw_nothing_do_not_move_the_weights():
    plain = weights(build(config(), 3, init_seed=7))
    assert weights(build(config(dropout=0.5, drop_path=0.1, output_stride=8), 3, init_seed=7)) == plain


def test_global_generators_stay_as_they_were():
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes(), random.getstate()  # noqa: NPY002
    build(config(), 3, init_seed=7)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_settings_reach_the_network():
    model = build(config("efficientnet_b0", output_stride=8, dropout=0.3, drop_path=0.2), 5, init_seed=0).eval()
    assert model.drop_rate == 0.3
    assert max(getattr(module, "drop_prob", 0) or 0 for module in model.modules()) > 0.1
    with torch.no_grad():
        assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 1280, 4, 4)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


def test_zero_dropout_overrides_a_network_s_own():
    """GhostNet drops 0.2 unless told otherwise."""
    assert build(config("ghostnet_050"), 2, init_seed=0).drop_rate == 0


@pytest.mark.parametrize("name", ["densenet121", "hrnet_w18_small", "ese_vovnet19b_dw"])
def test_settings_that_ask_for_nothing_are_left_out_where_a_network_has_none(name):
    assert build(config(name), 2, init_seed=0).num_classes == 2


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("densenet121", {"drop_path": 0.1}, "model.drop_path: 0.1 is not supported by densenet121; use 0"),
        ("densenet121", {"output_stride": 8}, "model.output_stride: 8 is not supported by densenet121; use null"),
        (
            "ghostnet_050",
            {"output_stride": 8},
            "model.output_stride: 8 is not supported by ghostnet_050; use null",
        ),
        ("hrnet_w18_small", {"drop_path": 0.1}, "model.drop_path: 0.1 is not supported by hrnet_w18_small; use 0"),
    ],
)
def test_a_setting_that_a_network_cannot_follow(name, settings, message):
    with pytest.raises(ValueError, match=exactly(f"{message} or another model.name")):
        build(config(name, **settings), 2, init_seed=0)


def test_a_misspelt_name_is_answered_with_near_ones():
    expected = r"^model\.name: expected a timm model, got 'resnet81'; did you mean resnet18 or \w+ or \w+\?$"
    with pytest.raises(ValueError, match=expected):
        build(config("resnet81"), 2, init_seed=0)


def test_a_name_like_no_other():
    expected = "model.name: expected a timm model, got '%%%'; see timm.list_models()"
    with pytest.raises(ValueError, match=exactly(expected)):
        build(config("%%%"), 2, init_seed=0)


def test_nothing_is_fetched_by_name():
    with pytest.raises(ValueError, match=r"^model\.name: expected a timm model, got 'hf-hub:timm/resnet18'; "):
        build(config("hf-hub:timm/resnet18"), 2, init_seed=0)


def test_one_class_is_none():
    expected = "classes: expected at least 2, got 1; check the labels of the data"
    with pytest.raises(ValueError, match=exactly(expected)):
        build(config(), 1, init_seed=0)


def test_weights_are_copied():
    source, model = build(config(), 3, init_seed=1), build(config(), 3, init_seed=2)
    load_weights(model, source.state_dict())
    assert weights(model) == weights(source)


FIX = "it is another architecture's: set model.* to what it was trained with, or train this model"


def test_a_checkpoint_of_another_architecture_changes_nothing():
    model = build(config(), 3, init_seed=1)
    before = weights(model)
    expected = f"checkpoint: no tensor 'conv1.0.weight', expected [16, 3, 3, 3]; {FIX}"
    with pytest.raises(ValueError, match=exactly(expected)):
        load_weights(model, build(config("test_efficientnet"), 3, init_seed=1).state_dict())
    assert weights(model) == before


def test_a_checkpoint_of_another_number_of_classes_changes_nothing():
    model = build(config(), 3, init_seed=1)
    before = weights(model)
    expected = f"checkpoint: tensor 'fc.weight' is [4, 96], expected [3, 96]; {FIX}"
    with pytest.raises(ValueError, match=exactly(expected)):
        load_weights(model, build(config(), 4, init_seed=2).state_dict())
    assert weights(model) == before


def test_a_checkpoint_with_more_than_the_model():
    model = build(config(), 3, init_seed=1)
    state = {**model.state_dict(), "bottleneck.weight": torch.zeros(1)}
    expected = f"checkpoint: tensor 'bottleneck.weight' is not in the model; {FIX}"
    with pytest.raises(ValueError, match=exactly(expected)):
        load_weights(model, state)
