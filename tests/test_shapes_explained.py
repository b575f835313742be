"""The embedded shapes and networks that learnt them: their maps find the object, and beat looking at nothing.

A network with random weights is the control. Its maps are no blind guess, since an untrained convolution already
answers to what is bright, and a shape is: most lie above a random map, and now and then one lies above the centre.
So the claim about random weights is one about many networks, and the network is its replicate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from auglens.batches import LabelledImages, Recipe
from auglens.config import ModelConfig, TrainConfig
from auglens.data.sources import shapes
from auglens.data.statistics import channel_statistics
from auglens.data.views import View, to_unit
from auglens.metrics import localization, localization_floors
from auglens.models import build, load_weights
from auglens.saliency import explain, finish
from auglens.tasks import CLASSIFICATION
from auglens.training import fit

TRAIN, VALIDATION, TEST = 900, 100, 300  # images
SIDE = 64  # pixels: maps of 8 × 8
MODEL = ModelConfig("test_resnet", SIDE, 8, 0.0, 0.0)
CONFIG = TrainConfig(8, 16, 1e-3, 1e-5, "validation_accuracy", 1, "cpu", "fp32")
SCORES, FLOORS = ("iou_area", "energy"), ("ones", "centre", "random")
TRAINED = (0, 1, 2)  # initial seeds, from the first on
RANDOM = range(1000, 1100)  # of networks that stay as they began

Scores = dict[str, np.ndarray]


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Of the mean, at 95 %: ± 1.96 standard errors."""
    known = differences[np.isfinite(differences)]
    assert len(known) > 1
    half = 1.96 * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)


class Study:
    """The shapes as a network sees them, and how well a network's maps say where they are."""

    def __init__(self) -> None:
        source = shapes.load(train=TRAIN + VALIDATION, test=TEST)
        learnt, held = np.arange(TRAIN), np.arange(TRAIN, TRAIN + VALIDATION)
        mean, std = channel_statistics(source.images, learnt)
        self.view = View(SIDE, mean.tolist(), std.tolist())
        images, labels = torch.from_numpy(source.images), torch.from_numpy(source.labels)
        self.train = LabelledImages(images[learnt], labels[learnt])
        self.validation = LabelledImages(images[held], labels[held])
        test = torch.from_numpy(source.given["test"])
        self.labels, self.images = source.labels[test], self.view(to_unit(images[test]))
        self.masks = self.view.masks(torch.from_numpy(source.masks)[test]).numpy()
        self.floors = localization_floors(self.masks, seed=0)

    def scores(self, network: torch.nn.Module) -> tuple[Scores, float]:
        """(`localization` of the Grad-CAM maps of the predicted classes, accuracy)."""
        found = explain(network.eval(), self.images)
        maps = finish(found.raw, SIDE)
        return localization(maps, self.masks), float((found.logits.argmax(1) == self.labels).mean())

    def above(self, scores: Scores, floor: str, score: str) -> tuple[float, float]:
        """Interval of the mean over images of how far the maps' score lies above that of a floor."""
        return interval(scores[score] - self.floors[f"{floor}_{score}"])


@pytest.fixture(scope="module")
def study() -> Study:
    torch.set_num_threads(1)
    return Study()


@pytest.fixture(scope="module")
def trained(study: Study) -> list[tuple[Scores, float]]:
    found = []
    for seed in TRAINED:
        network = build(MODEL, 10, init_seed=seed)
        recipe = Recipe((), 1, None, None, 0)
        state = fit(network, study.train, study.validation, study.view, CLASSIFICATION, CONFIG, recipe)
        load_weights(network, state.best)
        found.append(study.scores(network))
    return found


@pytest.fixture(scope="module")
def untrained(study: Study) -> list[Scores]:
    return [study.scores(build(MODEL, 10, init_seed=seed))[0] for seed in RANDOM]


def means(networks: Sequence[Scores], score: str) -> np.ndarray:
    return np.array([np.nanmean(one[score]) for one in networks])


def test_the_networks_have_learnt_the_shapes(trained: list[tuple[Scores, float]]) -> None:
    assert all(0.5 < accuracy < 0.98 for _, accuracy in trained)  # chance is 0.1


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("floor", FLOORS)
def test_maps_of_every_trained_network_beat_every_floor(
    study: Study, trained: list[tuple[Scores, float]], floor: str, score: str
) -> None:
    for scores, _ in trained:
        assert np.isfinite(scores[score]).all()
        assert study.above(scores, floor, score)[0] > 0


@pytest.mark.parametrize("score", SCORES)
def test_networks_with_random_weights_do_not_beat_the_centre(
    study: Study, untrained: list[Scores], score: str
) -> None:
    centre = float(study.floors[f"centre_{score}"].mean())
    assert interval(means(untrained, score) - centre)[1] < 0
    beat = [study.above(one, "centre", score)[0] > 0 for one in untrained]
    assert np.mean(beat) <= 0.3  # 12 % in iou_area and 17 % in energy
    below = [study.above(one, "centre", score)[1] < 0 for one in untrained]
    assert np.mean(below) > 0.5


@pytest.mark.parametrize("score", SCORES)
def test_training_is_what_makes_the_maps_find_the_shape(
    trained: list[tuple[Scores, float]], untrained: list[Scores], score: str
) -> None:
    random = means(untrained, score)
    learnt = means([scores for scores, _ in trained], score)
    assert learnt.min() > interval(random)[1]
    assert all((random < one).mean() > 0.8 for one in learnt)
