"""The stages on a segmentation: the shapes' masks learnt by a small U-Net, with ADA among the augs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from skimage.metrics import hausdorff_distance

from auglens import artifacts, config
from auglens.config import ModelConfig
from auglens.data.views import View, to_unit
from auglens.metrics.segmentation import border
from auglens.models import build, load_weights
from auglens.saliency.foreground import Foreground
from auglens.stages import (
    analyse,
    augs,
    collect,
    compare,
    erasing,
    explain,
    fitting,
    layout,
    measure,
    plan,
    prepare,
    report,
    score,
    scoring,
    train,
)
from auglens.stages.selecting import chosen

ROOT = Path(__file__).parents[1]
CELLS = ("reference", "ada_gradcam-1", "ada_gradient-1", "cutmix-1", "identity-1")


def parameters() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["data"] |= {
        "task": "segmentation",
        "train": 60,
        "test": 30,
        "source": str(ROOT / values["data"]["source"]),
    }
    values["model"] |= {"name": "unet", "image_size": 32, "output_stride": None, "dropout": 0.1, "width": 4}
    values["train"] |= {"epochs": 3, "batch_size": 8, "select": "validation_dice", "threads": 1}
    values["aug"] |= {"names": [cell.rpartition("-")[0] for cell in CELLS[1:]]}
    values["aug"]["ada"] |= {"steps": [1, 2], "window": 8}
    values["classic"] = {"chain": "affine+channel_shift", "from_epoch": 1}
    values["classic"] |= {name: values["aug"][name] for name in ("affine", "channel_shift")}
    values["seeds"] = [1]
    values["score"] |= {"images": 6, "sanity_images": 3, "methods": ["gradient"]}
    values["robustness"] = {"size": 12, "images": 5, "parts": ["validation", "test"]}
    values["analysis"] |= {"draws": 100, "permutations": 99}
    values["measure"] |= {"further": ["ssim"]}
    return values


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("segmentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        (folder / "params.yaml").write_text(yaml.safe_dump(parameters()))
        prepare.run()
        plan.run()
        augs.run()
        for cell in CELLS:
            train.run(cell)
            explain.run(cell)
            measure.run(cell)
            score.run(cell)
        collect.run()
        compare.run()
        analyse.run()
        report.run()
        yield folder


def network(cell: str) -> tuple[torch.nn.Module, View]:
    tensors, told = artifacts.load_checkpoint(layout.checkpoint(cell))
    model = build(ModelConfig(**told["model"]), 2, init_seed=0)
    load_weights(model, tensors)
    return model.eval(), View(32, told["mean"], told["std"])


@torch.inference_mode()
def said(cell: str, images: np.ndarray) -> np.ndarray:
    model, view = network(cell)
    found: np.ndarray = (model(view(to_unit(torch.from_numpy(images))))[:, 0] > 0).numpy()
    return found


@pytest.mark.parametrize("cell", CELLS)
def test_the_scores_of_every_test_image_are_those_of_the_masks(project: Path, cell: str) -> None:
    prepared = artifacts.load_prepared(layout.SPLITS)
    predicted = said(cell, np.array(prepared.images[prepared.test]))
    masks = np.array(prepared.masks)[prepared.test] > 0
    table = artifacts.load_table(layout.map_table(cell))
    for row, p, m in zip(table.itertuples(), predicted, masks, strict=True):
        total = p.sum() + m.sum()
        assert row.dice == pytest.approx(2 * (p & m).sum() / total if total else np.nan, nan_ok=True)
        distance = hausdorff_distance(border(p), border(m)) if p.any() and m.any() else np.nan
        assert row.hausdorff == pytest.approx(distance, nan_ok=True)
        assert bool(row.correct) == (row.dice >= 0.5)
    assert table["label"].eq(1).all()


def test_erased_copies_are_scored_as_if_they_were_made(project: Path) -> None:
    prepared = artifacts.load_prepared(layout.SPLITS)
    table = artifacts.load_table(layout.robustness("ada_gradcam-1"))
    assert set(table["part"]) == {"validation", "test"}
    assert len(table) == 2 * 5 * (1 + 9)
    for part, group in table.groupby("part"):
        rows = getattr(prepared, str(part))
        for row in group.iloc[::7].itertuples():
            image = np.array(prepared.images[rows[row.image]])[None]
            if row.row >= 0:
                image[:, :, 12 * row.row : 12 * row.row + 12, 12 * row.column : 12 * row.column + 12] = 0
            p, m = said("ada_gradcam-1", image)[0], np.array(prepared.masks)[rows[row.image]] > 0
            total = p.sum() + m.sum()
            assert row.dice == pytest.approx(2 * (p & m).sum() / total if total else np.nan, nan_ok=True)


def test_a_step_erases_one_window_but_for_the_mask(project: Path) -> None:
    prepared = artifacts.load_prepared(layout.SPLITS)
    steps = artifacts.load_arrays(
        layout.steps("ada_gradcam-1"), ("epochs", "shape", "rows_1", "where_1", "made_rows", "made")
    )
    assert steps["epochs"].tolist() == [1, 2]
    bits = np.unpackbits(steps["where_1"], axis=1, count=32 * 32).reshape(-1, 32, 32).astype(bool)
    originals = np.array(prepared.images[prepared.train])
    masks = np.array(prepared.masks)[prepared.train] > 0
    where = dict(zip(steps["rows_1"].tolist(), bits, strict=True))
    for row, made in zip(steps["made_rows"].tolist(), steps["made"], strict=True):
        assert not (where[row] & masks[row]).any()
        assert (made[:, where[row]] == 0).all()
        assert (made[:, ~where[row]] == originals[row][:, ~where[row]]).all()
        full = where[row] | masks[row]  # the window, and the object
        y, x = np.nonzero(where[row])
        if len(y):
            assert np.ptp(y) < 8
            assert np.ptp(x) < 8
            assert full.sum() >= 64


def test_what_differs_later_shares_its_first_epochs(project: Path) -> None:
    first, second = (
        artifacts.load_json(layout.training_report(f"ada_{name}-1")) for name in ("gradcam", "gradient")
    )
    assert first["epochs"][0] == second["epochs"][0]
    assert first["epochs"][1] != second["epochs"][1]
    assert first["made"] == [48, 48]
    assert first["task"] == "segmentation"


def test_the_best_epoch_is_that_of_the_validation_dice(project: Path) -> None:
    prepared = artifacts.load_prepared(layout.SPLITS)
    masks = np.array(prepared.masks)[prepared.validation] > 0
    for cell in CELLS:
        told = artifacts.load_json(layout.training_report(cell))
        dices = [row["validation_dice"] for row in told["epochs"]]
        assert told["best_epoch"] == 1 + int(np.argmax(dices))
        predicted = said(cell, np.array(prepared.images[prepared.validation]))
        both, total = (predicted & masks).sum((1, 2)), predicted.sum((1, 2)) + masks.sum((1, 2))
        assert max(dices) == pytest.approx(np.nanmean(2 * both / total))


def test_the_comparison_speaks_of_segmentation(project: Path) -> None:
    folder = layout.COMPARISON
    summary = pd.read_csv(folder / "performance_summary.csv")
    assert list(summary["score"].unique()) == [
        "dice",
        "hausdorff",
        "sensitivity",
        "specificity",
        "precision",
        "found",
    ]
    metrics = artifacts.load_json(layout.METRICS)
    assert metrics["dice"].keys() == {"reference", *(cell.rpartition("-")[0] for cell in CELLS[1:])}
    windows = pd.read_csv(folder / "windows.csv")
    pair = windows[(windows["aug_a"] == "ada_gradient") & (windows["aug_b"] == "ada_gradcam")]
    assert pair["epoch"].tolist() == [1, 2]
    assert pair["iou"].between(0, 1).all()
    alt = artifacts.load_json(folder / "figures/alt.json")
    names = {"convergence.svg", "windows.svg", "robustness.svg", "erasing.svg", "made/ada_gradcam.png"}
    assert names <= alt.keys()
    page = layout.REPORT.read_text()
    assert "Looking where the model looks" in page
    assert "What erased pixels cost" in page


def test_equal_seeds_give_equal_bytes(project: Path, tmp_path: Path) -> None:
    before = {
        path: path.read_bytes() for path in (layout.checkpoint("ada_gradcam-1"), layout.steps("ada_gradcam-1"))
    }
    shutil.rmtree(layout.root() / ".auglens")
    train.run("ada_gradcam-1")
    for path, data in before.items():
        assert path.read_bytes() == data


def test_layers_are_randomised_with_one_region_explained(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each randomised network would say another foreground; the whole image, where it says none."""
    prepared = artifacts.load_prepared(layout.SPLITS)
    spec = artifacts.load_json(layout.maps_spec("ada_gradcam-1"))
    settings = replace(config.load().score, faithfulness=(), methods=())
    given: list[torch.Tensor] = []

    def look(model: Foreground, fresh: Foreground, images: torch.Tensor, **more: Any) -> list[Any]:
        assert model.regions is not None
        assert more["batch_size"] == len(images)
        given.append(model.regions)
        return []

    monkeypatch.setattr(scoring, "sanity_maps", look)
    monkeypatch.setattr(scoring.metrics, "sanity_check", list)
    scoring.run("ada_gradcam-1", spec, settings)
    scoring.run("ada_gradcam-1", spec | {"target": "true"}, settings)
    predicted, true = given
    rows = chosen(len(prepared.test), None, images=settings.images, least_mask=0)
    rows = rows[chosen(len(rows), None, images=settings.sanity_images, least_mask=0)]
    assert torch.equal(predicted, torch.from_numpy(said("ada_gradcam-1", prepared.images[prepared.test[rows]])))
    assert torch.equal(true, torch.from_numpy(np.array(prepared.masks)[prepared.test[rows]] > 0))


def test_nothing_there_and_nothing_said_is_right(project: Path) -> None:
    maps = artifacts.load_maps(layout.maps("identity-1", "gradcam-predicted"))
    assert maps.predicted is not None
    assert maps.truth is not None
    predicted, truth = maps.predicted.copy(), maps.truth.copy()
    predicted[:2], truth[1:3] = 0, 0
    truth[0], predicted[2] = 255, 255
    told = measure.describe(replace(maps, predicted=predicted, truth=truth), np.ones(len(truth), np.int64))
    assert np.isnan(told["dice"][1])
    assert told["correct"][:3].tolist() == [False, True, False]


def test_equal_models_are_one_replicate_and_a_count_nobody_made_is_missing(project: Path) -> None:
    curves = pd.read_csv(layout.CURVES)
    again = curves[curves["aug"] == "ada_gradcam"].assign(seed=2, cell="ada_gradcam-2")
    shutil.copy(layout.steps("ada_gradcam-1"), layout.STEPS / "ada_gradcam-2.npz")
    cells = {(cell.rpartition("-")[0] or cell, int(cell.rpartition("-")[2])) for cell in CELLS[1:]}
    checkpoints = {(aug, seed): f"{aug}" for aug, seed in cells} | {("ada_gradcam", 2): "ada_gradcam"}
    prepared = artifacts.load_prepared(layout.SPLITS)
    tables, _ = erasing.of_steps(pd.concat([curves, again]), checkpoints, prepared)
    iou = tables["windows"].set_index(["step", "aug_a", "aug_b"])["iou"]
    assert np.isnan(iou[1, "ada_gradcam", "ada_gradcam"])  # not 1: there is just one model
    two, _ = erasing.of_steps(pd.concat([curves, again]), checkpoints | {("ada_gradcam", 2): "another"}, prepared)
    assert two["windows"].set_index(["step", "aug_a", "aug_b"])["iou"][1, "ada_gradcam", "ada_gradcam"] == 1
    assert tables["steps"]["wrong"].isna().all()
    assert tables["steps"]["made"].eq(48).all()
    (layout.STEPS / "ada_gradcam-2.npz").unlink()


def test_what_no_part_draws_from_does_not_keep_first_epochs_apart(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = artifacts.load_json(layout.train_spec("ada_gradient-1"))
    spec["streams"] |= {"augmentation": 77}
    spec["train_key"] = "0" * 64
    work = project / "work"
    work.mkdir()
    fitting.run("ada_gradient-1", spec, work, work / "finished.safetensors")
    assert "its first 1 epochs are those of another cell: taken over" in capsys.readouterr().out
    _, told = artifacts.load_checkpoint(work / "finished.safetensors")
    assert "train_key" not in told
    # equal weights are one file, whoever trained them
    assert (work / "finished.safetensors").read_bytes() == layout.checkpoint("ada_gradient-1").read_bytes()


def test_a_cell_that_the_store_has_is_not_absent(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = layout.scores("cutmix-1")
    before, kept = lost.read_bytes(), layout.RUNS.read_bytes()
    lost.unlink()
    collect.run()
    assert "absent" not in capsys.readouterr().out
    assert layout.RUNS.read_bytes() == kept
    lost.write_bytes(before)
