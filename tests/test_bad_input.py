"""Bad input: one line that names the thing, what was expected and the fix; exit code 2; nothing half-written."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auglens.cli import main
from auglens.commands.compose import composed

ROOT = Path(__file__).parents[1]
TINY = ["data.train=60", "data.test=20", "train.epochs=1", "train.threads=1", "seeds=[1]", "aug.names=[noise]"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with the default parameters, as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUGLENS_TRACEBACK", raising=False)
    compose()
    return tmp_path


def compose(*overrides: str) -> None:
    source = ROOT / "src/auglens/data/sources/shapes.py"
    tiny = [one for one in TINY if "data=" not in " ".join(overrides) or not one.startswith("data.")]
    Path("params.yaml").write_text(composed([*tiny, f"data.source={source}", *overrides], ROOT / "conf"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the command says, with exit code 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith(f"auglens {arguments[0]}: ")
    return said.err.removeprefix(f"auglens {arguments[0]}: ").strip()


def prepared(*overrides: str) -> None:
    compose(*overrides)
    assert main(["prepare"]) == 0


def cifar(folder: Path, **changed: object) -> Path:
    """A tiny data set in CIFAR-10's layout; `changed` replaces keys of its first batch."""
    root = folder / "cifar-10-batches-py"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        batch: dict[str, object] = {
            "data": rng.integers(0, 256, (40, 3072), dtype=np.uint8),
            "labels": [k % 10 for k in range(40)],
        }
        (root / name).write_bytes(pickle.dumps(batch | (changed if n == 0 else {}), protocol=2))
    meta = {"label_names": [f"class {k}" for k in range(10)]}
    (root / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return root


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("open('owned', 'w').close()",))


def test_a_missing_archive(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compose("data=cifar10", "data.source=nowhere.tar.gz", "data.train=0", "data.test=0")
    message = refused(capsys, "prepare")
    assert "nowhere.tar.gz" in message
    assert "dvc update data.dvc" in message
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_a_truncated_archive(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open("cifar.tar.gz", "w:gz") as tar:
        tar.add(cifar(project / "made"), "cifar-10-batches-py")
    whole = Path("cifar.tar.gz").read_bytes()
    Path("cifar.tar.gz").write_bytes(whole[: len(whole) // 2])
    compose("data=cifar10", "data.source=cifar.tar.gz", "data.train=0", "data.test=0")
    assert "cifar.tar.gz" in refused(capsys, "prepare")
    assert not Path("data").exists()


def test_the_official_size_with_another_md5(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("cifar-10-python.tar.gz").open("wb") as file:
        file.truncate(170_498_071)
    compose("data=cifar10", "data.source=cifar-10-python.tar.gz", "data.train=0", "data.test=0")
    message = refused(capsys, "prepare")
    assert "c58f30108f718f92721af3b95e74349a" in message


def test_a_pickle_that_names_something_else(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = cifar(project / "made", labels=Evil())
    compose("data=cifar10", f"data.source={source}", "data.train=0", "data.test=0")
    message = refused(capsys, "prepare")
    assert "data_batch_1" in message
    assert "eval" in message
    assert not Path("owned").exists()


def test_an_image_that_does_not_decode(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("cat", "dog"):
        (project / "pets" / label).mkdir(parents=True)
        for k in range(6):
            buffer = io.BytesIO()
            Image.fromarray(np.full((20, 20, 3), 40 * k, np.uint8)).save(buffer, "png")
            (project / "pets" / label / f"{k}.png").write_bytes(buffer.getvalue())
    (project / "pets/dog/3.png").write_bytes(b"\x89PNG not really")
    compose("data=folder", "data.source=pets", "data.train=0", "data.test=0", "data.size=16")
    assert "3.png" in refused(capsys, "prepare")


def test_one_class_only_and_too_few_images(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(6):
        (project / "pets/cat").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 40 * k, np.uint8)).save(project / f"pets/cat/{k}.png")
    compose("data=folder", "data.source=pets", "data.train=0", "data.test=0", "data.size=16")
    assert "class" in refused(capsys, "prepare")
    (project / "pets/dog").mkdir()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(project / "pets/dog/0.png")
    assert "dog" in refused(capsys, "prepare")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("aug.names=[afine]", ["afine", "affine"]),
        ("+train.epoch=3", ["train.epoch", "train.epochs"]),
        ("measure.overlap=[20,100]", ["measure.overlap", "(0, 100)"]),
    ],
)
def test_a_typo_or_a_value_out_of_range(
    project: Path, capsys: pytest.CaptureFixture[str], override: str, words: list[str]
) -> None:
    compose(override)
    message = refused(capsys, "prepare")
    assert all(word in message for word in words), message


def test_an_unknown_option_of_a_group(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = (ROOT / "params.yaml").read_bytes()
    assert "aug=afine" in refused(capsys, "compose", "aug=afine")
    assert (ROOT / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["model.name=resnet18", "model.image_size=32", "model.output_stride=null"],
            ["1×1", "model.image_size", "model.output_stride"],
        ),
        (["maps.layer=layer9"], ["layer9", "layer4"]),
        (["model.name=resnet81"], ["resnet81", "resnet18"]),
    ],
)
def test_a_layer_or_a_network_that_cannot_serve_is_refused_before_any_training(
    project: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], words: list[str]
) -> None:
    prepared(*overrides)
    message = refused(capsys, "plan")
    assert all(word in message for word in words), message
    assert not Path("data/cells").exists()


def test_a_loss_that_is_not_finite(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared()
    manifest = json.loads(Path("data/splits/manifest.json").read_text())
    Path("data/splits/manifest.json").write_text(json.dumps(manifest | {"std": [0.0, 0.0, 0.0]}))
    assert main(["plan"]) == 0
    assert "the loss became" in refused(capsys, "train", "reference")
    assert not Path("models").exists()


def test_a_checkpoint_of_another_architecture(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from auglens import artifacts
    from auglens.stages import layout

    prepared()
    assert main(["plan"]) == 0
    assert main(["train", "reference"]) == 0
    tensors, metadata = artifacts.load_checkpoint(layout.checkpoint("reference"))
    metadata["model"]["name"] = "test_efficientnet"
    artifacts.save_checkpoint(layout.checkpoint("reference"), tensors, metadata)
    assert "architecture" in refused(capsys, "explain", "reference")
    assert not Path("cams").exists()


def test_a_stage_before_its_time(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "plan") == "data/splits/manifest.json: no such file; run `dvc repro` to make it"
    message = "data/cells/afine-1.train.json: no such file; run `dvc repro` to make it"
    assert refused(capsys, "train", "afine-1") == message


def test_a_folder_that_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "prepare") == "params.yaml: no such file; run auglens in the project's top folder"


@pytest.mark.parametrize("name", ["../outside", "/etc", "A b", ""])
def test_a_name_that_is_no_folder_of_ours(project: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert "expected a name of small letters, digits and -" in refused(capsys, "publish", name)


def test_no_traceback_reaches_the_user(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "auglens.cli", "prepare"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("method", "model", "expected"),
    [
        ("guided_gradcam", "efficientnet_b0", "defined for ReLU, and this network uses silu; use gradient"),
        ("cam", "test_vit", "nothing but average pooling and one linear layer behind it; use gradcam"),
    ],
)
def test_a_method_that_the_network_cannot_serve(
    project: Path, capsys: pytest.CaptureFixture[str], method: str, model: str, expected: str
) -> None:
    prepared(f"maps.method={method}", f"model.name={model}", "model.image_size=160", "model.output_stride=null")
    assert expected in refused(capsys, "plan")
    assert not Path("data/cells").exists()


CORRECT = "correct it in params.yaml or conf/"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["aug.names=[ada]", "aug.ada.steps=[1,2,...]"],
            "parameter aug.ada.steps: expected steps before train.epochs (1), or nothing is made, got 1; "
            + CORRECT,
        ),
        (
            ["data.task=segmentation"],
            "parameter model.name: expected unet, since data.task is segmentation, got 'test_resnet'; " + CORRECT,
        ),
        (
            ["model=unet"],
            "parameter model.name: expected a classifier, or data.task=segmentation, got 'unet'; " + CORRECT,
        ),
        (
            ["data=cifar10", "data.task=segmentation", "model=unet"],
            "parameter data.task: expected classification, since cifar10 has no masks, got 'segmentation'; "
            + CORRECT,
        ),
        (
            ["train.select=validation_dice"],
            "parameter train.select: expected validation_accuracy or validation_loss for classification, got"
            " 'validation_dice'; " + CORRECT,
        ),
        (
            ["data.task=segmentation", "model=unet", "maps.method=scorecam"],
            "parameter maps.method: expected a method that is defined for a segmentation, got 'scorecam'; "
            + CORRECT,
        ),
        (
            ["data.task=segmentation", "model=unet", "train.epochs=9", "aug.names=[ada]", "aug.ada.images=wrong"],
            "parameter aug.ada.images: expected all, since no mask is simply wrong, got 'wrong'; " + CORRECT,
        ),
        (
            ["aug.attentive_cutmix.cells=50"],
            "parameter aug.attentive_cutmix.cells: expected 1 to 49, the cells of aug.attentive_cutmix.grid, got"
            f" 50; {CORRECT}",
        ),
        (
            ["classic=spinal_cord", "classic.chain=cutmix"],
            "parameter classic.chain: expected augmentations that look at one image alone: no control, none that"
            " is saliency-driven or one's own, got 'cutmix'; " + CORRECT,
        ),
        (
            ["robustness.parts=[train]"],
            "parameter robustness.parts: expected one of validation, test, got 'train'; " + CORRECT,
        ),
    ],
)
def test_a_setting_of_looking_where_the_model_looks(
    project: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], expected: str
) -> None:
    compose(*overrides)
    assert refused(capsys, "prepare") == expected
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("overrides", "key", "got"),
    [
        (["aug.names=[ada]", "aug.ada.window=33"], "aug.ada.window", 33),
        (["aug.names=[ada_gradient]", "aug.ada.window=64"], "aug.ada.window", 64),
        (["aug.names=[attentive_cutmix]", "aug.attentive_cutmix.grid=40"], "aug.attentive_cutmix.grid", 40),
        (["robustness.size=48"], "robustness.size", 48),
    ],
)
def test_a_square_that_is_larger_than_the_images(
    project: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], key: str, got: int
) -> None:
    prepared("train.epochs=9", *overrides)
    expected = f"parameter {key}: expected 1 to 32 pixels, the side of the images, got {got}; lower it"
    assert refused(capsys, "plan") == expected
    assert not Path("data/cells").exists()


def test_a_segmentation_without_masks(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        for n in range(4):
            path = Path(f"pictures/{name}/{n}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    compose("data=folder", "data.source=pictures", "data.size=16", "data.task=segmentation", "model=unet")
    assert refused(capsys, "prepare") == (
        "data.task: segmentation expects a mask of every image, and pictures has none; add masks/ or set"
        " data.task=classification"
    )


def test_a_unet_for_images_that_it_cannot_halve(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared("data.task=segmentation", "model=unet", "model.image_size=100", "train.select=validation_dice")
    assert refused(capsys, "plan") == (
        "model.image_size: expected a multiple of 8 pixels for unet, got 100; use 96"
    )
