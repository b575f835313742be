"""Specs and keys: what decides a cell is in its key, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from auglens import config
from auglens.commands.compose import composed
from auglens.plan import Plan, make_plan
from auglens.study import StudyCell, choose

ROOT = Path(__file__).parents[1]


def planned(*overrides: str, data: str = "d" * 64) -> Plan:
    return make_plan(config.from_mapping(yaml.safe_load(composed(overrides, ROOT / "conf"))), data)


def train_keys(plan: Plan) -> dict[str, str]:
    return {cell.name: cell.train["train_key"] for cell in plan.cells}


def map_keys(plan: Plan) -> dict[str, str]:
    return {cell.name: cell.maps["map_key"] for cell in plan.cells}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_the_default_plan_has_every_aug_and_control_times_two_seeds_and_the_reference() -> None:
    plan = planned()
    assert plan.reference.name == "reference"
    assert len(plan.cells) == 1 + 10 * 2


def test_another_blur_sigma_changes_the_blur_cells_and_the_chains_with_it() -> None:
    names = "aug.names=[affine,gaussian_blur,gaussian_blur+elastic]"
    before, after = planned(names), planned(names, "aug.gaussian_blur.sigma=[0.3,0.4]")
    blur = {"gaussian_blur-1", "gaussian_blur-2", "gaussian_blur+elastic-1", "gaussian_blur+elastic-2"}
    assert changed(train_keys(before), train_keys(after)) == blur
    assert before.study_key == after.study_key


def test_a_third_seed_and_fewer_augs_change_no_other_cell() -> None:
    before = train_keys(planned())
    third = {name for name in train_keys(planned("seeds=[1,2,3]")) if name.endswith("-3")}
    after = train_keys(planned("seeds=[1,2,3]"))
    # identity and equalize draw nothing: their third seed is the same training as their first
    assert {name for name in after if name not in before} == third
    assert changed(before, train_keys(planned("aug=equalize"))) == set()
    assert set(train_keys(planned("aug=none"))) == {"reference"}


@pytest.mark.parametrize("override", ["measure.overlap=[30]", "measure.kld_eps=1e-9"])
def test_a_setting_of_measuring_enters_no_key_of_a_cell(override: str) -> None:
    before, after = planned(), planned(override)
    assert train_keys(before) == train_keys(after)
    assert map_keys(before) == map_keys(after)
    assert before.study_key != after.study_key


def test_a_setting_of_explaining_enters_the_map_keys_alone() -> None:
    before, after = planned(), planned("maps.target=true")
    assert train_keys(before) == train_keys(after)
    assert not set(map_keys(before).values()) & set(map_keys(after).values())
    assert before.study_key != after.study_key


@pytest.mark.parametrize(
    "override",
    [
        "score.methods=[cam]",
        "score.images=null",
        "score.least_mask=0.05",
        "score.faithfulness=[road]",
        "score.steps=8",
        "score.sanity_images=0",
        "score.seed=1",
        "robustness.size=null",
        "robustness.images=7",
        "robustness.parts=[test]",
    ],
)
def test_settings_of_scores_are_the_studys_and_no_cells(override: str) -> None:
    before, after = planned(), planned(override)
    assert [(cell.train, cell.maps) for cell in after.cells] == [(cell.train, cell.maps) for cell in before.cells]
    assert before.measure == after.measure
    assert before.study_key != after.study_key


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=7",
        "train.threads=1",
        "train.precision=bf16",
        "model.image_size=96",
        "model.norm=none",
        "model.precode_size=8",
        "train.weight_decay_l1=1e-5",
        "streams.init_seed=5",
        "classic=spinal_cord",
    ],
)
def test_whatever_decides_a_checkpoint_is_in_every_train_key(override: str) -> None:
    before, after = train_keys(planned()), train_keys(planned(override))
    assert changed(before, after) == set(before)


def test_a_setting_of_ada_changes_the_cells_of_ada() -> None:
    study = "aug.names=[ada,ada_gradcam,ada_gradient,ada+affine,affine,identity]"
    before = train_keys(planned(study, "train.epochs=9"))
    for override in ("aug.ada.window=9", "aug.ada.steps=[3,5,...]", "maps.layer=layer3"):
        after = train_keys(planned(study, "train.epochs=9", override))
        assert {name.rpartition("-")[0] for name in changed(before, after)} == {
            "ada", "ada_gradcam", "ada_gradient", "ada+affine"
        }  # fmt: skip
    after = train_keys(planned(study, "train.epochs=9", "aug.ada.method=gradient"))
    assert {name.rpartition("-")[0] for name in changed(before, after)} == {"ada", "ada+affine"}
    parts = {cell.name: cell.train["parts"] for cell in planned(study, "train.epochs=9").cells}
    assert parts["ada_gradient-1"][0]["params"] == parts["ada-1"][0]["params"] | {"method": "gradient"}


def test_the_classic_augmentation_is_every_cells_and_in_its_key_where_it_begins() -> None:
    before = planned("classic=spinal_cord")
    assert [part["name"] for part in before.reference.train["classic"]] == ["affine", "channel_shift", "elastic"]
    assert all(cell.train["classic"] == before.reference.train["classic"] for cell in before.cells)
    later = planned("classic=spinal_cord", "classic.from_epoch=5")
    assert changed(train_keys(before), train_keys(later)) == set(train_keys(before))
    assert train_keys(planned("classic.from_epoch=5")) == train_keys(planned())


def test_other_prepared_data_change_every_train_key() -> None:
    assert changed(train_keys(planned()), train_keys(planned(data="e" * 64))) == set(train_keys(planned()))


def test_the_seed_feeds_augmentation_alone_by_default() -> None:
    cells = {cell.name: cell.train for cell in planned("model.dropout=0.5").cells}
    one, two = cells["affine-1"], cells["affine-2"]
    assert one["streams"] == {"augmentation": 1, "dropout": 1, "init": 0, "order": 0}
    assert two["streams"] == {"augmentation": 2, "dropout": 2, "init": 0, "order": 0}
    assert cells["reference"]["streams"]["init"] == 0
    assert {cell["streams"]["init"] for name, cell in cells.items() if not name.startswith("reseed")} == {0}


def test_a_seed_that_decides_nothing_is_in_no_key() -> None:
    keys = train_keys(planned())
    assert keys["equalize-1"] == keys["equalize-2"]
    assert keys["identity-1"] == keys["identity-2"]
    assert keys["noise-1"] != keys["noise-2"]
    keys = train_keys(planned("model.dropout=0.5"))
    assert keys["equalize-1"] != keys["equalize-2"]


def test_a_bottleneck_draws_from_the_dropout_stream() -> None:
    cells = {cell.name: cell.train for cell in planned("model.precode_size=8").cells}
    assert [cells[name]["streams"]["dropout"] for name in ("equalize-1", "equalize-2", "reference")] == [1, 2, 0]
    assert cells["equalize-1"]["train_key"] != cells["equalize-2"]["train_key"]
    assert {cell.train["streams"]["dropout"] for cell in planned().cells} == {None}


def test_reseed_has_other_weights_and_order_and_no_second_half() -> None:
    cells = {cell.name: cell.train for cell in planned().cells}
    reference, reseed = cells["reference"], cells["reseed-1"]
    assert reseed["halves"] == reference["halves"] == 1
    assert reseed["streams"]["init"] != reference["streams"]["init"]
    assert reseed["streams"]["order"] != reference["streams"]["order"]
    assert cells["identity-1"]["halves"] == 2


def test_the_reference_keeps_its_streams_when_a_seed_feeds_all() -> None:
    cells = {cell.name: cell.train for cell in planned("streams.vary=[augmentation,dropout,init,order]").cells}
    assert cells["reference"]["streams"] == {"augmentation": None, "dropout": None, "init": 0, "order": 0}
    assert cells["affine-1"]["streams"] == {"augmentation": 1, "dropout": None, "init": 2, "order": 2}


def study_cell(aug: str, seed: int, aug_key: str = "a", published: int = 0, run: str | None = None) -> StudyCell:
    name = "reference" if aug == "reference" else f"{aug}-{seed}"
    return StudyCell(name, aug, seed, aug_key, f"{name}:{aug_key}", "content", run, published)


def test_choose_keeps_the_plans_own_parameters_of_an_aug() -> None:
    own = [study_cell("reference", 0), study_cell("gaussian_blur", 1, "new")]
    found = [
        study_cell("gaussian_blur", 1, "old", run="1"),
        study_cell("gaussian_blur", 2, "old", run="2"),
        study_cell("gaussian_blur", 3, "new", run="3"),
        study_cell("gaussian_blur", 1, "new", run="4"),
    ]
    cells, left_out = choose(own, found, {"reference": "a", "gaussian_blur": "new"})
    assert [(cell.cell, cell.run_id) for cell in cells] == [
        ("reference", None),
        ("gaussian_blur-1", None),
        ("gaussian_blur-3", "3"),
    ]
    assert left_out == ["gaussian_blur-1 (old)", "gaussian_blur-2 (old)"]


def test_choose_takes_one_setting_of_an_aug_that_the_plan_has_not() -> None:
    found = [
        study_cell("affine", 1, "x", 5, run="1"),
        study_cell("affine", 1, "y", 1, run="2"),
        study_cell("affine", 2, "y", 2, run="3"),
        study_cell("noise", 1, run="4"),
        study_cell("affine+color_jitter", 1, run="5"),
    ]
    cells, left_out = choose([study_cell("reference", 0)], found, {"reference": "a"})
    names = [cell.cell for cell in cells]
    assert names == ["reference", "affine-1", "affine-2", "affine+color_jitter-1", "noise-1"]
    assert left_out == ["affine-1 (x)"]
    newest = [study_cell("affine", 1, "x", 5, run="1"), study_cell("affine", 1, "y", 9, run="2")]
    assert [cell.run_id for cell in choose([], newest, {})[0]] == ["2"]


@pytest.mark.parametrize("off", ["model.norm_channels=8", "model.precode_beta=0.5"])
def test_settings_of_what_is_off_make_no_other_key(off: str) -> None:
    on = {"model.norm_channels=8": "model.norm=group", "model.precode_beta=0.5": "model.precode_size=8"}[off]
    keys = [planned(*words).reference.train["train_key"] for words in ((), (off,), (on,), (on, off))]
    assert keys[0] == keys[1]
    assert len({*keys}) == 3
