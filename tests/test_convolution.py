"""Weight gradients as products per tap: against torch's own in float64, by hand, and within a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy

from auglens import convolution
from auglens.config import ModelConfig
from auglens.convolution import quick_gradients, weight_gradient
from auglens.models import build


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("size", [(2, 2), (4, 4), (5, 8), (1, 3)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        ((3, 3), (1, 1), (1, 1), (1, 1)),
        ((5, 5), (1, 1), (2, 2), (1, 1)),
        ((5, 5), (2, 2), (2, 2), (1, 1)),
        ((3, 3), (1, 1), (2, 2), (2, 2)),
        ((3, 3), (1, 1), (4, 4), (4, 4)),
        ((3, 5), (2, 1), (3, 6), (2, 3)),
        ((1, 3), (3, 2), (0, 1), (1, 1)),
    ],
)
def test_it_is_torch_s_own_gradient(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
    depthwise: bool,
) -> None:
    """In float64, where the order of summation shows from the fourteenth digit on."""
    images = drawn(3, 6, *size, seed=1).to(memory_format=torch.channels_last)
    weight = drawn(6 if depthwise else 4, 1 if depthwise else 6, *kernel, seed=2).requires_grad_()
    outputs = conv2d(images, weight, None, stride, padding, dilation, 6 if depthwise else 1)
    gradient = drawn(*outputs.shape, seed=3)
    outputs.backward(gradient)
    found = weight_gradient(images, gradient, kernel, stride, padding, dilation, depthwise=depthwise)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, weight.grad, rtol=1e-12, atol=1e-12)


def test_two_pixels_by_hand() -> None:
    """Pixels 2 and 3, output gradients 5 and 7, three taps: the middle one meets both pixels, each other one."""
    images, gradient = torch.tensor([[[[2.0, 3.0]]]]), torch.tensor([[[[5.0, 7.0]]]])
    found = weight_gradient(images, gradient, (1, 3), (1, 1), (0, 1), (1, 1), depthwise=False)
    assert found.tolist() == [[[[7 * 2.0, 5 * 2.0 + 7 * 3.0, 5 * 3.0]]]]


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 8), ("test_efficientnet", None), ("resnet18", None)])
def test_a_network_s_outputs_are_the_same_and_its_gradients_but_for_rounding(
    name: str, stride: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        taken.append(arguments)
        return weight_gradient(*arguments, **options)

    monkeypatch.setattr(convolution, "weight_gradient", counted)
    model = build(ModelConfig(name, 64, stride, 0.0, 0.0), 10, init_seed=0).to(memory_format=torch.channels_last)
    images = drawn(4, 3, 64, 64, seed=4).float().to(memory_format=torch.channels_last)

    def step() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        outputs = model(images)
        cross_entropy(outputs, torch.arange(4)).backward()
        return outputs.detach(), {key: value.grad.clone() for key, value in model.named_parameters()}

    plain, expected = step()
    with quick_gradients(model):
        quick, found = step()
    assert taken
    assert torch.equal(plain, quick)
    for key, value in found.items():
        gap = (value - expected[key]).norm()
        assert gap <= 1e-5 * expected[key].norm(), key  # none where a last norm starts at zero
    assert not any("forward" in vars(layer) for layer in model.modules())
    taken.clear()
    again, before = step()
    assert not taken
    assert torch.equal(again, plain)
    assert all(torch.equal(before[key], expected[key]) for key in before)


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize(
    ("layer", "size", "pays"),
    [
        (nn.Conv2d(96, 96, 3, padding=1, bias=False), 8, True),
        (nn.Conv2d(96, 96, 3, padding=1, bias=False), 29, False),
        (nn.Conv2d(64, 96, 3, padding=1, bias=False), 8, False),
        (nn.Conv2d(4, 4, 3, padding=1, bias=False), 2, True),
        (nn.Conv2d(4, 4, 3, padding=1, bias=False), 3, False),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False), 8, True),
        (nn.Conv2d(96, 96, 3, padding=1, bias=False, groups=96), 8, False),
        (nn.Conv2d(96, 96, 5, padding=2, stride=2, bias=False, groups=96), 8, True),
        (nn.Conv2d(96, 96, 5, padding=4, dilation=2, bias=False, groups=96), 8, True),
    ],
)
def test_where_it_is_taken(layer: nn.Conv2d, size: int, pays: bool) -> None:
    with quick_gradients(layer):
        outputs = layer(torch.zeros(1, layer.in_channels, size, size))
    assert (type(outputs.grad_fn).__name__ == "_ConvolutionBackward") == pays


@pytest.mark.usefixtures("avx2")
def test_what_it_cannot_do_stays_torch_s() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3, dilation=2, padding=2, bias=True),
        nn.Conv2d(4, 4, 3, dilation=2, padding=2, bias=False, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, dilation=2, padding="same", bias=False),
        nn.Conv2d(4, 4, 3, dilation=2, padding=2, bias=False, groups=2),
        nn.Conv2d(4, 8, 3, dilation=2, padding=2, bias=False, groups=4),
        nn.Conv2d(8, 4, 1, bias=False),
    )
    with quick_gradients(layers):
        assert not any("forward" in vars(layer) for layer in layers)


@pytest.mark.usefixtures("avx2")
def test_evaluation_and_bf16_take_torch_s_own_way() -> None:
    layer = nn.Conv2d(4, 4, 3, dilation=2, padding=2, bias=False)
    images = torch.ones(1, 4, 8, 8)
    with quick_gradients(layer):
        assert type(layer(images).grad_fn).__name__ == "_ConvolutionBackward"
        with torch.no_grad():
            assert layer(images).grad_fn is None
        with torch.autocast("cpu", torch.bfloat16):
            assert type(layer(images).grad_fn).__name__ != "_ConvolutionBackward"


def test_other_processors_keep_their_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    layer = nn.Conv2d(4, 4, 3, dilation=2, padding=2, bias=False)
    with quick_gradients(layer):
        assert "forward" not in vars(layer)
