"""Every file of conf/aug composes, holds valid parameters and names what its own name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auglens.active import specs as active
from auglens.data.augmentations import schema

CONF = Path(__file__).parents[1] / "conf"
FILES = sorted(path.stem for path in (CONF / "aug").glob("*.yaml") if not path.stem.startswith("_"))
SEVEN = ["affine", "cutmix", "color_jitter", "elastic", "equalize", "gaussian_blur", "random_crop"]
SEVERAL = {
    "all": [*SEVEN, *schema.CONTROLS],
    "active": [*SEVEN, "ada", "proxy_attention", "saliencymix", "attentive_cutmix", *schema.CONTROLS],
    "ada_methods": [*(f"ada_{method}" for method in active.FIVE), "identity"],
    "none": [],
}
CHAINS = ("affine+color_jitter", "gaussian_blur+elastic", "random_crop+color_jitter")


def compose(name: str, *overrides: str) -> dict[str, Any]:
    hydra = pytest.importorskip("hydra", reason="hydra-core comes with the extra `pipeline`")
    from omegaconf import OmegaConf

    with hydra.initialize_config_dir(str(CONF), version_base=None):
        config = hydra.compose("config", overrides=[f"aug={name}", *overrides])
    return OmegaConf.to_container(config, resolve=True)["aug"]  # type: ignore[index,return-value]


def test_there_is_one_file_per_aug_control_and_shipped_chain() -> None:
    # Where a name fixes another's parameter (ada_gradcam), a study names it: no file of its own.
    single = [name for name in schema.AUGS if active.fixed_method(name) is None]
    assert sorted(FILES) == sorted([*single, *schema.CONTROLS, *CHAINS, *SEVERAL])


@pytest.mark.parametrize("name", FILES)
def test_a_file_composes_and_validates(name: str) -> None:
    aug = compose(name)
    names = aug.pop("names")
    assert names == SEVERAL.get(name, [name])
    assert list(aug) == [name for name in schema.AUGS if active.fixed_method(name) is None]
    for part, params in aug.items():
        schema.validate(part, params)
    for one in names:
        schema.parse(one)


def test_a_parameter_can_be_overridden_where_it_stands() -> None:
    assert compose("gaussian_blur", "aug.gaussian_blur.sigma=[0.2,3]")["gaussian_blur"]["sigma"] == [0.2, 3]


def test_every_parameter_carries_its_unit_or_choices_in_a_comment() -> None:
    lines = (CONF / "aug" / "_parameters.yaml").read_text().splitlines()
    knobs = [line for line in lines if line.startswith("  ")]
    written = [name for name in schema.AUGS if active.fixed_method(name) is None]
    assert len(knobs) == sum(len(schema.SPECS[name].knobs) for name in written)
    # What stands there for every one that looks where the model looks is explained at the first.
    told = {line.split(":")[0] for line in knobs if "  # " in line}
    assert {line.split(":")[0] for line in knobs} - told == set()
