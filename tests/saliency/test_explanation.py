"""Batches, targets and what comes back, whatever the method."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.special import softmax

from auglens.config import ModelConfig
from auglens.models import build
from auglens.saliency import METHODS, Explanation, explain, explain_each
from auglens.saliency.cams import gradcam


@pytest.fixture(scope="module")
def model():
    settings = ModelConfig(name="test_resnet", image_size=64, output_stride=8, dropout=0.0, drop_path=0.0)
    return build(settings, 10, init_seed=0)


@pytest.fixture(scope="module")
def images():
    return torch.randn(11, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def found(model, images):
    return explain(model, images)


def same(one, other):
    """Equal but for the rounding of convolutions, which depends on the number of images at a time."""
    np.testing.assert_array_equal(one.targets, other.targets)
    np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=1e-5 * np.abs(other.logits).max())
    np.testing.assert_allclose(one.raw, other.raw, rtol=0, atol=1e-5 * other.raw.max())


def test_shapes_and_types(found):
    assert (found.raw.shape, found.raw.dtype) == ((11, 8, 8), np.float32)
    assert (found.logits.shape, found.logits.dtype) == ((11, 10), np.float32)
    assert (found.targets.shape, found.targets.dtype) == ((11,), np.int64)
    assert found.raw.min() == 0 < found.raw.max()


def test_logits_are_the_model_s_own(model, images, found):
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    np.testing.assert_allclose(found.logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(found.targets, found.logits.argmax(1))


def test_probabilities_are_the_softmax_in_float64():
    logits = np.array([[1.0, 2, 3], [1e4, 0, -1e4], [0, 0, 0]], np.float32)
    probs = Explanation(np.zeros((3, 4, 4), np.float32), logits, np.zeros(3, np.int64)).probs
    assert probs.dtype == np.float64
    np.testing.assert_allclose(probs, softmax(logits.astype(np.float64), axis=1), rtol=1e-14)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 500])
def test_batch_size_changes_rounding_alone(model, images, found, batch_size):
    same(explain(model, images, batch_size=batch_size), found)


def test_an_iterator_of_batches_gives_the_same(model, images, found):
    same(explain(model, iter(images.split([3, 0, 1, 7])), batch_size=4), found)


def test_order_of_images_is_kept(model, images, found):
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    turned = explain(model, images[order])
    same(Explanation(turned.raw, turned.logits, turned.targets), Explanation(*(
        part[order.numpy()] for part in (found.raw, found.logits, found.targets)
    )))  # fmt: skip


def test_targets_given_as_predicted_give_the_same_bytes(model, images, found):
    again = explain(model, images, targets=found.targets)
    assert again.raw.tobytes() == found.raw.tobytes()


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.int64])
def test_targets_of_any_integer_type(model, images, kind):
    expected = torch.arange(11) % 10
    found = explain(model, iter(images.split(4)), targets=expected.numpy().astype(kind))
    np.testing.assert_array_equal(found.targets, expected)
    same(found, explain(model, images, targets=expected))


def test_other_targets_give_other_maps(model, images, found):
    other = explain(model, images, targets=(found.targets + 1) % 10)
    np.testing.assert_array_equal(other.logits, found.logits)
    assert not np.allclose(other.raw, found.raw)


def test_layers_by_word_and_by_name(model, images, found):
    assert explain(model, images, layer="layer4").raw.tobytes() == found.raw.tobytes()
    assert explain(model, images, layer="features").raw.tobytes() == found.raw.tobytes()
    assert explain(model, images, layer="layer1").raw.shape == (11, 16, 16)


class Counting:
    """The images of each run of the network."""

    def __init__(self, model):
        self.model, self.runs = model, []

    def __enter__(self):
        self.handle = self.model.register_forward_hook(
            lambda _module, inputs, _out: self.runs.append(len(inputs[0]))
        )
        return self.runs

    def __exit__(self, *_error):
        self.handle.remove()


def test_several_targets_from_one_pass(model, images, found):
    """None and labels: each as `explain` gives it, the network run once for both, whatever comes first."""
    labels = np.where(np.arange(11) % 3, found.targets, (found.targets + 1) % 10)
    with Counting(model) as runs:
        both = explain_each(model, iter(images.split(4)), [None, labels], layer="layer4")
    assert runs == [4, 4, 3]
    turned = explain_each(model, images, [labels, None], batch_size=4)[::-1]
    alone = [explain(model, images, targets=targets, batch_size=4) for targets in (None, labels)]
    for one, other, expected in zip(both, turned, alone, strict=True):
        same(one, expected)
        same(other, expected)
        assert one.logits.tobytes() == expected.logits.tobytes()
    assert both[1].raw[1::3].tobytes() == both[0].raw[1::3].tobytes()
    assert not np.allclose(both[1].raw[::3], both[0].raw[::3])


def test_several_targets_of_a_method_of_one_s_own(model, images, found):
    """Which takes one set at a time: it runs again for the images that have another target."""
    labels = np.where(np.arange(11) % 3, found.targets, (found.targets + 1) % 10)

    def own(*arguments):
        return gradcam(*arguments)

    with Counting(model) as runs:
        both = explain_each(model, images, [None, labels, found.targets], method=own, layer="layer4", batch_size=6)
    assert runs == [6, 2, 5, 2]  # images 0 and 3, then 6 and 9
    for one, expected in zip(both, explain_each(model, images, [None, labels, None]), strict=True):
        same(one, expected)
    assert both[1].raw[1::3].tobytes() == both[0].raw[1::3].tobytes()
    assert both[2].raw.tobytes() == both[0].raw.tobytes()


def test_equal_sets_of_targets(model, images, found):
    """The very same object, too."""
    for one in explain_each(model, images, [found.targets, found.targets, None]):
        assert one.raw.tobytes() == found.raw.tobytes()


def test_the_search_for_a_layer_is_one_run_at_most(model, images):
    with Counting(model.conv1) as runs:
        explain(model, images)
    assert runs == [1, 11]
    with Counting(model.conv1) as runs:
        explain(model, images, layer="layer4")
    assert runs == [11]


ONE_SIZE = "images: expected one size, got [32, 32] after [64, 64] pixels; resize them first"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "gradcamm"}, "maps.method: no method 'gradcamm'; did you mean gradcam?"),
        ({"method": "lime"}, f"maps.method: no method 'lime'; use one of {', '.join(METHODS)}"),
        ({"batch_size": 0}, "batch_size: expected 1 or more images, got 0; 128 is the default"),
        ({"images": []}, "images: expected at least one image, got none; check the data"),
        (
            {"images": torch.zeros(2, 3, 64, 64, dtype=torch.uint8)},
            "images: expected normalised floats [N, 3, H, W], got uint8 [2, 3, 64, 64]; normalise them first",
        ),
        (
            {"images": torch.zeros(3, 64, 64)},
            "images: expected normalised floats [N, 3, H, W], got float32 [3, 64, 64]; normalise them first",
        ),
        ({"images": [torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 32, 32)]}, ONE_SIZE),
        (
            {"targets": np.zeros(11)},
            "targets: expected integers [N], got float64 [11]; pass one class per image or None",
        ),
        (
            {"targets": np.zeros((11, 1), int)},
            "targets: expected integers [N], got int64 [11, 1]; pass one class per image or None",
        ),
        (
            {"targets": np.zeros(10, int)},
            "targets: expected one class per image, got 10 for 11 images; pass all",
        ),
        (
            {"targets": np.full(11, 10)},
            "targets: expected classes 0 to 9, got 10; pass this model's classes",
        ),
        (
            {"targets": np.full(11, -1)},
            "targets: expected classes 0 to 9, got -1; pass this model's classes",
        ),
        (
            {"images": [torch.zeros(2, 3, 64, 64)] * 2, "targets": np.zeros(3, int)},
            "targets: expected one class per image, got 3 for 4 images; pass all",
        ),
        (
            {"images": [torch.zeros(2, 3, 64, 64)] * 2, "targets": np.zeros(5, int)},
            "targets: expected one class per image, got 5 for 4 images; pass all",
        ),
        (
            {"images": torch.zeros(2, 3, 16, 16)},
            "maps.layer: the map of 'layer4' of test_resnet is 2×2 at 16×16 pixels, expected at least 4×4; "
            "use a larger model.image_size or a smaller model.output_stride",
        ),
    ],
)
def test_bad_input(model, images, change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        explain(model, **{"images": images, **change})


def test_no_set_of_targets(model, images):
    expected = "targets: expected at least one set of classes, got none; pass [None] for those predicted"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        explain_each(model, images, [])
