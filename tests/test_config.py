"""The parameters: what is committed is what conf/ composes, and every bad value is refused in one line."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from auglens import config
from auglens.commands.compose import composed

ROOT = Path(__file__).parents[1]


@pytest.fixture
def values() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def test_params_are_the_composition_of_conf(values: dict[str, Any]) -> None:
    assert yaml.safe_load(composed([], ROOT / "conf")) == values


@pytest.mark.parametrize("profile", ["quick", "cpu", "paper"])
@pytest.mark.parametrize("data", ["", "shapes", "cifar10", "cifar100", "folder"])
def test_every_profile_composes_with_every_data_set(profile: str, data: str) -> None:
    overrides = [f"profile={profile}", *([f"data={data}"] if data else [])]
    found = config.from_mapping(yaml.safe_load(composed(overrides, ROOT / "conf")))
    assert found.data.name == (data or {"quick": "shapes"}.get(profile, "cifar10"))


@pytest.mark.parametrize("path", sorted((ROOT / "conf/profile").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_profile_says_is_what_comes_out(path: Path) -> None:
    def check(said: Any, found: Any, where: str) -> None:
        for name, value in said.items():
            if isinstance(value, dict):
                check(value, found[name], f"{where}.{name}")
            else:
                assert found[name] == value, f"{where}.{name}"

    said = yaml.safe_load(path.read_text())
    said.pop("defaults")
    check(said, yaml.safe_load(composed([f"profile={path.stem}"], ROOT / "conf")), path.stem)


def test_the_paper_profile_is_the_published_protocol() -> None:
    found = config.from_mapping(yaml.safe_load(composed(["profile=paper"], ROOT / "conf")))
    train = found.train
    assert (train.epochs, train.batch_size, train.learning_rate, train.weight_decay) == (30, 32, 1e-3, 1e-5)
    assert (found.model.name, found.model.image_size, found.maps.layer) == (
        "efficientnet_b0",
        224,
        "last_conv",
    )
    assert (found.data.validation_fraction, len(found.seeds)) == (0.1, 3)


CASES = [
    ("measure.overlap", [20, 100], "percentages in (0, 100), got 100.0"),
    ("measure.overlap", [20, 0], "percentages in (0, 100), got 0.0"),
    ("measure.overlap", [5, 5], "each percentage once"),
    ("train.epochs", 0, "parameter train.epochs: expected 1 or more, got 0"),
    ("train.epochs", "six", "parameter train.epochs: expected a value of type int, got 'six'"),
    ("train.epochs", True, "expected a value of type int, got True"),
    ("train.learning_rate", float("nan"), "a rate in (0, 10]"),
    ("train.select", "acuracy", "one of validation_accuracy, validation_loss"),
    ("train.device", "gpu", "one of cpu, cuda, auto"),
    ("seeds", [], "parameter seeds: expected at least one seed, got []"),
    ("seeds", [1, 1], "each seed once"),
    ("seeds", [-1], "whole numbers from 0"),
    ("maps.target", "predcted", "did you mean 'predicted'?"),
    ("model.output_stride", 7, "8, 16, 32 or null, got 7"),
    ("model.norm", "grop", "parameter model.norm: expected one of batch, none, group (did you mean 'group'?)"),
    ("model.norm_channels", 0, "parameter model.norm_channels: expected 1 to 1024 or null, got 0"),
    ("model.norm_groups", 1025, "parameter model.norm_groups: expected 1 to 1024 or null, got 1025"),
    ("model.precode_size", 4097, "parameter model.precode_size: expected 0 to 4096 features, got 4097"),
    ("model.precode_beta", -0.1, "parameter model.precode_beta: expected a weight in [0, 10], got -0.1"),
    ("train.weight_decay_l1", 1.1, "parameter train.weight_decay_l1: expected a value in [0, 1], got 1.1"),
    ("train.watch_test", 1, "parameter train.watch_test: expected a value of type bool, got 1"),
    ("data.validation_fraction", 1.0, "a fraction in (0, 1)"),
    ("data.name", "cifar11", "did you mean 'cifar10'?"),
    ("aug.names", ["equalise"], "equalize"),
    ("aug.gaussian_blur.sigmas", [1, 2], "sigma"),
    ("train.epoch", 3, "parameter train.epoch: unknown; did you mean train.epochs?"),
    ("trian", {}, "parameter trian: unknown; did you mean train?"),
    ("aug.ada", 5, "parameter aug.ada: expected a mapping, or names as the name, got 5"),
    ("aug.name", ["ada"], "parameter aug.name: expected a mapping, or names as the name, got ['ada']"),
    ("aug.ada_gradcam", {"method": "gradient"}, "parameter aug.ada_gradcam.steps: missing"),
    ("classic.from_epochs", 5, "parameter classic.from_epochs: expected a mapping, or chain or from_epoch"),
    ("classic.affin", {"degrees": 3}, "parameter classic.affin: unknown; did you mean affine?"),
    ("robustness.parts", ["test", "test"], "parameter robustness.parts: expected each part once"),
]


@pytest.mark.parametrize(("key", "value", "message"), CASES)
def test_a_bad_value_is_named_in_one_line(values: dict[str, Any], key: str, value: object, message: str) -> None:
    changed = copy.deepcopy(values)
    *path, last = key.split(".")
    place = changed
    for name in path:
        place = place[name]
    place[last] = value
    with pytest.raises(ValueError, match=r"parameter|aug") as caught:
        config.from_mapping(changed)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_says_its_method_has_no_other(values: dict[str, Any]) -> None:
    changed = copy.deepcopy(values)
    changed["aug"]["ada_gradcam"] = changed["aug"]["ada"] | {"method": "gradient"}
    with pytest.raises(ValueError, match="method") as caught:
        config.from_mapping(changed)
    told = "parameter aug.ada_gradcam.method: expected gradcam, which the name says, got 'gradient'"
    assert str(caught.value).startswith(told)
    changed["aug"]["ada_gradcam"]["method"] = "gradcam"
    assert config.from_mapping(changed)


@pytest.mark.parametrize(("own", "shown"), [(False, "ada"), (True, "ada_gradcam")])
def test_steps_that_are_too_late_are_named_where_they_stand(values: dict[str, Any], own: bool, shown: str) -> None:
    changed = copy.deepcopy(values)
    changed["aug"]["names"] = ["ada_gradcam"]
    late = {"steps": [99], "method": "gradcam"}
    changed["aug"][shown] = changed["aug"]["ada"] | late
    with pytest.raises(ValueError, match=rf"^parameter aug\.{shown}\.steps: expected steps before train\.epochs"):
        config.from_mapping(changed)


METHODS = (
    "cam, gradcam, gradcam++, scorecam, xgradcam, layercam, eigencam, hirescam, gradient, inputxgradient,"
    " guided_backprop, guided_gradcam, smoothgrad, integrated_gradients"
)
FAITHFULNESS = "average_drop, increase_in_confidence, insertion, deletion, road"
WHOLE = [
    ("score.methods", ["cam", "gradcan"], f"one of {METHODS} (did you mean 'gradcam'?), got 'gradcan'"),
    ("score.methods", ["cam", "scorecam", "cam"], "each method once, got ['cam', 'scorecam', 'cam']"),
    ("score.methods", "cam", "a list, got 'cam'"),
    ("score.faithfulness", ["raod"], f"one of {FAITHFULNESS} (did you mean 'road'?), got 'raod'"),
    ("score.faithfulness", ["road", "road"], "each score once, got ['road', 'road']"),
    ("score.images", 0, "1 image or more, or null, got 0"),
    ("score.images", 2.5, "a value of type int, got 2.5"),
    ("score.least_mask", 1, "a share in [0, 1), got 1.0"),
    ("score.least_mask", -0.1, "a share in [0, 1), got -0.1"),
    ("score.least_mask", float("nan"), "a share in [0, 1), got nan"),
    ("score.steps", 0, "1 to 1024, got 0"),
    ("score.steps", 1025, "1 to 1024, got 1025"),
    ("score.sanity_images", -1, "0 or more images, got -1"),
    ("score.seed", -1, "a whole number from 0 to 2147483647, got -1"),
    ("score.seed", 2**31, "a whole number from 0 to 2147483647, got 2147483648"),
    ("data.fit", "squeze", "one of crop, squeeze (did you mean 'squeeze'?), got 'squeze'"),
    ("data.label", "", "the name of a column of labels.csv, got ''"),
    ("data.label", " ", "the name of a column of labels.csv, got ' '"),
    ("data.label", 3, "a value of type str, got 3"),
]


@pytest.mark.parametrize(("key", "value", "told"), WHOLE)
def test_a_bad_value_of_scores_or_labels_by_the_whole_message(
    values: dict[str, Any], key: str, value: object, told: str
) -> None:
    group, name = key.split(".")
    values[group][name] = value
    with pytest.raises(ValueError, match=r"^parameter") as caught:
        config.from_mapping(values)
    told = f"parameter {key}: expected {told}"
    assert str(caught.value) == f"{told}; correct it in params.yaml or conf/"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("score.methods", []), ("score.faithfulness", []), ("score.images", None), ("score.images", 1),
        ("score.least_mask", 0), ("score.least_mask", 0.99), ("score.steps", 1), ("score.steps", 1024),
        ("score.sanity_images", 0), ("score.seed", 2**31 - 1), ("data.fit", "squeeze"), ("data.label", "the kind"),
    ],
)  # fmt: skip
def test_the_ends_of_every_range_are_in_it(values: dict[str, Any], key: str, value: object) -> None:
    group, name = key.split(".")
    values[group][name] = value
    found = getattr(getattr(config.from_mapping(values), group), name)
    assert found == (tuple(value) if isinstance(value, list) else value)


def test_labels_and_fit_are_what_they_were_where_nothing_is_said(values: dict[str, Any]) -> None:
    del values["data"]["label"], values["data"]["fit"]
    data = config.from_mapping(values).data
    assert (data.label, data.fit) == ("label", "crop")


@pytest.mark.parametrize(("channels", "groups"), [(None, None), (16, 4)])
def test_group_norm_needs_one_of_its_two_sizes(
    values: dict[str, Any], channels: int | None, groups: int | None
) -> None:
    values["model"] |= {"norm_channels": channels, "norm_groups": groups}
    config.from_mapping(values)  # they mean nothing with another norm
    values["model"]["norm"] = "group"
    with pytest.raises(ValueError, match="null for the other") as caught:
        config.from_mapping(values)
    assert str(caught.value) == (
        "parameter model.norm: expected with group one of model.norm_channels and model.norm_groups, and null for"
        f" the other, got '{channels} and {groups}'; correct it in params.yaml or conf/"
    )
    for one, other in ((16, None), (None, 4)):
        values["model"] |= {"norm_channels": one, "norm_groups": other}
        assert config.from_mapping(values).model.norm_groups == other


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "densenet121", "efficientnet_b0"])
def test_every_model_composes_with_every_factor(name: str) -> None:
    factors = ["model.norm=group", "model.precode_size=256", "model.precode_beta=1e-4"]
    further = ["train.weight_decay_l1=1e-5", "train.watch_test=true"]
    found = config.from_mapping(yaml.safe_load(composed([f"model={name}", *factors, *further], ROOT / "conf")))
    model, train = found.model, found.train
    assert (model.name, model.norm, model.norm_channels, model.precode_size) == (name, "group", 16, 256)
    assert (model.precode_beta, train.weight_decay_l1, train.watch_test) == (1e-4, 1e-5, True)


def test_the_word_true_is_a_target(values: dict[str, Any]) -> None:
    values["maps"]["target"] = yaml.safe_load("true")
    assert config.from_mapping(values).maps.variant == "gradcam-true"


def test_a_missing_key_is_named(values: dict[str, Any]) -> None:
    del values["train"]["epochs"]
    with pytest.raises(ValueError, match=r"^parameter train\.epochs: missing; add it to params\.yaml or conf/$"):
        config.from_mapping(values)


def test_config_imports_neither_torch_nor_mlflow() -> None:
    code = "import sys, auglens.config, auglens.plan; print({'torch', 'mlflow', 'pandas'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
