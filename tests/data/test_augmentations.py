"""Augmented images against independent implementations, and what they may and may not depend on.

The numbers that an image draws are read from `rng` by their stream and used here as each part's docstring says:
torchvision, PIL, scipy or a literal loop then makes the same image from the same numbers.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from auglens import compat, rng
from auglens.data.augmentations import AUGS, Augmented, Part, augment, parse
from auglens.data.augmentations.geometric import smoothing
from auglens.data.augmentations.mixing import boxes, partners
from auglens.data.augmentations.schema import SPECS
from auglens.data.views import to_unit

compat.import_torchvision()
from torchvision.transforms import v2  # noqa: E402 - needs the line above
from torchvision.transforms.v2 import functional as tv  # noqa: E402

PARAMS: dict[str, dict[str, Any]] = {
    "affine": {"degrees": 30, "translate": 0.15, "scale": [0.7, 1.3], "shear": 15, "outside": "zeros"},
    "cutmix": {"alpha": 1.0, "label": "source"},
    "color_jitter": {"brightness": 0.5, "contrast": 0.6, "saturation": 0.7, "hue": 0.3},
    "elastic": {"alpha": 30.0, "sigma": 3.0, "outside": "zeros"},
    "equalize": {"p": 1.0},
    "gaussian_blur": {"kernel_size": 5, "sigma": [0.5, 1.5]},
    "random_crop": {"scale": [0.3, 1.0], "ratio": [0.6, 1.6]},
    "channel_shift": {"amount": 0.2},
    "identity": {},
    "noise": {},
}
CHAINS = ("affine+color_jitter", "gaussian_blur+elastic", "cutmix+equalize", "random_crop+cutmix")
EVERY = (*PARAMS, *CHAINS)
N = 70


def pictures(height: int, width: int, count: int = N) -> Tensor:
    """uint8 [count,3,H,W]: smooth colours under noise, one flat, one half flat, one grey."""
    generator = torch.Generator().manual_seed(8)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noisy = smooth * 255 + 30 * torch.randn(smooth.shape, generator=generator)
    images = noisy.round().clamp(0, 255).to(torch.uint8)
    images[1] = 77
    images[2, :, :, : width // 2] = 200
    images[-1, 1:] = images[-1, :1]
    return images


IMAGES = pictures(32, 32)
ODD = pictures(29, 35)  # neither square nor a multiple of a vector register
LARGE = pictures(250, 240, 3)  # above torch's threshold for sharing one reduction among threads
LABELS = torch.arange(N) % 10
ROWS = torch.arange(N)


def parts(aug: str, **changes: Any) -> list[Part]:
    return [Part(name, PARAMS[name] | changes) for name in parse(aug)]


def run(aug: str, images: Tensor = IMAGES, rows: Tensor = ROWS, **changes: Any) -> Augmented:
    return augment(parts(aug, **changes), images, LABELS, rows, seed=4, epoch=2)


def draws(name: str, width: int) -> np.ndarray:
    return rng.uniforms(seed=4, stream=f"augmentation/{name}", epoch=2, rows=ROWS.numpy(), width=width)


def within(drawn: float, low: float, high: float) -> float:
    return low + (high - low) * drawn


# What an augmented image depends on


@pytest.mark.parametrize("images", [IMAGES, ODD], ids=["32x32", "29x35"])
@pytest.mark.parametrize("aug", EVERY)
def test_neither_batch_size_nor_order_nor_threads_change_a_bit(aug: str, images: Tensor) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = run(aug, images).images
        for size in (1, 7, 64):
            assert torch.equal(torch.cat([run(aug, images, some).images for some in ROWS.split(size)]), whole)
        shuffled = torch.from_numpy(np.random.default_rng(1).permutation(N))
        assert torch.equal(run(aug, images, shuffled).images, whole[shuffled])
        repeated = torch.tensor([9, 3, 9])
        assert torch.equal(run(aug, images, repeated).images, whole[repeated])
        torch.set_num_threads(2)
        assert torch.equal(run(aug, images).images, whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("aug", EVERY)
def test_images_large_enough_to_be_shared_among_threads_keep_their_bits(aug: str) -> None:
    """torch splits a sum over one large image among its threads, and over several images it does not."""
    rows = ROWS[:3]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = run(aug, LARGE, rows).images
        torch.set_num_threads(2)
        assert torch.equal(torch.cat([run(aug, LARGE, row).images for row in rows.split(1)]), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("aug", EVERY)
def test_images_are_float32_in_the_unit_range_and_the_sources_are_left_alone(aug: str) -> None:
    before = IMAGES.clone()
    made = run(aug)
    assert made.images.dtype == torch.float32
    assert made.images.shape == IMAGES.shape
    assert made.images.is_contiguous()
    assert 0 <= made.images.min() <= made.images.max() <= 1
    assert torch.equal(IMAGES, before)
    assert torch.equal(made.labels, LABELS)
    assert torch.equal(made.partner_labels, LABELS)
    assert torch.equal(made.partner_weight, torch.zeros(N))


@pytest.mark.parametrize("aug", EVERY)
def test_seed_and_epoch_are_used_where_something_is_drawn(aug: str) -> None:
    one = run(aug).images
    for change in ({"seed": 5, "epoch": 2}, {"seed": 4, "epoch": 3}):
        two = augment(parts(aug), IMAGES, LABELS, ROWS, **change).images
        changed = (one != two).flatten(1).any(1)
        if aug in ("identity", "equalize"):
            assert not changed.any()
        else:
            assert changed.sum() > N - 5  # an image of one colour may stay as it was


@pytest.mark.parametrize("aug", EVERY)
def test_an_aug_changes_images(aug: str) -> None:
    changed = (run(aug).images != to_unit(IMAGES)).flatten(1).any(1)
    assert changed.sum() == 0 if aug == "identity" else changed.sum() > N - 5


def test_global_generators_are_neither_used_nor_changed() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002 - the global one
    for aug in EVERY:
        run(aug, rows=ROWS[:4])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - the global one
    assert random.getstate() == before[2]


@pytest.mark.parametrize("aug", EVERY)
def test_no_rows_give_no_images(aug: str) -> None:
    made = run(aug, rows=ROWS[:0])
    assert made.images.shape == (0, 3, 32, 32)
    assert made.labels.shape == made.partner_labels.shape == made.partner_weight.shape == (0,)


@pytest.mark.parametrize(("first", "second"), [("affine", "color_jitter"), ("gaussian_blur", "elastic")])
def test_a_chain_is_its_parts_one_after_the_other_with_the_draws_of_each_alone(first: str, second: str) -> None:
    """The second part is applied by hand to the first's images, with the words that it draws alone."""
    from auglens.data.augmentations.chain import KERNELS

    kernel = KERNELS[second]
    words = rng.words(
        seed=4, stream=f"augmentation/{second}", epoch=2, rows=ROWS.numpy(), width=kernel.words((3, 32, 32))
    )
    alone = kernel.apply(to_unit(IMAGES), words, PARAMS[second])
    assert torch.equal(alone, run(second).images)
    expected = kernel.apply(run(first).images, words, PARAMS[second])
    found = run(f"{first}+{second}").images
    assert torch.equal(found, expected)
    assert not torch.equal(found, run(f"{second}+{first}").images)


# Bad input


def test_a_seed_is_asked_for_only_where_something_is_drawn() -> None:
    made = augment(parts("equalize"), IMAGES, LABELS, ROWS, seed=None, epoch=0)
    assert torch.equal(made.images, run("equalize").images)
    with pytest.raises(ValueError, match="seed") as caught:
        augment(parts("affine+color_jitter"), IMAGES, LABELS, ROWS, seed=None, epoch=0)
    assert str(caught.value) == "augment: affine+color_jitter draws at random; pass a seed, not None"


def test_reseed_makes_no_images() -> None:
    with pytest.raises(ValueError, match="reseed") as caught:
        augment([Part("reseed", {})], IMAGES, LABELS, ROWS, seed=0, epoch=0)
    assert str(caught.value) == (
        "augment: reseed makes no images; give it no parts and one half (see epoch_order)"
    )


def test_an_aug_of_ones_own_that_changes_the_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from auglens.data.augmentations import schema

    grey = schema.own_spec({}, 0, lambda images, words, params: images.mean(1, keepdim=True))
    monkeypatch.setitem(schema.OWN, "grey", grey)
    with pytest.raises(ValueError, match="grey") as caught:
        augment([Part("grey", {})], IMAGES, LABELS, ROWS, seed=None, epoch=0)
    assert str(caught.value) == (
        "augment: grey made images of [70, 1, 32, 32] from [70, 3, 32, 32]; return as many of the same shape"
    )


def test_a_kernel_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size") as caught:
        run("gaussian_blur", kernel_size=65)
    assert str(caught.value) == (
        "parameter aug.gaussian_blur.kernel_size: expected at most 63 pixels for images of 32 × 32, got 65;"
        " choose a smaller kernel"
    )
    assert run("gaussian_blur", kernel_size=63).images.shape == IMAGES.shape


def test_wrong_parameters_are_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match=r"parameter aug\.equalize\.q: unknown; known here: p"):
        augment([Part("equalize", {"q": 1})], IMAGES, LABELS, ROWS, seed=0, epoch=0)


# Controls


def test_noise_moves_each_value_by_one_grey_level_within_black_and_white() -> None:
    images = torch.stack([torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (0, 100, 255)])
    levels = augment(parts("noise"), images, LABELS[:3], ROWS[:3], seed=1, epoch=0).images * 255
    for image, allowed in zip(levels.round(), ((0, 1), (99, 101), (254, 255)), strict=True):
        assert set(image.unique().tolist()) == set(allowed)
        assert abs((image == allowed[1]).float().mean() - 0.5) < 5 * 0.5 / 3072**0.5  # five deviations
    assert torch.equal(levels.round().to(torch.uint8).to(torch.float32) / 255, levels / 255)


def test_noise_is_an_eight_bit_image() -> None:
    made = run("noise").images
    steps = (made * 255).round().to(torch.int64) - IMAGES.to(torch.int64)
    assert torch.equal(to_unit((IMAGES.to(torch.int64) + steps).to(torch.uint8)), made)
    assert set(steps[(IMAGES > 0) & (IMAGES < 255)].tolist()) == {-1, 1}


# Moving pixels


@pytest.mark.parametrize("images", [IMAGES, ODD], ids=["32x32", "29x35"])
def test_affine_equals_torchvision_with_the_same_parameters(images: Tensor) -> None:
    height, width = images.shape[-2:]
    found = run("affine", images).images
    for row, (angle, shear, scale, x, y) in enumerate(draws("affine", 5)):
        expected = tv.affine(
            to_unit(images[row]),
            angle=within(angle, -30, 30),
            translate=[within(x, -0.15, 0.15) * width, within(y, -0.15, 0.15) * height],
            scale=within(scale, 0.7, 1.3),
            shear=[within(shear, -15, 15), 0.0],
            interpolation=v2.InterpolationMode.BILINEAR,
        )
        # Float32 grids of coordinates up to 35 differ by some 1e-6 pixels, over steps of up to one per pixel.
        assert (found[row] - expected).abs().max() < 1e-4


def test_affine_mirrors_at_the_edge_when_asked_to() -> None:
    black = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    still = {"degrees": 0, "shear": 0, "translate": 0, "scale": [0.5, 0.5]}
    zeros = augment(parts("affine", **still), black, LABELS[:1], ROWS[:1], seed=None, epoch=0).images
    expected = torch.zeros(8, 8)
    expected[2:6, 2:6] = 1
    # At half the size pixel centres fall between four source pixels; all four lie inside or outside.
    assert torch.allclose(zeros[0, 0], expected, atol=1e-6)
    mirrored = augment(
        parts("affine", **still, outside="reflection"), black, LABELS[:1], ROWS[:1], seed=None, epoch=0
    )
    assert torch.allclose(mirrored.images, torch.ones(1, 3, 8, 8), atol=1e-6)


def test_affine_by_nothing_is_the_image() -> None:
    still = {"degrees": 0, "translate": 0, "scale": [1, 1], "shear": 0}
    made = augment(parts("affine", **still), ODD, LABELS, ROWS, seed=None, epoch=0)
    assert (made.images - to_unit(ODD)).abs().max() < 1e-5


@pytest.mark.parametrize(("outside", "mode"), [("zeros", "grid-constant"), ("reflection", "reflect")])
@pytest.mark.parametrize("images", [IMAGES, ODD], ids=["32x32", "29x35"])
def test_elastic_equals_scipys_filter_and_interpolation(images: Tensor, outside: str, mode: str) -> None:
    height, width = images.shape[-2:]
    found = run("elastic", images, outside=outside).images
    pixels = 2 * height * width
    words = rng.words(seed=4, stream="augmentation/elastic", epoch=2, rows=ROWS.numpy(), width=-(-pixels // 4))
    y, x = np.mgrid[:height, :width].astype(np.float64)
    for row in range(8):
        raw = [(int(word) >> shift) & 0xFFFF for word in words[row] for shift in (0, 16, 32, 48)][:pixels]
        drawn = ((2 * np.array(raw) - 65535) / 65536).reshape(2, height, width)
        move = [30 * ndimage.gaussian_filter(plane, 3.0, mode="mirror", radius=12) for plane in drawn]
        for channel in range(3):
            plane = images[row, channel].numpy() / 255
            at = [y + move[1], x + move[0]]
            expected = ndimage.map_coordinates(plane, at, order=1, mode=mode)
            # Half a unit of 2**-20 after the first filter, times alpha, and float32 coordinates.
            assert abs(found[row, channel].numpy() - expected).max() < 2e-4


def test_elastic_shifts_are_summed_without_rounding() -> None:
    """Against whole-number arithmetic of Python, which has no order of summation."""
    from auglens.data.augmentations.geometric import displacements

    words = rng.words(seed=1, stream="s", epoch=0, rows=np.arange(3), width=15)
    across, down = ([[int(weight * 2**32) for weight in line] for line in smoothing(size, 1.7)] for size in (5, 6))
    found = displacements(words, 3.0, 1.7, 6, 5, torch.device("cpu"))
    for row in range(3):
        raw = [(int(word) >> shift) & 0xFFFF for word in words[row] for shift in (0, 16, 32, 48)]
        for axis in range(2):
            drawn = [[2 * raw[axis * 30 + i * 5 + j] - 65535 for j in range(5)] for i in range(6)]
            first = [[sum(drawn[i][k] * across[j][k] for k in range(5)) for j in range(5)] for i in range(6)]
            halfway = [[round(value / 2**28) for value in line] for line in first]  # / 2**48 · 2**20
            for i in range(6):
                for j in range(5):
                    total = sum(down[i][k] * halfway[k][j] for k in range(6))
                    assert found[row, axis, i, j].item() == np.float32(total / 2**52 * 3.0)


def test_smoothing_keeps_a_constant_and_reflects_often_enough_for_small_images() -> None:
    assert np.allclose(smoothing(32, 4.0).sum(axis=1), 1, rtol=0, atol=1e-8)
    assert np.allclose(smoothing(3, 20.0), 1 / 3, atol=0.2)
    plane = np.random.default_rng(0).random((1, 32))
    expected = ndimage.gaussian_filter1d(plane, 4.0, mode="mirror", radius=16)
    assert np.allclose(plane @ smoothing(32, 4.0).T, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("images", [IMAGES, ODD], ids=["32x32", "29x35"])
def test_random_crop_equals_torchvisions_crop_and_resize_of_the_same_window(images: Tensor) -> None:
    height, width = images.shape[-2:]
    found = run("random_crop", images).images
    shapes = set()
    for row, (scale, ratio, y, x) in enumerate(draws("random_crop", 4)):
        area = height * width * within(scale, 0.3, 1.0)
        aspect = np.exp(within(ratio, np.log(0.6), np.log(1.6)))
        tall = int(min(max(round((area / aspect) ** 0.5), 1), height))
        wide = int(min(max(round((area * aspect) ** 0.5), 1), width))
        top, left = int(y * (height - tall + 1)), int(x * (width - wide + 1))
        shapes.add((tall, wide, top, left))
        expected = tv.resized_crop(to_unit(images[row]), top, left, tall, wide, [height, width], antialias=False)
        assert (found[row] - expected).abs().max() < 1e-5  # float32 coordinates
    assert len(shapes) > N // 2


# Changing values in place


def jittered(image: Tensor, numbers: np.ndarray) -> Tensor:
    brightness, contrast, saturation, hue = numbers
    image = tv.adjust_brightness(image, within(brightness, 0.5, 1.5))
    image = tv.adjust_contrast(image, within(contrast, 0.4, 1.6))
    image = tv.adjust_saturation(image, within(saturation, 0.3, 1.7))
    return tv.adjust_hue(image, within(hue, -0.3, 0.3))


def test_color_jitter_equals_torchvisions_operations_in_the_stated_order() -> None:
    found = run("color_jitter").images
    for row, numbers in enumerate(draws("color_jitter", 4)):
        # The hue of a nearly grey colour magnifies rounding; the colour itself stays within float32's.
        assert (found[row] - jittered(to_unit(IMAGES[row]), numbers)).abs().max() < 1e-5


def test_a_third_of_a_turn_makes_red_green_and_grey_stays_grey() -> None:
    from auglens.data.augmentations.photometric import turn_hue

    colours = torch.tensor([[1.0, 0, 0], [0.2, 0.8, 0.2], [0.5, 0.5, 0.5]]).view(3, 3, 1, 1)
    turned = turn_hue(colours, torch.full((3, 1, 1, 1), 1 / 3)).view(3, 3)
    assert torch.allclose(turned, torch.tensor([[0, 1.0, 0], [0.2, 0.2, 0.8], [0.5, 0.5, 0.5]]), atol=1e-6)
    assert torch.allclose(turn_hue(to_unit(IMAGES), torch.zeros(N, 1, 1, 1)), to_unit(IMAGES), atol=1e-6)


def test_channel_shift_adds_one_number_per_channel_and_cuts_off() -> None:
    made = augment(parts("channel_shift"), IMAGES, LABELS, ROWS, seed=4, epoch=2).images
    before = to_unit(IMAGES[ROWS])
    shifts = []
    for one, other in zip(before.double(), made.double(), strict=True):
        for channel, moved in zip(one, other, strict=True):
            free = (moved > 0) & (moved < 1)
            shift = (moved - channel)[free].median()
            shifts.append(shift.item())
            torch.testing.assert_close(moved, (channel + shift).clamp(0, 1), atol=1e-6, rtol=0)
    assert max(map(abs, shifts)) <= 0.2
    assert np.std(shifts) == pytest.approx(0.2 / 3**0.5, rel=0.15)  # uniform in ± 0.2
    assert len(set(shifts)) == len(shifts)


def test_color_jitter_of_one_property_leaves_the_others() -> None:
    off = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    made = augment(parts("color_jitter", **off), IMAGES, LABELS, ROWS, seed=None, epoch=0).images
    assert torch.allclose(made, to_unit(IMAGES), atol=1e-6)
    made = augment(
        parts("color_jitter", **(off | {"brightness": 0.5})), IMAGES, LABELS, ROWS, seed=4, epoch=2
    ).images
    factor = torch.from_numpy(within(draws("color_jitter", 4)[:, 0], 0.5, 1.5)).view(-1, 1, 1, 1)
    assert torch.allclose(made.double(), (to_unit(IMAGES) * factor).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("images", [IMAGES, ODD, pictures(64, 48)], ids=["32x32", "29x35", "64x48"])
def test_equalize_equals_pil_and_torchvision_to_the_level(images: Tensor) -> None:
    found = run("equalize", images).images
    for row in range(N):
        pil = ImageOps.equalize(Image.fromarray(images[row].permute(1, 2, 0).numpy()))
        expected = torch.from_numpy(np.array(pil)).permute(2, 0, 1)
        assert torch.equal(found[row], to_unit(expected))
    assert torch.equal(found, to_unit(tv.equalize(images)))


def test_equalize_spreads_two_levels_to_black_and_white() -> None:
    image = torch.full((1, 3, 16, 32), 10, dtype=torch.uint8)
    image[..., 16:] = 20
    made = augment(parts("equalize"), image, LABELS[:1], ROWS[:1], seed=None, epoch=0).images
    assert (made[..., :16] == 0).all()
    assert (made[..., 16:] == 1).all()


def test_equalize_takes_a_share_p_of_the_images() -> None:
    some, always = run("equalize", p=0.4).images, run("equalize").images
    chosen = torch.from_numpy(draws("equalize", 1)[:, 0] < 0.4)
    assert 0 < chosen.sum() < N
    assert torch.equal(some[chosen], always[chosen])
    assert torch.equal(some[~chosen], to_unit(IMAGES)[~chosen])


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("images", [IMAGES, ODD], ids=["32x32", "29x35"])
def test_gaussian_blur_equals_torchvisions_with_the_same_sigma(images: Tensor, size: int) -> None:
    found = augment(parts("gaussian_blur", kernel_size=size), images, LABELS, ROWS, seed=4, epoch=2).images
    for row, (drawn,) in enumerate(draws("gaussian_blur", 1)):
        sigma = within(drawn, 0.5, 1.5)
        expected = tv.gaussian_blur(to_unit(images[row]), [size, size], [sigma, sigma])
        assert (found[row] - expected).abs().max() < 2e-6  # float32 sums of up to 14 terms


# CutMix


def test_boxes_by_hand() -> None:
    drawn = np.array([[0.25, 0.5, 0.5], [0.25, 0.0, 0.99], [0.0, 0.5, 0.5], [0.999, 0.5, 0.5]])
    assert boxes(drawn, 1.0, 8, 16).tolist() == [[2, 6, 4, 12], [0, 2, 11, 16], [4, 4, 8, 8], [1, 7, 1, 15]]


def test_partners_are_the_other_rows_equally_likely() -> None:
    drawn = (np.arange(12) + 0.5) / 12
    assert partners(drawn, np.full(12, 2), 5).tolist() == [0, 0, 0, 1, 1, 1, 3, 3, 3, 4, 4, 4]
    assert partners(np.array([0.0, 0.999]), np.array([0, 0]), 1).tolist() == [0, 0]
    assert partners(np.array([0.0, 0.999]), np.array([0, 1]), 2).tolist() == [1, 0]


@pytest.mark.parametrize("images", [IMAGES, ODD], ids=["32x32", "29x35"])
def test_cutmix_pastes_the_partners_pixels_and_weighs_by_area(images: Tensor) -> None:
    height, width = images.shape[-2:]
    source, mixed = run("cutmix", images), run("cutmix", images, label="mixed")
    assert torch.equal(source.images, mixed.images)
    unit = to_unit(images)
    for row, (share, y, x, other) in enumerate(draws("cutmix", 4)):
        partner = int(other * (N - 1))
        partner += partner >= row
        tall, wide = int(height * share**0.5), int(width * share**0.5)
        expected, area = unit[row].clone(), 0
        for i in range(max(int(y * height) - tall // 2, 0), min(int(y * height) + tall // 2, height)):
            for j in range(max(int(x * width) - wide // 2, 0), min(int(x * width) + wide // 2, width)):
                expected[:, i, j] = unit[partner, :, i, j]
                area += 1
        assert torch.equal(mixed.images[row], expected)
        assert mixed.partner_labels[row] == LABELS[partner]
        assert mixed.labels[row] == LABELS[row]
        assert mixed.partner_weight[row].item() == np.float32(area / (height * width))


def test_cutmix_area_follows_beta() -> None:
    drawn = rng.uniforms(seed=0, stream="s", epoch=0, rows=np.arange(4000), width=3)
    drawn[:, 1:] = 0.5  # in the middle nothing is cut off
    for alpha in (0.5, 1.0, 4.0):
        top, bottom, left, right = boxes(drawn, alpha, 2000, 2000).T
        share = (bottom - top) * (right - left) / 2000**2
        variance = 1 / (4 * (2 * alpha + 1))  # of Beta(alpha, alpha)
        assert abs(share.mean() - 0.5) < 5 * (variance / 4000) ** 0.5
        assert abs(share.var() / variance - 1) < 0.1


def test_cutmix_pastes_an_unaugmented_partner_into_a_chain() -> None:
    plain, chained = run("cutmix"), run("random_crop+cutmix")
    cropped = run("random_crop").images
    patch = (plain.images != to_unit(IMAGES)).any(1, keepdim=True)
    assert torch.equal(torch.where(patch, chained.images, 0), torch.where(patch, plain.images, 0))
    outside = (chained.images == cropped).all(1)
    assert (outside | (chained.images == plain.images).all(1)).all()


def test_cutmix_of_a_single_image_is_that_image() -> None:
    made = augment(parts("cutmix"), IMAGES[:1], LABELS[:1], ROWS[:1], seed=4, epoch=0)
    assert torch.equal(made.images, to_unit(IMAGES[:1]))


# Masks


def blobs(height: int, width: int) -> Tensor:
    """uint8 {0,1} [N,H,W]: smooth regions."""
    coarse = torch.rand(N, 1, 5, 5, generator=torch.Generator().manual_seed(9))
    return (torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[:, 0] > 0.5).to(torch.uint8)


def with_masks(aug: str, images: Tensor, masks: Tensor, rows: Tensor = ROWS, **changes: Any) -> Augmented:
    return augment(parts(aug, **changes), images, LABELS, rows, seed=4, epoch=2, masks=masks)


MOVING = ("affine", "elastic", "random_crop", "cutmix")
CHAINS_THAT_MOVE = ("affine+elastic", "random_crop+cutmix", "cutmix+affine", "elastic+random_crop+affine+cutmix")


@pytest.mark.parametrize("outside", ["zeros", "reflection"])
@pytest.mark.parametrize("size", [(32, 32), (29, 35)], ids=["32x32", "29x35"])
@pytest.mark.parametrize("aug", [*MOVING, *CHAINS_THAT_MOVE])
def test_a_mask_goes_where_the_image_goes_that_is_its_mask(
    aug: str, size: tuple[int, int], outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("affine", "elastic"):
        monkeypatch.setitem(PARAMS, name, PARAMS[name] | {"outside": outside})
    masks = blobs(*size)
    images = (masks[:, None] * 255).expand(-1, 3, -1, -1).contiguous()
    made = with_masks(aug, images, masks)
    assert made.masks is not None
    assert made.masks.dtype == torch.bool
    for channel in made.images.unbind(1):
        assert torch.equal(made.masks, channel >= 0.5)
    assert (made.masks != masks.bool()).flatten(1).any(1).sum() > N // 2
    assert torch.equal(made.masks, with_masks(aug, images, masks.bool()).masks)


@pytest.mark.parametrize("size", [(32, 32), (29, 35)], ids=["32x32", "29x35"])
@pytest.mark.parametrize("aug", [*EVERY, *CHAINS_THAT_MOVE])
def test_masks_change_no_bit_of_the_images_nor_of_the_labels(aug: str, size: tuple[int, int]) -> None:
    images, masks = pictures(*size), blobs(*size)
    kept = masks.clone()
    alone, made = run(aug, images), with_masks(aug, images, masks)
    for name in ("images", "labels", "partner_labels", "partner_weight"):
        assert torch.equal(getattr(alone, name), getattr(made, name))
    assert alone.masks is None
    assert made.images.is_contiguous()
    assert made.images.shape == images.shape
    assert torch.equal(masks, kept)


@pytest.mark.parametrize("aug", ["color_jitter", "equalize", "gaussian_blur", "identity", "noise"])
def test_what_moves_no_pixel_leaves_the_mask(aug: str) -> None:
    masks = blobs(32, 32)
    assert torch.equal(with_masks(aug, IMAGES, masks, ROWS[9:30]).masks, masks[9:30].bool())
    assert with_masks(aug, IMAGES, masks, ROWS[:0]).masks.shape == (0, 32, 32)


@pytest.mark.parametrize("aug", [*MOVING, "affine+color_jitter+elastic", "random_crop+cutmix"])
def test_a_mask_does_not_depend_on_its_batch_nor_on_the_picture(aug: str) -> None:
    masks = blobs(32, 32)
    whole = with_masks(aug, IMAGES, masks).masks
    alone = [with_masks(aug, IMAGES, masks, rows).masks for rows in ROWS.split(7)]
    assert torch.equal(torch.cat(alone), whole)
    assert torch.equal(with_masks(aug, IMAGES.flip(0), masks).masks, whole)


def test_cutmix_pastes_the_partners_mask_with_the_patch() -> None:
    masks = blobs(32, 32)
    for label in ("source", "mixed"):
        made = with_masks("cutmix", IMAGES, masks, label=label)
        for row, (share, y, x, other) in enumerate(draws("cutmix", 4)):
            partner = int(other * (N - 1))
            partner += partner >= row
            side = int(32 * share**0.5) // 2
            expected = masks[row].bool().clone()
            for i in range(max(int(y * 32) - side, 0), min(int(y * 32) + side, 32)):
                for j in range(max(int(x * 32) - side, 0), min(int(x * 32) + side, 32)):
                    expected[i, j] = masks[partner, i, j]
            assert torch.equal(made.masks[row], expected)


def test_a_mask_cropped_by_torchvision() -> None:
    masks = blobs(32, 32)
    made = with_masks("random_crop", IMAGES, masks).masks
    for row, (scale, ratio, y, x) in enumerate(draws("random_crop", 4)):
        area, aspect = 1024 * within(scale, 0.3, 1.0), np.exp(within(ratio, np.log(0.6), np.log(1.6)))
        tall = int(min(max(round((area / aspect) ** 0.5), 1), 32))
        wide = int(min(max(round((area * aspect) ** 0.5), 1), 32))
        top, left = int(y * (32 - tall + 1)), int(x * (32 - wide + 1))
        share = tv.resized_crop(
            masks[row, None].to(torch.float32), top, left, tall, wide, [32, 32], antialias=False
        )[0]
        clear = (share - 0.5).abs() > 1e-4  # within which rounding decides
        assert torch.equal(made[row][clear], (share >= 0.5)[clear])


def test_masks_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from auglens.data.augmentations import schema

    masks = blobs(32, 32)
    monkeypatch.setitem(schema.OWN, "grey", schema.own_spec({}, 0, lambda images, words, params: images))
    for aug, given, message in (
        (
            [Part("grey", {})],
            masks,
            "masks: grey is one's own and says nothing of where pixels go; leave it out or pass no masks",
        ),
        (
            parts("affine"),
            masks[:3],
            "masks: expected uint8 or bool [70, 32, 32], got uint8 [3, 32, 32]; pass one per image",
        ),
        (
            parts("affine"),
            masks.float(),
            "masks: expected uint8 or bool [70, 32, 32], got float32 [70, 32, 32]; pass one per image",
        ),
    ):
        with pytest.raises(ValueError, match="masks") as caught:
            augment(aug, IMAGES, LABELS, ROWS, seed=4, epoch=2, masks=given)
        assert str(caught.value) == message


def test_all_augs_are_covered_here() -> None:
    made_online = {name for name in AUGS if not SPECS[name].active}  # the others: tests/active
    assert {*made_online, "identity", "noise"} == set(PARAMS)
