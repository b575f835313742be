"""conf/search: what a file says, what is refused, and that every shipped search composes at every size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from auglens import config, search
from auglens.artifacts import hash_values
from auglens.commands.compose import composed
from auglens.search.definition import Range

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "conf/search"
TWO = {"objectives": {"accuracy": "maximize", "f1": "maximize"}}
SMALL = {"objectives": {"accuracy": "maximize"}, "space": {"model.dropout": [0.0, 0.5]}}


def write(folder: Path, name: str = "mine", **values: object) -> Path:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(SMALL | values))
    return folder


@pytest.mark.parametrize("name", search.names(SHIPPED))
@pytest.mark.parametrize("size", ["full", "quick"])
def test_every_shipped_search_composes_to_valid_parameters(name: str, size: str) -> None:
    found = search.load(SHIPPED, name, size=size)
    assert found.question
    points = list(found.points()) if found.finite else [next(iter(found.points()), {})]
    for point in points[:9]:
        settings = config.from_mapping(yaml.safe_load(composed(found.overrides(point), ROOT / "conf")))
        assert settings.seeds == found.seeds
        assert settings.aug.names == (found.aug,)


def test_the_shipped_searches_hold_protocol_cs_levels() -> None:
    assert list(search.load(SHIPPED, "depth").space["model.name"]) == ["resnet18", "resnet34", "resnet50"]
    assert list(search.load(SHIPPED, "batch_size").space["train.batch_size"]) == [16, 32, 64, 128, 256]
    assert list(search.load(SHIPPED, "dropout").space["model.dropout"]) == [0.0, 0.1, 0.33, 0.5, 0.75]
    assert len(search.load(SHIPPED, "precode").space["precode"]) == 1 + 3 * 2
    assert len(search.load(SHIPPED, "weight_decay").space["weight decay"]) == 1 + 3 * 2
    assert search.load(SHIPPED, "norm").seeds == (1, 2, 3)


def test_one_at_a_time_is_the_baseline_and_each_other_level_alone(tmp_path: Path) -> None:
    space = {"a": {"x": ["k=1"], "y": ["k=2"]}, "b": [1, 2, 3]}
    found = search.load(write(tmp_path, space=space, design="one_at_a_time"), "mine")
    assert list(found.points()) == [
        {"a": "x", "b": 1}, {"a": "y", "b": 1}, {"a": "x", "b": 2}, {"a": "x", "b": 3},
    ]  # fmt: skip


def test_a_grid_is_the_product_in_order(tmp_path: Path) -> None:
    found = search.load(write(tmp_path, space={"a": [1, 2], "b": [3, 4]}), "mine")
    assert [tuple(point.values()) for point in found.points()] == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_overrides_come_in_order_base_aug_seeds_point(tmp_path: Path) -> None:
    folder = write(tmp_path, base=["data=shapes"], seeds=[4, 5], space={"norm": {"none": ["model.norm=none"]}})
    found = search.load(folder, "mine", extra=("seeds=[1]",))
    assert found.overrides({"norm": "none"}) == [
        "data=shapes", "aug.names=[reseed]", "seeds=[4,5]", "seeds=[1]", "model.norm=none", "tracking.live=false",
    ]  # fmt: skip
    settings = config.from_mapping(yaml.safe_load(composed(found.overrides({"norm": "none"}), ROOT / "conf")))
    assert settings.seeds == (1,)  # who starts it has the last word


def test_what_the_search_varies_cannot_be_set_from_outside(tmp_path: Path) -> None:
    space = {"norm": {"none": ["model.norm=none"]}, "model.dropout": [0.0, 0.5]}
    for word in ("model.norm=batch", "model.dropout=0.1"):
        with pytest.raises(
            ValueError, match=r"-S model\.(norm|dropout): the search varies it itself; change conf/"
        ):
            search.load(write(tmp_path, space=space), "mine", extra=(word,))


def test_a_file_adds_to_what_it_extends_and_a_size_to_both(tmp_path: Path) -> None:
    write(tmp_path, "parent", base=["a=1"], seeds=[1], sizes={"quick": {"base": ["q=1"], "seeds": [7]}})
    write(tmp_path, "child", extends="parent", base=["b=2"], sizes={"quick": {"base": ["q=2"]}})
    full, quick = (search.load(tmp_path, "child", size=size) for size in ("full", "quick"))
    assert (full.name, full.base, full.seeds) == ("child", ("a=1", "b=2"), (1,))
    assert (quick.name, quick.base, quick.seeds) == ("child-quick", ("a=1", "b=2", "q=1", "q=2"), (7,))


def test_identity_is_all_but_the_words(tmp_path: Path) -> None:
    one = search.load(write(tmp_path, question="One?"), "mine").identity()
    assert search.load(tmp_path, "mine", extra=("a=1",)).identity() != one
    assert one == search.load(write(tmp_path, question="Two?"), "mine").identity()
    for other in ({"seeds": [2]}, {"space": {"model.dropout": [0.0, 0.4]}}, {"base": ["a=1"]}, {"seed": 3}, TWO):
        assert search.load(write(tmp_path, **other), "mine").identity() != one, other


def test_ranges_know_whole_numbers(tmp_path: Path) -> None:
    space = {"a": {"low": 1, "high": 4}, "b": {"low": 0.1, "high": 1.0, "log": True}}
    found = search.load(write(tmp_path, space=space, design="tpe", trials=3), "mine")
    assert found.space == {"a": Range(1, 4, False, True), "b": Range(0.1, 1.0, True, False)}
    assert not found.finite


def test_the_order_of_the_objectives_is_part_of_the_identity(tmp_path: Path) -> None:
    """Values are kept by place: exchanged, they would change sides."""
    one, two = ({"a": "maximize", "b": "minimize"}, {"b": "minimize", "a": "maximize"})
    keys = []
    for objectives in (one, two):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SMALL | {"objectives": objectives}, sort_keys=False))
        keys.append(hash_values(search.load(tmp_path, "mine").identity()))
    assert keys[0] != keys[1]


WHERE = "conf/search/mine.yaml"
BAD: list[tuple[dict[str, object], str]] = [
    ({"spcae": {}}, "spcae: unknown; did you mean space?"),
    ({"space": {}}, f"{WHERE}: space: expected factors with their levels, got {{}}; correct it"),
    ({"space": {"a": []}}, f"{WHERE}: space.a: expected a list of values, got []; correct it"),
    ({"space": {"a": {"low": 2, "high": 1}}, "design": "tpe", "trials": 1}, "numbers, low below high"),
    (
        {"space": {"a": {"low": 0, "high": 1, "log": True}}, "design": "tpe", "trials": 1},
        "above 0 for a log scale",
    ),
    ({"space": {"a": {"low": 0, "high": 1, "step": 1}}, "design": "tpe", "trials": 1}, "got ['step']"),
    ({"space": {"a": {"low": 0.1, "high": 1}}}, "levels, not ranges, for design grid"),
    ({"space": {"a": {"x": "model.norm"}}}, "space.a.x: expected a list of overrides"),
    ({"space": ["a"]}, f"{WHERE}: space: expected factors with their levels, got ['a']; correct it"),
    ({"objectives": {"accuracy": ["maximize"]}}, "metric: maximize or minimize, one or more"),
    ({"aug": ["reseed"]}, f"{WHERE}: aug: expected one aug, got ['reseed']; correct it"),
    ({"seed": "abc"}, f"{WHERE}: seed: expected a whole number from 0, got 'abc'; correct it"),
    ({"sizes": {"quick": None}}, "sizes: expected a mapping of what each size changes, got {'quick': None}"),
    ({"design": "random"}, "one of grid, one_at_a_time, tpe, nsga2, got 'random'"),
    ({"design": "tpe"}, f"{WHERE}: trials: expected 1 or more, got 0; correct it"),
    ({"objectives": {}}, "metric: maximize or minimize, one or more, got {}"),
    ({"objectives": {"accuracy": "up"}}, "maximize or minimize"),
    ({"seeds": [1, 1]}, "whole numbers, each once, got [1, 1]"),
    ({"seeds": []}, "whole numbers, each once, got []"),
    ({"base": ["data"]}, "expected overrides as [data=shapes], got ['data']"),
    ({"extends": "mine"}, "extends 'mine', which extends it again; leave one of them out"),
    ({"extends": "../other"}, "no search '../other'"),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        search.load(write(tmp_path, **values), "mine")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_or_size_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match=r"no search 'mime' in .*; did you mean mine\?"):
        search.load(tmp_path, "mime")
    with pytest.raises(ValueError, match="no size 'quick'; use one of full"):
        search.load(tmp_path, "mine", size="quick")
    (tmp_path / "broken.yaml").write_text("space: [")
    with pytest.raises(ValueError, match="not YAML"):
        search.load(tmp_path, "broken")
