"""Explanations of a segmentation: against gradients of the mean foreground logit by hand, in float64."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import numpy as np
import pytest
import torch
from tests.active.oracles import pictures, segmenter
from torch import Tensor, nn

from auglens.saliency import Explanation
from auglens.saliency.foreground import Foreground, explain_foreground, foreground_layer

FIVE = ("gradient", "inputxgradient", "guided_backprop", "gradcam", "guided_gradcam")
SIDE = 32


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    """In training mode, its logits of these images of either sign."""
    model = segmenter().double()
    with torch.no_grad():
        middle = deepcopy(model).eval()(images().double()).median()
        model.head.bias -= middle + 1e-3  # no logit is nearly 0
    return model


def images() -> Tensor:
    return (pictures(5, seed=11, side=SIDE).float() / 255 - 0.4) / 0.3


def regions() -> Tensor:
    made = torch.zeros(5, SIDE, SIDE, dtype=torch.bool)
    made[0, 3:9, 10:30] = True
    made[1, 31, 31] = True
    made[2] = True
    made[3, ::2, 1::3] = True
    return made  # the last one is empty


def mean_logits(model: nn.Module, x: Tensor, chosen: Tensor | None) -> Tensor:
    """float64 [B], image by image."""
    logits = model(x)[:, 0]
    found = []
    for index, one in enumerate(logits):
        region = one.detach() > 0 if chosen is None else chosen[index]
        found.append(one[region].mean() if bool(region.any()) else one.mean())
    return torch.stack(found)


def by_hand(model: nn.Module, method: str, chosen: Tensor | None, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Raw maps and mean logits."""
    model = deepcopy(model).eval()
    x = x.double().requires_grad_(True)
    kept: list[Tensor] = []
    handle = model.bottom.register_forward_hook(lambda module, given, output: kept.append(output))
    means = mean_logits(model, x, chosen)
    handle.remove()
    if method == "gradcam":
        (slope,) = torch.autograd.grad(means.sum(), kept[0])
        raw = (slope.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu()
    else:
        (slope,) = torch.autograd.grad(means.sum(), x)
        raw = slope.pow(2).sum(1).sqrt() if method == "gradient" else (slope * x).sum(1).abs()
    return raw.detach().numpy(), means.detach().numpy()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("method", ["gradient", "inputxgradient", "gradcam"])
def test_maps_against_gradients_by_hand(unet: nn.Module, method: str, given: bool) -> None:
    chosen = regions() if given else None
    found = explain_foreground(unet, [(images(), chosen)], method=method)
    raw, means = by_hand(unet, method, chosen, images())
    assert found.raw.dtype == np.float32
    assert found.raw.shape == ((5, 4, 4) if method == "gradcam" else (5, SIDE, SIDE))
    # float64 both; maps are stored as float32
    np.testing.assert_allclose(found.raw, raw, rtol=1e-5, atol=1e-6 * raw.max())
    assert bool((raw.reshape(5, -1).max(1) > 0).all())
    np.testing.assert_allclose(found.logits, np.stack([np.zeros(5), means], axis=1), rtol=1e-5, atol=1e-6)
    assert found.targets.tolist() == [1] * 5


def test_of_single_precision_too(unet: nn.Module) -> None:
    single = deepcopy(unet).float()
    raw, _ = by_hand(unet, "gradient", regions(), images())
    found = explain_foreground(single, [(images(), regions())], method="gradient").raw
    # The norm of what differs, not each pixel: a ReLU near 0 may switch in float32.
    assert np.linalg.norm(found - raw) <= 1e-3 * np.linalg.norm(raw)


def test_regions_are_what_the_maps_differ_by(unet: nn.Module) -> None:
    """What the tests above are worth: given, predicted and whole regions give maps far apart."""
    predicted = deepcopy(unet).eval()(images().double())[:, 0] > 0
    assert all(0.1 < float(one.double().mean()) < 0.9 for one in predicted)
    maps = [by_hand(unet, "gradient", chosen, images())[0] for chosen in (None, regions(), regions() | True)]
    for one, two in ((0, 1), (1, 2), (0, 2)):
        assert np.linalg.norm(maps[one][0] - maps[two][0]) > 0.2 * np.linalg.norm(maps[one][0])


@pytest.mark.parametrize("method", FIVE)
def test_an_empty_region_is_the_whole_image(unet: nn.Module, method: str) -> None:
    whole = torch.ones(5, SIDE, SIDE, dtype=torch.bool)
    expected = explain_foreground(unet, [(images(), whole)], method=method)
    empty = explain_foreground(unet, [(images(), ~whole)], method=method)
    np.testing.assert_array_equal(empty.raw, expected.raw)
    nothing = deepcopy(unet)
    with torch.no_grad():
        nothing.head.bias -= 1000  # no pixel is predicted as foreground; gradients are the same
    predicted = explain_foreground(nothing, [(images(), None)], method=method)
    np.testing.assert_allclose(predicted.raw, expected.raw, rtol=1e-5, atol=1e-7 * expected.raw.max())
    np.testing.assert_allclose(predicted.logits[:, 1], expected.logits[:, 1] - 1000, rtol=1e-5)


@pytest.mark.parametrize("method", FIVE)
def test_the_five_methods_of_the_ada_study(unet: nn.Module, method: str) -> None:
    found = explain_foreground(unet, [(images(), regions())], method=method)
    assert np.isfinite(found.raw).all()
    assert (found.raw >= 0).all()
    assert all(one.max() > one.min() for one in found.raw)


def test_guided_gradcam_is_the_product_of_its_two(unet: nn.Module) -> None:
    guided, coarse, both = (
        explain_foreground(unet, [(images(), regions())], method=method).raw
        for method in ("guided_backprop", "gradcam", "guided_gradcam")
    )
    large = nn.functional.interpolate(
        torch.from_numpy(coarse)[:, None], (SIDE, SIDE), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(both, guided * large[:, 0].numpy(), rtol=1e-4, atol=1e-6 * both.max())


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("method", FIVE)
def test_batches_change_nothing(unet: nn.Module, method: str, given: bool) -> None:
    x, chosen = images(), regions() if given else None
    whole = explain_foreground(unet, [(x, chosen)], method=method)
    parts = [(x[cut], None if chosen is None else chosen[cut]) for cut in (slice(0, 2), slice(2, 3), slice(3, 5))]
    found = explain_foreground(unet, iter(parts), method=method, batch_size=2)
    np.testing.assert_allclose(found.raw, whole.raw, rtol=1e-5, atol=1e-6 * whole.raw.max())
    np.testing.assert_allclose(found.logits, whole.logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", FIVE)
def test_the_network_is_left_as_it_was(unet: nn.Module, method: str) -> None:
    model = deepcopy(unet).train()
    model.bottom.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    explain_foreground(model, [(images(), regions())], method=method)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_the_region_is_what_is_predicted_for_the_image_itself(unet: nn.Module, method: str) -> None:
    """Not for those with noise, or darker, that a method shows the network on its way."""
    region = deepcopy(unet).eval()(images().double())[:, 0] > 0
    given, predicted = (
        explain_foreground(unet, [(images(), chosen)], method=method).raw for chosen in (region, None)
    )
    np.testing.assert_allclose(predicted, given, rtol=1e-5, atol=1e-6 * given.max())


@pytest.mark.parametrize("method", ["cam", "scorecam"])
def test_methods_that_are_not_defined_for_it(unet: nn.Module, method: str) -> None:
    with pytest.raises(ValueError, match=method) as caught:
        explain_foreground(unet, [(images(), None)], method=method)
    assert str(caught.value) == f"maps.method: {method} is not defined for a segmentation; use gradcam"


@pytest.mark.parametrize("method", ["gradcam", "smoothgrad"])
def test_regions_go_where_the_model_is(unet: nn.Module, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    away = deepcopy(unet).to("meta")
    found: list[str] = []

    def look(model: Foreground, batches: Iterable[Tensor], **more: object) -> Explanation:
        for _ in batches:
            assert model.regions is not None
            found.append(model.regions.device.type)
        return Explanation(np.zeros((5, 4, 4), np.float32), np.zeros((5, 1), np.float32), np.zeros(5, np.int64))

    monkeypatch.setattr("auglens.saliency.foreground.explain", look)
    explain_foreground(away, [(images(), regions())], method=method)
    assert found == ["meta"]


def test_the_layer_by_its_own_name(unet: nn.Module) -> None:
    name = foreground_layer(unet, "features", image_size=SIDE)
    model = deepcopy(unet).eval()
    kept: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda module, given, output: kept.append(output))
    x = images().double()
    model(x)
    assert torch.equal(kept[0], model.forward_features(x))
    one, two, up = (
        explain_foreground(unet, [(images(), None)], layer=layer).raw for layer in (None, name, "up.0")
    )
    np.testing.assert_array_equal(one, two)
    assert up.shape == (5, 8, 8)
