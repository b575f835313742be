"""Norms replaced and PRECODE's bottleneck: bytes that stay, outside oracles, sampling, messages, training."""

from __future__ import annotations

import copy
import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cross_entropy, softplus

from auglens.config import ModelConfig
from auglens.models import Bottleneck, GroupNorm, build, divergence, penalty
from auglens.saliency import explain


def made(
    name: str = "test_resnet", *, seed: int = 7, size: int = 32, stride: int | None = None, **settings: Any
) -> Any:
    return build(ModelConfig(name, size, stride, settings.pop("dropout", 0.0), 0.0, **settings), 3, init_seed=seed)


def bytes_of(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def shake(model: nn.Module) -> nn.Module:
    """Other values in every tensor that a network starts at 0 or 1, so that none hides a fault."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return model


IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
SETTINGS: list[dict[str, Any]] = [
    {"norm": "none"},
    {"norm": "group", "norm_channels": 8},
    {"norm": "group", "norm_channels": None, "norm_groups": 4},
    {"precode_size": 6},
    {"norm": "group", "norm_channels": 8, "precode_size": 6},
]
HEADS = {"test_resnet": "fc", "resnet18": "fc", "efficientnet_b0": "classifier"}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", HEADS)
def test_every_other_tensor_keeps_its_bytes(name: str, settings: dict[str, Any]) -> None:
    plain, head = bytes_of(made(name)), HEADS[name]
    found = bytes_of(made(name, **settings))
    if "precode_size" in settings:
        plain = {re.sub(rf"^{head}\.", f"{head}.classifier.", key): value for key, value in plain.items()}
        new = {f"{head}.{part}.{kind}" for part in ("encoder", "decoder") for kind in ("weight", "bias")}
        assert new <= found.keys()
        found = {key: value for key, value in found.items() if key not in new}
    if settings.get("norm") == "group":
        plain = {key: value for key, value in plain.items() if "running" not in key and "num_batches" not in key}
        assert found == plain
    elif "norm" in settings:
        shared = {key for key in plain if key in found}
        assert {key: found[key] for key in shared} == {key: plain[key] for key in shared}
        norms = {key.removesuffix(".running_mean") for key in plain if key.endswith(".running_mean")}
        assert plain.keys() - shared == {
            f"{norm}.{kind}"
            for norm in norms
            for kind in ("weight", "running_mean", "running_var", "num_batches_tracked")
        }
        assert found.keys() - shared <= {f"{norm}.scale" for norm in norms}
    else:
        assert found == plain


@pytest.mark.parametrize("settings", SETTINGS)
def test_equal_seeds_give_equal_bytes_and_global_generators_stay(settings: dict[str, Any]) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes(), random.getstate()  # noqa: NPY002
    one = bytes_of(made(**settings))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002
    assert random.getstate() == before[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert bytes_of(made(**settings)) == one


def test_another_seed_gives_another_bottleneck() -> None:
    one, two = bytes_of(made(precode_size=6)), bytes_of(made(precode_size=6, seed=8))
    assert one["fc.encoder.weight"] != two["fc.encoder.weight"]
    assert one["fc.decoder.weight"] != two["fc.decoder.weight"]


@pytest.mark.parametrize(
    ("settings", "layer"),
    [
        ({"norm_channels": 16}, lambda channels, **_: nn.GroupNorm(channels // 16, channels)),
        ({"norm_channels": None, "norm_groups": 2}, lambda channels, **_: nn.GroupNorm(2, channels)),
    ],
)
@pytest.mark.parametrize("name", ["test_resnet", "resnet18"])
def test_group_norm_is_what_timm_builds_with_torch_s_own(name: str, settings: dict[str, Any], layer: Any) -> None:
    mine = shake(made(name, norm="group", **settings)).train()
    import timm

    theirs = timm.create_model(name, num_classes=3, norm_layer=layer).train()
    theirs.load_state_dict(mine.state_dict())
    assert torch.equal(mine(IMAGES), theirs(IMAGES))


def test_group_norm_in_place_of_a_fused_norm_is_timm_s_own_fused_one() -> None:
    mine = shake(made("efficientnet_b0", norm="group", norm_channels=8)).eval()
    import timm
    from timm.layers import GroupNormAct

    def layer(channels: int, **how: Any) -> nn.Module:
        return GroupNormAct(channels, group_size=8, **{"act_layer": nn.SiLU, **how})

    theirs = timm.create_model("efficientnet_b0", num_classes=3, norm_layer=layer).eval()
    theirs.load_state_dict(mine.state_dict())
    assert torch.equal(mine(IMAGES), theirs(IMAGES))


def test_group_norm_by_hand() -> None:
    """Two groups of two channels of one pixel pair each, then ReLU: in each group (x − mean) / spread."""
    layer = GroupNorm(2, 4, eps=0.0, drop=nn.Identity(), act=nn.ReLU())
    x = torch.tensor([[1.0, 3.0], [1.0, 3.0], [10.0, 20.0], [20.0, 10.0]]).reshape(1, 4, 1, 2)
    expected = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]).reshape(1, 4, 1, 2)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("name", ["test_resnet", "resnet18", "efficientnet_b0"])
def test_without_a_norm_a_network_starts_as_the_batch_norm_one_in_evaluation(name: str) -> None:
    """A batch norm that has seen nothing divides by √(1 + ε) and no more. 1e-3: ε over some fifty layers."""
    plain, none = made(name).eval(), made(name, norm="none").train()
    with torch.no_grad():
        expected = plain(IMAGES)
        torch.testing.assert_close(none(IMAGES), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_without_a_norm_there_is_one_bias_per_channel() -> None:
    model = made(norm="none").eval()
    before = model.bn1(torch.zeros(1, 32, 2, 2))
    with torch.no_grad():
        model.bn1.bias.copy_(torch.arange(32.0))
    assert torch.equal(before, torch.zeros(1, 32, 2, 2))
    assert torch.equal(model.bn1(torch.ones(1, 32, 2, 2))[0, :, 0, 0], 1 + torch.arange(32.0))
    with torch.no_grad():
        model.layer1[0].bn2.scale.fill_(3.0)
    assert torch.equal(model.layer1[0].bn2(torch.ones(1, 32, 1, 1)), torch.full((1, 32, 1, 1), 3.0))


def losses(model: Any, size: int, steps: int, *, batch: int = 16) -> list[float]:
    """Adam 1e-3 on two classes that differ in their mean red."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator, found = torch.Generator().manual_seed(0), []
    labels = torch.arange(batch) % 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(steps):
            images = torch.randn(batch, 3, size, size, generator=generator)
            images[:, 0] += (labels * 2.0 - 1)[:, None, None]
            loss = cross_entropy(model(images), labels)
            added = penalty(model)
            optimizer.zero_grad()
            (loss if added is None else loss + added).backward()
            optimizer.step()
            found.append(loss.item())
    return found


@pytest.mark.parametrize(
    "settings",
    [{"norm": "none"}, {"norm": "group"}, {"norm": "none", "precode_size": 16}, {"precode_size": 128}],
)
def test_it_trains(settings: dict[str, Any]) -> None:
    found = losses(made("resnet18", stride=16, **settings).train(), 32, 25)
    assert max(found) < 3
    assert np.mean(found[-5:]) < 0.4


def test_without_a_norm_a_deep_network_s_loss_does_not_jump() -> None:
    found = losses(made("resnet50", stride=16, norm="none").train(), 32, 6)
    assert max(found) < 3  # without the scalar that starts a branch at 0: 412
    assert found[-1] < found[0]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "efficientnet_b0",
            {"norm": "group"},
            "model.norm_channels: 16 does not divide the 24 channels of 'blocks.1.0.bn3' in efficientnet_b0; "
            "use a divisor of 8, which divides those of every layer",
        ),
        (
            "resnet18",
            {"norm": "group", "norm_channels": None, "norm_groups": 48},
            "model.norm_groups: 48 does not divide the 64 channels of 'bn1' in resnet18; "
            "use a divisor of 64, which divides those of every layer",
        ),
        (
            "convnext_atto",
            {"norm": "group"},
            "model.norm: group is not supported by convnext_atto; use batch or another model.name",
        ),
        (
            "levit_128s",  # batch norms of one dimension
            {"norm": "none", "size": 224},
            "model.norm: none is not supported by levit_128s; use batch or another model.name",
        ),
        (
            "levit_128s",
            {"precode_size": 8, "size": 224},
            "model.precode_size: 8 is not supported by levit_128s; use 0 or another model.name",
        ),
    ],
)
def test_a_network_that_cannot_follow(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        made(name, **settings)


def test_the_largest_number_that_the_message_names_works() -> None:
    made("efficientnet_b0", norm="group", norm_channels=8)
    made("resnet18", norm="group", norm_channels=None, norm_groups=64)


def test_the_divergence_is_that_of_torch_s_distributions() -> None:
    generator = torch.Generator().manual_seed(2)
    mean, std = torch.randn(5, 7, generator=generator), torch.rand(5, 7, generator=generator) * 3 + 1e-3
    mean, std = mean.double(), std.double()
    expected = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(divergence(mean, std), expected)


def test_the_divergence_by_hand() -> None:
    """N(1, 1) from N(0, 1): ½. N(0, e²): ½(e² − 1) − 1. The mean over two images of sums over two values."""
    e = float(np.e)
    found = divergence(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [e, 1.0]]))
    assert found.item() == pytest.approx((1.0 + 0.5 * (e**2 - 1) - 1) / 2, rel=1e-6)
    assert divergence(torch.zeros(3, 4), torch.ones(3, 4)).item() == 0


def head(beta: float = 0.5) -> Bottleneck:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return Bottleneck(nn.Linear(6, 3), 4, beta)


def test_in_evaluation_the_mean_is_decoded() -> None:
    module, features = head().eval(), torch.randn(5, 6, generator=torch.Generator().manual_seed(5))
    tensors = {name: tensor.double() for name, tensor in module.state_dict().items()}
    mean = features.double() @ tensors["encoder.weight"][:4].T + tensors["encoder.bias"][:4]
    decoded = mean @ tensors["decoder.weight"].T + tensors["decoder.bias"]
    expected = decoded @ tensors["classifier.weight"].T + tensors["classifier.bias"]
    torch.testing.assert_close(module(features).double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(module(features) - module(torch.zeros(5, 6)), features @ module.weight.T)


def test_in_training_the_code_has_the_mean_and_the_spread_that_the_encoder_says() -> None:
    """Decoder and classifier hand the code on; 40,000 draws: five standard errors of mean and spread."""
    module = Bottleneck(nn.Linear(2, 2, bias=False), 2, 1.0).train()
    with torch.no_grad():
        for layer in (module.decoder, module.classifier):
            layer.weight.copy_(torch.eye(2))
        module.decoder.bias.zero_()
        module.encoder.weight.zero_()
        module.encoder.bias.copy_(torch.tensor([1.0, -2.0, 5.0, 6.0]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(6)
            drawn = module(torch.zeros(40_000, 2)).double()
    spread = softplus(torch.tensor([0.0, 1.0])).double()  # log 2 and log(1 + e)
    assert ((drawn.mean(0) - torch.tensor([1.0, -2.0])).abs() < 5 * spread / 200).all()
    assert ((drawn.std(0) - spread).abs() < 5 * spread / (200 * 2**0.5)).all()
    expected = kl_divergence(Normal(torch.tensor([1.0, -2.0]), spread.float()), Normal(0.0, 1.0)).sum()
    found = penalty(module)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_sampling_in_training_depends_on_the_seed_alone_and_evaluation_on_none() -> None:
    model = made(precode_size=6)

    def outputs(seed: int) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            return model(IMAGES)

    model.train()
    assert torch.equal(outputs(1), outputs(1))
    assert not torch.equal(outputs(1), outputs(2))
    model.eval()
    assert torch.equal(outputs(1), outputs(2))


def test_the_penalty_is_that_of_the_last_forward_in_training_and_given_once() -> None:
    module = head(beta=0.5).train()
    first, second = torch.zeros(2, 6), torch.ones(3, 6)
    module(first)
    module(second)
    mean, raw = module.encoder(second).split(4, dim=1)
    expected = 0.5 * kl_divergence(Normal(mean, softplus(raw - 5)), Normal(0.0, 1.0)).sum(1).mean()
    found = penalty(module)
    assert found is not None
    # The standard deviations, near 0.0067, have 1e-6 added.
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    found.backward()
    assert module.encoder.weight.grad is not None
    message = "penalty: expected a forward in training mode since the last one; run the model first"
    with pytest.raises(ValueError, match=exactly(message)):
        penalty(module)
    module(first)
    module.eval()(first)  # an evaluation between leaves no graph behind
    with pytest.raises(ValueError, match=exactly(message)):
        penalty(module)
    copy.deepcopy(module)


def test_without_a_bottleneck_there_is_no_penalty() -> None:
    model = made().train()
    model(IMAGES)
    assert penalty(model) is None


def test_dropout_comes_before_the_bottleneck() -> None:
    seen: list[torch.Tensor] = []
    for dropout in (0.0, 0.5):
        model = made(precode_size=6, dropout=dropout).train()
        model.fc.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model(IMAGES)
    plain, dropped = seen
    kept = (dropped != 0)[plain > 0]
    assert 0.35 < kept.double().mean() < 0.65
    assert torch.equal(dropped[plain > 0][kept], 2 * plain[plain > 0][kept])


@pytest.mark.parametrize("settings", [{}, {"precode_size": 6}, {"precode_size": 6, "norm": "group"}])
@pytest.mark.filterwarnings("ignore:maps.layer")
def test_cam_is_grad_cam_up_to_scale_and_relu(settings: dict[str, Any]) -> None:
    model = shake(made(size=64, stride=8, **settings)).eval()
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(8))
    targets = np.array([0, 1, 2])
    cam = explain(model, images, method="cam", targets=targets).raw
    gradcam = explain(model, images, method="gradcam", targets=targets).raw
    assert (cam > 0).any()
    assert (cam < 0).any()
    expected, cells = np.maximum(cam, 0), cam.shape[1] * cam.shape[2]
    np.testing.assert_allclose(gradcam * cells, expected, rtol=1e-3, atol=1e-4 * expected.max())
