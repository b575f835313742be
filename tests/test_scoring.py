"""Scores of a cell's explanations: which images, which maps, whose targets; by hand from the library."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from auglens import artifacts, config, metrics
from auglens.commands.compose import composed
from auglens.config import ModelConfig, ScoreConfig
from auglens.data.sources import shapes
from auglens.data.views import View, to_unit
from auglens.models import build
from auglens.own.source import read
from auglens.saliency import explain, finish, sanity_maps
from auglens.stages import exchange, explaining, layout, once, score, scoring
from auglens.stages.selecting import chosen

pytestmark = pytest.mark.filterwarnings("ignore:maps.layer")  # small images: maps of 4 × 4

ROOT = Path(__file__).parents[1]
SIDE, TEST = 32, 14
MODEL = {"name": "test_resnet", "image_size": SIDE, "output_stride": 8, "dropout": 0.0, "drop_path": 0.0}
CLASSES = list(shapes.CLASSES)
MEAN, STD = [0.4, 0.45, 0.5], [0.2, 0.25, 0.3]
VARIANT = "gradcam-true"  # of the labels: an untrained network predicts others
CELLS = ("equalize-1", "equalize-2", "noise-1")
SPEC = {
    "map_key": "m" * 64,
    "variant": VARIANT,
    "method": "gradcam",
    "target": "true",
    "layer": "features",
    "batch_size": 5,
    "threads": 1,
    "device": "cpu",
}
SETTINGS = ScoreConfig(
    methods=("gradcam++",),
    images=9,
    least_mask=0.0,
    faithfulness=metrics.FAITHFULNESS,
    steps=4,
    sanity_images=5,
    seed=3,
)
FAITHFUL = set(metrics.FAITHFULNESS)
LOCAL = set(metrics.LOCALIZATION)


def message(error: pytest.ExceptionInfo[ValueError]) -> str:
    return str(error.value)


# Which images


def shares(*values: float) -> np.ndarray:
    """Masks bool [N,10,10] of these shares."""
    masks = np.zeros((len(values), 100), bool)
    for mask, share in zip(masks, values, strict=True):
        mask[: round(100 * share)] = True
    return masks.reshape(-1, 10, 10)


def test_images_are_evenly_spread_from_the_first_to_the_last() -> None:
    assert chosen(10, None, images=None, least_mask=0).tolist() == list(range(10))
    assert chosen(10, None, images=4, least_mask=0).tolist() == [0, 3, 6, 9]
    assert chosen(11, None, images=3, least_mask=0).tolist() == [0, 5, 10]
    assert chosen(6, None, images=4, least_mask=0).tolist() == [0, 2, 3, 5]  # 0, 1.67, 3.33, 5
    assert chosen(10, None, images=1, least_mask=0).tolist() == [0]
    for images in (10, 11, 5000):
        assert chosen(10, None, images=images, least_mask=0).tolist() == list(range(10))
    assert chosen(10, None, images=4, least_mask=0).dtype == np.int64


@pytest.mark.parametrize("count", [1, 2, 7, 50, 301])
def test_as_many_as_asked_for_each_once_and_in_order(count: int) -> None:
    for images in range(1, count + 1):
        found = chosen(count, None, images=images, least_mask=0)
        assert len(found) == images
        assert (np.diff(found) > 0).all()
        assert images == 1 or found[-1] == count - 1
        assert images == 1 or np.ptp(np.diff(found)) <= 1  # no gap is more than one wider than another


def test_images_with_a_smaller_mask_are_left_out_before_the_spread() -> None:
    masks = shares(0.2, 0.0, 0.05, 0.04, 0.5, 0.05, 0.1)
    assert chosen(7, masks, images=None, least_mask=0.05).tolist() == [0, 2, 4, 5, 6]  # the bound is allowed
    assert chosen(7, masks, images=3, least_mask=0.05).tolist() == [0, 4, 6]
    assert chosen(7, masks, images=None, least_mask=0.5).tolist() == [4]
    assert chosen(7, masks, images=None, least_mask=0).tolist() == list(range(7))  # empty masks too


def test_masks_that_are_not_there_and_masks_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="least_mask") as error:
        chosen(7, None, images=None, least_mask=0.05)
    assert message(error) == ("score.least_mask: expected 0, since the data have no masks, got 0.05; set it to 0")
    with pytest.raises(ValueError, match="least_mask") as error:
        chosen(3, shares(0.1, 0.26, 0.0), images=2, least_mask=0.3)
    assert message(error) == (
        "score.least_mask: no test image's mask has 0.3 of its pixels; the largest has 0.26: lower it"
    )


# The scoring


def prepare(*, masks: bool = True) -> artifacts.Prepared:
    source = shapes.load(train=6, test=TEST, size=24)  # resized for the network
    test = source.given["test"][::-1].copy()  # rows of the data are not places among the test images
    manifest = {"classes": CLASSES, "mean": MEAN, "std": STD, "content": "c", "size": 24}
    given = source.masks if masks else None
    prepared = artifacts.Prepared(
        source.images, source.labels, given, np.arange(4), np.arange(4, 6), test, manifest
    )  # fmt: skip
    artifacts.save_prepared(layout.SPLITS, prepared)
    return prepared


def network() -> torch.nn.Module:
    return build(ModelConfig(**MODEL), len(CLASSES), init_seed=11).eval()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared set and three cells of an untrained network with their maps; the first two have one map key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    prepare()
    told = {"task": "classification", "model": MODEL, "classes": CLASSES, "mean": MEAN, "std": STD}
    entries = []
    for cell in CELLS:
        spec = SPEC | ({"map_key": "n" * 64} if cell == "noise-1" else {})
        artifacts.save_checkpoint(layout.checkpoint(cell), network().state_dict(), told)
        artifacts.save_json(layout.maps_spec(cell), spec)
        entries.append({"cell": cell, "aug": cell[:-2], "map_key": spec["map_key"]})
    artifacts.save_json(layout.INDEX, {"cells": entries, "variant": VARIANT})
    explaining.run(CELLS[0], SPEC)
    for cell in CELLS[1:]:
        shutil.copytree(layout.maps(CELLS[0], VARIANT).parent, layout.maps(cell, VARIANT).parent)
    return tmp_path


def of(columns: dict[str, Any], method: str) -> dict[str, np.ndarray]:
    rows = columns["method"] == method
    return {name: column[rows] for name, column in columns.items()}


def pixels_of(prepared: artifacts.Prepared, rows: np.ndarray) -> torch.Tensor:
    unit = to_unit(torch.from_numpy(prepared.images[prepared.test[rows]]))
    return torch.nn.functional.interpolate(unit, (SIDE, SIDE), mode="bilinear", align_corners=False)


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def test_scores_are_those_of_the_library_by_hand(project: Path) -> None:
    """Every score of every method: the targets of cams/, the maps finished, the network of the checkpoint."""
    columns, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    prepared, model = artifacts.load_prepared(layout.SPLITS), network()
    maps = artifacts.load_maps(layout.maps(CELLS[0], VARIANT))
    rows = np.array([0, 2, 3, 5, 6, 8, 10, 11, 13])  # 13/8 of a step apart
    assert (maps.targets != maps.logits.argmax(1)).any()
    pixels = pixels_of(prepared, rows)
    masks = View(SIDE, MEAN, STD).masks(torch.from_numpy(prepared.masks[prepared.test[rows]])).numpy()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(normalised(torch.from_numpy(images))).double().softmax(1).numpy()

    again = explain(model, normalised(pixels), method="gradcam++", targets=maps.targets[rows])
    finished = {"gradcam": finish(maps.raw[rows], SIDE), "gradcam++": finish(again.raw, SIDE)}
    finished |= metrics.floor_maps(len(rows), (SIDE, SIDE), seed=SETTINGS.seed)
    assert list(dict.fromkeys(columns["method"])) == ["gradcam", "gradcam++", "ones", "centre", "random"]
    for method, some in finished.items():
        found = of(columns, method)
        expected = metrics.localization(some, masks)
        expected |= metrics.faithfulness(
            predict, pixels.numpy(), some, fill=MEAN, seed=SETTINGS.seed, steps=SETTINGS.steps
        )
        assert found["image"].tolist() == rows.tolist()
        assert found.keys() >= expected.keys() == LOCAL | FAITHFUL
        for name, values in expected.items():
            # The network meets other batches here, and rounds otherwise.
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=f"{name} {method}")
        np.testing.assert_array_equal(found["constant"], metrics.is_constant(some))
        np.testing.assert_allclose(found["mask_share"], masks.mean((1, 2)))
        np.testing.assert_array_equal(found["label"], prepared.labels[prepared.test[rows]])
        np.testing.assert_array_equal(found["target"], maps.targets[rows])
        np.testing.assert_array_equal(found["predicted"], maps.logits[rows].argmax(1))


def test_the_floors_are_those_of_the_metrics(project: Path) -> None:
    columns, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    prepared = artifacts.load_prepared(layout.SPLITS)
    rows = prepared.test[of(columns, "ones")["image"]]
    masks = View(SIDE, MEAN, STD).masks(torch.from_numpy(prepared.masks[rows])).numpy()
    for name, values in metrics.localization_floors(masks, seed=SETTINGS.seed).items():
        floor, _, metric = name.partition("_")
        np.testing.assert_array_equal(of(columns, floor)[metric], values)
    assert all(np.isnan(of(columns, "ones")[name]).all() for name in FAITHFUL)  # it orders no pixels
    other, _ = scoring.run(CELLS[0], SPEC, replace(SETTINGS, seed=4))
    assert (of(other, "random")["energy"] != of(columns, "random")["energy"]).all()
    np.testing.assert_array_equal(of(other, "centre")["energy"], of(columns, "centre")["energy"])


@pytest.mark.parametrize("size", [1, 4])
def test_how_many_are_scored_at_once_changes_nothing(
    project: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sanity = scoring.run(CELLS[0], SPEC, SETTINGS)
    monkeypatch.setattr(scoring, "CHUNK", size)
    parts, again = scoring.run(CELLS[0], SPEC, SETTINGS)
    assert list(parts) == list(whole)
    assert pd.DataFrame(again).equals(pd.DataFrame(sanity))
    for name, column in whole.items():
        if name in FAITHFUL:  # rounding of the network alone
            np.testing.assert_allclose(parts[name], column, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(parts[name], column, err_msg=name)


def test_the_studys_own_maps_are_those_of_cams_and_no_others_are(project: Path) -> None:
    before, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    path = layout.maps(CELLS[0], VARIANT)
    maps = artifacts.load_maps(path)
    raw = np.random.default_rng(0).random(maps.raw.shape, np.float32)
    artifacts.save_maps(path, replace(maps, raw=raw))
    after, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    prepared = artifacts.load_prepared(layout.SPLITS)
    rows = of(after, "gradcam")["image"]
    masks = View(SIDE, MEAN, STD).masks(torch.from_numpy(prepared.masks[prepared.test[rows]])).numpy()
    expected = metrics.localization(finish(raw[rows], SIDE), masks)
    for name, values in expected.items():
        np.testing.assert_array_equal(of(after, "gradcam")[name], values)
        np.testing.assert_array_equal(of(after, "gradcam++")[name], of(before, "gradcam++")[name])
    assert (of(after, "gradcam")["energy"] != of(before, "gradcam")["energy"]).any()


def test_other_methods_explain_the_targets_of_cams(project: Path) -> None:
    before, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    path = layout.maps(CELLS[0], VARIANT)
    maps = artifacts.load_maps(path)
    artifacts.save_maps(path, replace(maps, targets=(maps.targets + 1) % len(CLASSES)))
    after, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    assert (of(after, "gradcam++")["energy"] != of(before, "gradcam++")["energy"]).any()
    np.testing.assert_array_equal(of(after, "gradcam")["energy"], of(before, "gradcam")["energy"])


def test_the_studys_own_method_named_again_is_scored_once(project: Path) -> None:
    columns, _ = scoring.run(CELLS[0], SPEC, replace(SETTINGS, methods=("gradcam",), faithfulness=()))
    assert list(dict.fromkeys(columns["method"])) == ["gradcam", "ones", "centre", "random"]
    assert len(columns["method"]) == 4 * 9
    assert not FAITHFUL & set(columns)


def test_only_the_scores_asked_for_are_columns(project: Path) -> None:
    columns, _ = scoring.run(CELLS[0], SPEC, replace(SETTINGS, methods=(), faithfulness=("deletion",)))
    assert FAITHFUL & set(columns) == {"deletion"}
    assert list(columns)[:6] == ["method", "image", "label", "predicted", "target", "mask_share"]


def test_a_method_of_ones_own_is_scored_and_checked_as_the_studys(project: Path) -> None:
    shutil.copy(ROOT / "examples/own.py", "own.py")
    told = {"own": "own.py", "code": read("own.py").declared["activation"].code}
    spec = SPEC | told | {"method": "activation", "variant": "activation-true"}
    explaining.run(CELLS[0], spec)
    columns, sanity = scoring.run(CELLS[0], spec, replace(SETTINGS, methods=("gradcam",), faithfulness=()))
    assert list(dict.fromkeys(columns["method"])) == ["activation", "gradcam", "ones", "centre", "random"]
    assert {row["method"] for row in sanity} == {"activation"}
    with pytest.raises(ValueError, match="its code changed") as error:
        scoring.run(CELLS[0], spec | {"code": "0" * 64}, SETTINGS)
    assert message(error) == "own.py: activation: its code changed since the plan; run `dvc repro`"


def test_without_masks_there_is_nothing_to_localise(project: Path) -> None:
    with_masks, _ = scoring.run(CELLS[0], SPEC, SETTINGS)
    prepare(masks=False)
    columns, sanity = scoring.run(CELLS[0], SPEC, SETTINGS)
    assert set(with_masks) - set(columns) == LOCAL | {"mask_share"}
    assert len(sanity) > 1
    for name in set(columns) - {"method"}:
        np.testing.assert_array_equal(columns[name], with_masks[name], err_msg=name)
    with pytest.raises(ValueError, match="least_mask") as error:
        scoring.run(CELLS[0], SPEC, replace(SETTINGS, least_mask=0.1))
    assert message(error) == ("score.least_mask: expected 0, since the data have no masks, got 0.1; set it to 0")


def test_the_least_mask_is_one_in_what_the_network_sees(project: Path) -> None:
    prepared = artifacts.load_prepared(layout.SPLITS)
    masks = View(SIDE, MEAN, STD).masks(torch.from_numpy(prepared.masks[prepared.test])).numpy()
    share = masks.mean((1, 2))
    least = float(np.sort(share)[TEST // 2])
    columns, _ = scoring.run(CELLS[0], SPEC, replace(SETTINGS, least_mask=least, images=None, faithfulness=()))
    found = of(columns, "gradcam")
    assert found["image"].tolist() == np.flatnonzero(share >= least).tolist()
    assert found["mask_share"].min() == pytest.approx(least)
    assert len(found["image"]) < TEST


def test_the_sanity_check_by_hand(project: Path) -> None:
    _, rows = scoring.run(CELLS[0], SPEC, SETTINGS)
    prepared, model = artifacts.load_prepared(layout.SPLITS), network()
    maps = artifacts.load_maps(layout.maps(CELLS[0], VARIANT))
    some = np.array([0, 3, 6, 10, 13])  # every second of the nine scored
    fresh = build(ModelConfig(**MODEL), len(CLASSES), init_seed=1_000_003 + SETTINGS.seed).eval()
    levels = sanity_maps(
        model, fresh, normalised(pixels_of(prepared, some)), methods=["gradcam"], size=SIDE,
        targets=maps.targets[some],
    )  # fmt: skip
    expected = metrics.sanity_check(levels)
    assert len(expected) > 2
    assert [row["fraction_randomised"] for row in rows][-1] == 1
    pd.testing.assert_frame_equal(pd.DataFrame(rows), pd.DataFrame(expected), rtol=1e-4, atol=1e-5)
    none = scoring.run(CELLS[0], SPEC, replace(SETTINGS, sanity_images=0, faithfulness=()))[1]
    assert none == []


def test_maps_of_other_data_are_refused(project: Path) -> None:
    path = layout.maps(CELLS[0], VARIANT)
    maps = artifacts.load_maps(path)
    artifacts.save_maps(path, replace(maps, raw=maps.raw[1:], logits=maps.logits[1:], targets=maps.targets[1:]))
    with pytest.raises(ValueError, match="13 maps") as error:
        scoring.run(CELLS[0], SPEC, SETTINGS)
    assert message(error) == "score equalize-1: 13 maps for 14 test images; run `dvc repro`"


# The stage


def compose(*overrides: str) -> ScoreConfig:
    values = ["score.images=6", "score.steps=3", "score.sanity_images=2", "score.faithfulness=[deletion]"]
    Path("params.yaml").write_text(composed([*values, *overrides], ROOT / "conf"))
    return config.load().score


def test_equal_cells_are_scored_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = compose()
    score.run("equalize-1")
    assert capsys.readouterr().out.endswith("score equalize-1: 4 methods and floors on 6 images\n")
    table = artifacts.load_table(layout.scores("equalize-1"))
    assert table.attrs == score.attributes("m" * 64, settings)
    assert len(table) == 24
    expected, _ = scoring.run("equalize-1", SPEC, settings)
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)

    def refuse(*_: object) -> None:
        raise AssertionError("scored again")

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "run", refuse)
        capsys.readouterr()
        score.run("equalize-2")
        assert capsys.readouterr().out == (
            "score equalize-2: the same model as another cell's: its scores are taken over\n"
        )
        for path in (layout.scores, layout.sanity):
            assert path("equalize-2").read_bytes() == path("equalize-1").read_bytes()
        with pytest.raises(AssertionError, match="scored again"):
            score.run("noise-1")  # of another map key, and so of no other's
        compose("score.seed=1")
        with pytest.raises(AssertionError, match="scored again"):
            score.run("equalize-2")
    score.run("noise-1")


def test_another_checkpoint_is_scored_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map key says what a model was made from; the bytes say what it is."""
    compose("score.faithfulness=[]")
    score.run("equalize-1")
    other = build(ModelConfig(**MODEL), len(CLASSES), init_seed=12).state_dict()
    told = {"task": "classification", "model": MODEL, "classes": CLASSES, "mean": MEAN, "std": STD}
    artifacts.save_checkpoint(layout.checkpoint("equalize-2"), other, told)
    score.run("equalize-2")
    assert layout.sanity("equalize-2").read_bytes() != layout.sanity("equalize-1").read_bytes()


def test_several_outputs_are_kept_by_their_place_under_any_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def outputs(name: str) -> list[Path]:
        return [tmp_path / name / f"{name}.parquet", tmp_path / f"{name}-sanity.csv"]

    def make(name: str) -> None:
        made.append(name)
        for path, text in zip(outputs(name), ("table", "rows"), strict=True):
            artifacts.save_text(path, text)

    work = tmp_path / "work/key"
    for name in ("one", "two", "three"):
        once.taken_over(work, outputs(name), f"score {name}", "its scores", lambda name=name: make(name))
        assert [path.read_text() for path in outputs(name)] == ["table", "rows"]
    assert made == ["one"]
    told = [f"score {name}: its scores are taken over" for name in ("two", "three")]
    assert capsys.readouterr().out.splitlines() == told


def test_an_unfinished_making_is_not_taken_over(tmp_path: Path) -> None:
    outputs = [tmp_path / "a.parquet", tmp_path / "b.csv"]

    def half() -> None:
        outputs[0].write_text("table")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once.taken_over(tmp_path / "work/key", outputs, "score a", "its scores", half)
    done: list[int] = []

    def whole() -> None:
        done.append(1)
        for path in outputs:
            path.write_text("whole")

    once.taken_over(tmp_path / "work/key", outputs, "score a", "its scores", whole)
    assert done == [1]


def test_scores_of_other_settings_or_other_maps_are_old(project: Path) -> None:
    """After a failed `score` the tables before it remain, and are not published as those of this plan."""
    compose()
    settings = config.load()
    entry = {"cell": "reference", "aug": "reference", "map_key": "m" * 64}
    index = {"cells": [entry], "variant": VARIANT}
    head = {"map_key": "m" * 64, "reference_map_key": "m" * 64, "kld_eps": settings.measure.kld_eps}
    for path in exchange.files("reference", VARIANT).values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def write(path: Path, attrs: dict[str, Any]) -> None:
        table = pd.DataFrame({"image": [0], "method": ["gradcam"]})
        table.attrs = attrs
        artifacts.save_table(path, table)

    write(layout.map_table("reference"), head)
    write(layout.scores("reference"), dict(score.attributes("m" * 64, settings.score)))
    write(layout.robustness("reference"), dict(score.attributes("m" * 64, settings.robustness)))
    assert exchange.current(entry, index, settings)
    for name, value in (("size", 9), ("images", None), ("parts", ("test",))):
        other = replace(settings, robustness=replace(settings.robustness, **{name: value}))
        assert not exchange.current(entry, index, other), name
    for name, value in (("steps", 4), ("seed", 9), ("images", None), ("methods", ("cam",)), ("least_mask", 0.1)):
        other = replace(settings, score=replace(settings.score, **{name: value}))
        assert not exchange.current(entry, index, other), name
    write(layout.scores("reference"), dict(score.attributes("n" * 64, settings.score)))
    assert not exchange.current(entry, index, settings)
    write(layout.scores("reference"), {})
    assert not exchange.current(entry, index, settings)
    write(layout.scores("reference"), dict(score.attributes("m" * 64, settings.score)))
    layout.sanity("reference").unlink()
    assert not exchange.current(entry, index, settings)


def test_a_tables_attributes_name_all_that_decides_it() -> None:
    found = {json.dumps(score.attributes(key, SETTINGS)) for key in ("a", "b")}
    for name, value in (
        ("methods", ()), ("images", None), ("least_mask", 0.1), ("faithfulness", ("road",)), ("steps", 5),
        ("sanity_images", 0), ("seed", 8),
    ):  # fmt: skip
        assert name in ScoreConfig.__dataclass_fields__
        found.add(json.dumps(score.attributes("a", replace(SETTINGS, **{name: value}))))
    assert len(found) == 2 + len(ScoreConfig.__dataclass_fields__)


def test_the_stages_that_read_the_settings_of_scores_are_rerun_by_them() -> None:
    """The plan, since they are part of the study's key, and the scoring."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    reading = [name for name, stage in stages.items() if "score" in stage.get("params", [])]
    assert reading == ["plan", "score_reference", "score"]
