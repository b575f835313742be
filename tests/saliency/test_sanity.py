"""The cascade of random weights: its order by hand, what it leaves alone, and where it starts and ends."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from auglens import compat
from auglens.metrics import sanity_check
from auglens.saliency import METHODS, cascade, explain, finish, sanity_maps
from auglens.saliency.contract import Found, Method
from auglens.saliency.sanity import groups

pytestmark = pytest.mark.filterwarnings("ignore:maps.layer")  # coarse maps are as good as any here
compat.import_timm()
import timm  # noqa: E402 - needs the line above

IMAGES = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(5)) * 4 - 2


def build(name: str, seed: int, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, pretrained=False, num_classes=5, **options)


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    """A network that looks trained, its batch norms included, and a fresh one."""
    model, fresh = build("test_resnet", 0), build("test_resnet", 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(2))
            module.num_batches_tracked.fill_(7)
    return model, fresh


def contents(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def fails_later() -> Method:
    """Gradients, until its third run."""
    runs: list[None] = []

    def explains(model: nn.Module, layer: str, images: torch.Tensor, targets: torch.Tensor | None) -> Found:
        runs.append(None)
        if len(runs) == 3:
            raise RuntimeError("stop")
        return METHODS["gradient"](model, layer, images, targets)

    return explains


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one if torch.equal(one[name], two[name])]


@pytest.mark.parametrize(
    ("name", "options", "order", "first", "last"),
    [
        ("resnet18", {}, "fc layer4 layer3 layer2 layer1 stem", "fc.weight", "conv1.weight bn1.running_var"),
        ("test_resnet", {}, "fc layer4 layer3 layer2 layer1 stem", "fc.bias", "conv1.0.weight bn1.weight"),
        (
            "efficientnet_b0",
            {},
            "classifier conv_head blocks.6 blocks.5 blocks.4 blocks.3 blocks.2 blocks.1 blocks.0 stem",
            "classifier.weight",
            "conv_stem.weight bn1.bias",
        ),
        (
            "vit_tiny_patch16_224",
            {"img_size": 64},
            "head " + " ".join(f"blocks.{n}" for n in reversed(range(12))) + " stem",
            "head.weight",
            "cls_token pos_embed patch_embed.proj.weight",
        ),
    ],
)
def test_groups_stand_from_the_head_down_to_the_stem(
    name: str, options: dict[str, int], order: str, first: str, last: str
) -> None:
    model = build(name, 0, **options)
    found = groups(model)
    assert " ".join(found) == order
    names = [*found.values()]
    assert first in names[0]
    assert {*last.split()} <= {*names[-1]}
    everything = [name for group in names for name in group]
    assert sorted(everything) == sorted(model.state_dict())


def test_a_normalisation_goes_with_what_it_normalises() -> None:
    assert "bn2.running_mean" in groups(build("efficientnet_b0", 0))["conv_head"]
    assert "norm.weight" in groups(build("vit_tiny_patch16_224", 0, img_size=64))["blocks.11"]


def test_a_weight_in_two_places_goes_with_the_one_nearer_to_the_head() -> None:
    layers = [nn.Linear(4, 4, bias=False) for _ in range(6)]
    layers[4].weight = layers[1].weight
    assert groups(nn.Sequential(*layers)) == {
        "5": ["5.weight"],
        "4": ["4.weight"],
        "3": ["3.weight"],
        "2": ["2.weight"],
        "1": [],
        "stem": ["0.weight"],
    }


def test_each_step_takes_one_more_group_and_nothing_else(pair: tuple[nn.Module, nn.Module]) -> None:
    model, fresh = pair
    ours, theirs = contents(model), contents(fresh)
    taken: set[str] = set()
    steps = []
    for (group, network), (expected, names) in zip(cascade(model, fresh), groups(model).items(), strict=True):
        taken |= {*names}
        assert group == expected
        now = contents(network)
        for name, tensor in now.items():
            assert torch.equal(tensor, (theirs if name in taken else ours)[name]), name
        steps.append(len(taken))
    assert steps[-1] == len(ours)
    assert len(same(ours, theirs)) < len(ours) / 2  # so that taking them shows


def test_both_models_stay_as_they_are(pair: tuple[nn.Module, nn.Module]) -> None:
    before = [contents(model) for model in pair]
    model, fresh = pair
    for _, network in cascade(model, fresh):
        assert network is not model
        break  # left early
    spoilt = next(cascade(model, fresh))[1]
    next(spoilt.parameters()).data.fill_(9)
    list(sanity_maps(model, fresh, IMAGES, methods=["gradcam"], size=64))
    with pytest.raises(RuntimeError, match="stop"):
        list(sanity_maps(model, fresh, IMAGES, methods={"own": fails_later()}, size=64))
    for model, content in zip(pair, before, strict=True):
        assert len(same(contents(model), content)) == len(content)
        assert model.training
        assert not any(module._forward_hooks for module in model.modules())


def test_a_network_that_is_the_fresh_one_keeps_its_maps(pair: tuple[nn.Module, nn.Module]) -> None:
    fresh = pair[1]
    levels = sanity_maps(copy.deepcopy(fresh), fresh, IMAGES, methods=["gradcam++", "gradient"], size=64)
    rows = sanity_check(levels)
    assert len(rows) == 2 * 6
    for row in rows:
        assert row["undefined"] == 0
        assert row["spearman_mean"] == pytest.approx(1, abs=1e-9)
        assert row["ssim_mean"] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("given", [None, np.array([0, 1, 4, 2])], ids=["predicted", "given"])
def test_it_starts_at_the_original_and_ends_at_the_fresh_one(
    pair: tuple[nn.Module, nn.Module], given: np.ndarray | None
) -> None:
    model, fresh = pair
    methods = ["gradcam++", "layercam"]
    levels = list(
        sanity_maps(model, fresh, IMAGES, methods=methods, size=32, layer="layer3", targets=given, batch_size=3)
    )
    targets = explain(model, IMAGES, layer="layer3").targets if given is None else given
    assert [level.layer for level in levels] == [None, *groups(model)]
    for level, network in ((levels[0], model), (levels[-1], fresh)):
        for method in methods:
            raw = explain(network, IMAGES, method=method, targets=targets, layer="layer3", batch_size=3).raw
            assert level.maps[method].tobytes() == finish(raw, 32).tobytes()
    assert not np.array_equal(levels[1].maps["gradcam++"], levels[0].maps["gradcam++"])
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    head = sizes["fc.weight"] + sizes["fc.bias"]
    assert levels[0].fraction_randomised == 0
    assert levels[1].fraction_randomised == head / sum(sizes.values())
    assert levels[-1].fraction_randomised == 1


def test_images_may_come_in_batches(pair: tuple[nn.Module, nn.Module]) -> None:
    options = {"methods": ["gradcam++"], "size": 64, "batch_size": 2}
    whole = sanity_check(sanity_maps(*pair, IMAGES, **options))
    assert sanity_check(sanity_maps(*pair, [IMAGES[:2], IMAGES[2:]], **options)) == whole


def test_another_architecture_is_refused(pair: tuple[nn.Module, nn.Module]) -> None:
    with torch.random.fork_rng():
        wider = timm.create_model("test_resnet", pretrained=False, num_classes=6)
    message = "fresh: expected the model's architecture, got [6, 96] for 'fc.weight' of [5, 96]; build both alike"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cascade(pair[0], wider)
    with pytest.raises(ValueError, match=re.escape("got none for 'conv1")):
        cascade(pair[0], nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"^maps\.method: no method 'gradcma'; did you mean gradcam\?$"):
        sanity_maps(*pair, IMAGES, methods=["gradcma"], size=64)
    message = "methods: expected at least one, got none; name some, as ['gradcam']"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        sanity_maps(*pair, IMAGES, methods=[], size=64)
