"""One's own augs, map methods and metrics: how they are read, named, keyed, loaded and checked."""

from __future__ import annotations

import functools
import json
import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from auglens import config, metrics, saliency
from auglens.artifacts import hash_values
from auglens.cli import main
from auglens.commands.compose import composed
from auglens.config import ModelConfig
from auglens.data.augmentations import Part, augment, schema
from auglens.models import build
from auglens.own import checks, names
from auglens.own.loading import Own, load
from auglens.own.measures import compare_further
from auglens.own.source import Source, check_path, current, function, read, use
from auglens.plan import Plan, make_plan
from auglens.stages import layout
from auglens.study import StudyCell, order

ROOT = Path(__file__).parents[1]
EXAMPLE = (ROOT / "examples/own.py").read_text()
HEAD = """\
import random
import numpy as np
import torch
from auglens.own import Choice, Number, Odd, Range, augmentation, map_method, metric
from auglens.saliency.cams import Found, gradcam
"""
AUG = '@augmentation(definition="d", words=1)\ndef mine(images, words, params):\n'
METHOD = '@map_method(definition="d")\ndef mine(model, layer, images, targets):\n'
METRIC = '@metric(definition="d", higher_is_closer=False)\ndef mine(reference, other):\n'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty project as the working folder; no names of one's own in use before and after."""
    monkeypatch.chdir(tmp_path)
    use(None)
    yield tmp_path
    use(None)


def write(body: str, head: str = HEAD) -> str:
    """The file own.py of a project; returns its path."""
    Path("own.py").write_text(head + body)
    return "own.py"


def example() -> str:
    Path("examples").mkdir(exist_ok=True)
    Path("examples/own.py").write_text(EXAMPLE)
    return "examples/own.py"


@functools.cache
def text(*overrides: str) -> str:
    return composed(overrides, ROOT / "conf")


def settings(*overrides: str) -> config.Config:
    return config.from_mapping(yaml.safe_load(text(*overrides)))


def planned(*overrides: str) -> Plan:
    found = settings(*overrides)
    return make_plan(found, "d" * 64, read(found.own) if found.own_names else None)


SOLARIZE = ("+aug.solarize.threshold=[0.3,0.9]", "seeds=[1]")


# What a file declares


def test_the_example_declares_one_of_each() -> None:
    source = read(example())
    assert {kind: source.names(kind) for kind in names.KINDS} == {
        "augmentation": ("solarize",),
        "map_method": ("activation",),
        "metric": ("top_shift",),
    }
    solarize = source.declared["solarize"]
    assert solarize.knobs == {"threshold": schema.Range("intensity, uniform from smallest to largest", 0, 1)}
    assert solarize.words == 1
    assert solarize.definition.startswith("Every value above a threshold t")
    assert source.declared["top_shift"].higher_is_closer is False


def test_reading_a_file_runs_nothing_of_it() -> None:
    path = write('open("ran", "w").close()\n' + METRIC + "    return 1 / 0\n")
    assert read(path).names("metric") == ("mine",)
    found = settings("own=own.py", "measure.further=[ssim,mine]")
    assert found.own_names == ("mine",)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(:\n", "own.py:6: not Python (invalid syntax); correct it"),
        (
            '@augmentation(definition="d")\ndef affine(i, w, p): return i\n',
            "own.py:7: augmentation affine: the name is auglens's own; choose a new one (see docs/own.md)",
        ),
        (
            '@map_method(definition="d")\ndef gradcam(m, l, i, t): pass\n',
            "map_method gradcam: the name is auglens's",
        ),
        (METRIC.replace("mine", "ssim") + "    pass\n", "metric ssim: the name is auglens's own"),
        (METRIC.replace("mine", "overlap_7") + "    pass\n", "metric overlap_7: the name is auglens's own"),
        (METRIC.replace("mine", "true_mad") + "    pass\n", "metric true_mad: the name is auglens's own"),
        (
            AUG.replace("mine", "über") + "    pass\n",
            "augmentation über: expected a name of at most 60 letters, digits and _; rename it",
        ),
        (
            '@augmentation(definition=" ")\ndef f(i, w, p): return i\n',
            "own.py:6: augmentation f: definition: expected a sentence, got ' ' (see docs/own.md)",
        ),
        ("@augmentation\ndef f(i, w, p): return i\n", "expected the keywords definition, knobs, words, got none"),
        (
            '@metric(definition="d")\ndef f(a, b): pass\n',
            "expected the keywords definition, higher_is_closer, got def",
        ),
        ('@metric("d")\ndef f(a, b): pass\n', "expected the keywords definition, higher_is_closer, got *"),
        (
            '@augmentation(definition="d", word=1)\ndef f(i, w, p): pass\n',
            "expected the keywords definition, knobs, words, got definition, word",
        ),
        (
            'D = "d"\n@augmentation(definition=D)\ndef f(i, w, p): pass\n',
            "own.py:7: augmentation f, definition: expected a literal, since it is read and not run, got 'D'",
        ),
        (
            '@augmentation(definition="d", words=-1)\ndef f(i, w, p): pass\n',
            "words: expected a whole number from 0 to 4096 per image, got -1",
        ),
        (
            '@augmentation(definition="d", knobs={"p": 3})\ndef f(i, w, p): pass\n',
            'knobs: expected {"name": Number("unit", low, high)} and the like',
        ),
        (
            '@augmentation(definition="d", knobs={"p": Number("unit", 2, 1)})\ndef f(i, w, p): pass\n',
            'knobs: expected Number("unit", low, high) of literals, low ≤ high, got "Number(\'unit\', 2, 1)"',
        ),
        ('@metric(definition="d", higher_is_closer=1)\ndef f(a, b): pass\n', "higher_is_closer: expected True or"),
        ("if True:\n    " + METRIC.replace("\n", "\n    ") + "    pass\n", "expected a plain function at the top"),
        (METRIC + "    pass\n" + METRIC + "    pass\n", "metric mine: expected the name once and one decorator"),
    ],
)
def test_a_bad_declaration_is_named_in_one_line(body: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^own\.py:\d+: ") as caught:
        read(write(body))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_decorators_are_known_by_where_they_come_from() -> None:
    body = """\
        import auglens.own as own
        from auglens.own import metric as measure, Choice as C
        from elsewhere import metric
        @metric
        def not_ours(a, b): pass
        @measure(definition="d", higher_is_closer=True)
        def first(a, b): pass
        @own.augmentation(definition="d", knobs={"how": C(("a", "b")), "n": own.Odd("pixels", 1, high=9)})
        def second(i, w, p): pass
    """
    found = read(write(textwrap.dedent(body), head="")).declared
    assert list(found) == ["first", "second"]
    assert found["second"].knobs == {"how": schema.Choice(("a", "b")), "n": schema.Odd("pixels", 1, 9)}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/own.py",
        "../own.py",
        "a/../own.py",
        "./own.py",
        "own",
        "own.txt",
        ".auglens/fetched/own.py",
        "",
        "a\\b.py",
    ],
)
def test_a_path_that_is_no_python_file_of_the_project_is_refused(path: str) -> None:
    message = (
        rf"^parameter own: expected a Python file in the project, as examples/own\.py, got {re.escape(repr(path))}"
    )
    with pytest.raises(ValueError, match=message):
        check_path(path)
    with pytest.raises(ValueError, match=message):
        settings(f"own='{path}'")


@pytest.mark.parametrize("path", ["mlartifacts/1/own.py", "mlruns/own.py", "reports/own.py", "cams/x/own.py"])
def test_nothing_that_a_stage_or_a_remote_wrote_is_run(path: str) -> None:
    with pytest.raises(ValueError, match=r"in a folder that stages and remotes write; nothing there is run"):
        check_path(path)


def test_a_link_out_of_the_project_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "own.py"
    outside.write_text(EXAMPLE)
    Path("own.py").symlink_to(outside)
    with pytest.raises(
        ValueError, match=r"^parameter own: own\.py leads out of the project; copy the file into it$"
    ):
        read("own.py")


# The code behind a name

PAIR = """\
LIMIT = 3

# a comment
def helper(x):
    return x + LIMIT

@augmentation(definition="d")
def first(images, words, params):
    return helper(images)

@metric(definition="d", higher_is_closer=True)
def second(a, b):
    return helper(a) - b
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return helper(images)", "return helper(images) + 1", {"first"}),
        ("- b", "+ b", {"second"}),
        ("LIMIT = 3", "LIMIT = 4", {"first", "second"}),
        ("return x + LIMIT", "return x", {"first", "second"}),
        ("higher_is_closer=True", "higher_is_closer=False", {"second"}),
        ("# a comment", "# another\n\n\n\n# and one more", set()),
        ("helper(a) - b", "first(a, b, {}) - b", {"second"}),
        ("import random", "import math", {"first", "second"}),
    ],
)
def test_an_edit_changes_the_code_of_what_it_reaches(old: str, new: str, changed: set[str]) -> None:
    before = read(write(PAIR)).declared
    assert (HEAD + PAIR).count(old) == 1
    after = read(write((HEAD + PAIR).replace(old, new), head="")).declared
    assert {name for name in before if before[name].code != after[name].code} == changed


def test_what_one_function_calls_of_the_other_is_part_of_its_code() -> None:
    body = PAIR.replace("helper(a) - b", "first(a, b, {}) - b")
    before = read(write(body)).declared
    after = read(write(body.replace("helper(images)", "images"))).declared
    assert all(before[name].code != after[name].code for name in ("first", "second"))


# Names in the parameters


def test_names_of_ones_own_stand_wherever_built_in_ones_do() -> None:
    example()
    found = settings(
        "aug.names=[affine,affine+solarize,solarize]", *SOLARIZE, "maps.method=activation",
        "measure.further=[js,top_shift]",
    )  # fmt: skip
    assert found.own_names == ("solarize", "activation", "top_shift")
    assert found.maps.variant == "activation-predicted"
    assert found.measure.every[-2:] == ("js", "top_shift")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["aug.names=[solarize]", "+aug.solarize.threshold=[0.5,2]"],
            "parameter aug.solarize.threshold: expected [smallest, largest] from 0 to 1 (intensity, uniform from",
        ),
        (
            ["aug.names=[solarize]"],
            "parameter aug.solarize: expected the parameters of solarize (used by solarize)",
        ),
        (["aug.names=[solarise]", *SOLARIZE], "'solarise' is unknown; did you mean solarize?"),
        (["aug.names=[noise+solarize]", *SOLARIZE], "the control noise cannot be part of a chain"),
        (["maps.method=activatoin"], "did you mean 'activation'?"),
        (["measure.further=[top_shif]"], "did you mean 'top_shift'?"),
        (
            ["measure.further=[solarize]"],
            "parameter measure.further: expected one of ssim, js, emd, centre_shift, top_",
        ),
        (["own=mine.py", "aug.names=[solar]"], "(if it is one's own: parameter own: no file 'mine.py')"),
    ],
)
def test_a_wrong_name_or_value_is_refused(overrides: list[str], message: str) -> None:
    example()
    with pytest.raises(ValueError, match=r"parameter|aug") as caught:
        settings(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_without_ones_own_reads_no_file_and_forgets_the_last() -> None:
    example()
    settings("aug.names=[solarize]", *SOLARIZE)
    assert current().path == "examples/own.py"
    Path("examples/own.py").write_text("not Python at all")
    assert settings().own_names == ()
    assert current() == Source()
    with pytest.raises(ValueError, match="unknown"):
        schema.parse("solarize")


def test_the_names_that_are_taken_are_those_that_there_are() -> None:
    assert tuple(saliency.METHODS) == names.METHODS
    assert metrics.FURTHER == names.FURTHER
    assert set(metrics.HIGHER_IS_CLOSER) <= set(names.COLUMNS)


# Keys


def test_without_ones_own_specs_and_keys_are_what_they_were() -> None:
    plan = planned("seeds=[1]", "aug.names=[equalize]")
    found = settings("seeds=[1]", "aug.names=[equalize]")
    decides = {
        "data": "d" * 64,
        "model": vars(found.model) | {"norm_channels": None, "precode_beta": 0.0},
        "train": vars(found.train),
        "parts": [{"name": "equalize", "params": {"p": 1.0}}],
        "halves": 2,
        "streams": {"augmentation": None, "dropout": None, "init": 0, "order": 0},
        "task": "classification",
    }
    cell, head = plan.cells[1], {"cell": "equalize-1", "aug": "equalize", "seed": 1}
    watched = {name: value for name, value in decides["train"].items() if name != "watch_test"}
    key = hash_values(decides | {"train": watched})
    explains = vars(found.maps) | {"threads": found.train.threads, "device": "cpu"}
    map_key = hash_values([key, explains])
    assert json.dumps(cell.train) == json.dumps(head | {"train_key": key} | decides)
    maps = {"map_key": map_key, "train_key": key, "variant": "gradcam-predicted"}
    assert json.dumps(cell.maps) == json.dumps(head | maps | explains)
    study = vars(found.maps) | {"metrics": vars(found.measure), "score": vars(found.score)}
    study |= {"robustness": vars(found.robustness)}
    assert plan.study_key == hash_values([plan.reference.train["train_key"], study])
    assert not {"own", "own_metrics"} & plan.index().keys()
    assert plan.measure == {"metrics": {}}


ALL = (
    "aug.names=[solarize,affine+solarize,identity]",
    *SOLARIZE,
    "maps.method=activation",
    "measure.further=[top_shift]",
)


@pytest.mark.parametrize(
    ("old", "new", "trains", "maps", "study"),
    [
        ("1 - images, images)", "0.5 - images, images)", {"solarize-1", "affine+solarize-1"}, None, False),
        (
            ".mean(1).sqrt()",
            ".mean(1)",
            set(),
            {"reference", "solarize-1", "affine+solarize-1", "identity-1"},
            True,
        ),
        ("np.hypot(", "2 * np.hypot(", set(), set(), True),
    ],
)
def test_code_is_part_of_exactly_the_keys_that_it_decides(
    old: str, new: str, trains: set[str], maps: set[str] | None, study: bool
) -> None:
    path = Path(example())
    before = planned(*ALL)
    assert EXAMPLE.count(old) == 1
    path.write_text(EXAMPLE.replace(old, new))
    after = planned(*ALL)

    def changed(kind: str, key: str) -> set[str]:
        pairs = zip(before.cells, after.cells, strict=True)
        return {a.name for a, b in pairs if getattr(a, kind)[key] != getattr(b, kind)[key]}

    assert changed("train", "train_key") == trains
    assert changed("maps", "map_key") == (trains if maps is None else maps)
    assert (before.study_key != after.study_key) == study
    assert (before.measure != after.measure) == ("hypot" in old)


def test_specs_name_the_file_where_they_use_it_and_the_index_tells_the_definitions() -> None:
    path = example()
    plan = planned(*ALL)
    codes = {name: found.code for name, found in read(path).declared.items()}
    cells = {cell.name: cell for cell in plan.cells}
    part = {"name": "solarize", "params": {"threshold": [0.3, 0.9]}, "code": codes["solarize"]}
    assert cells["solarize-1"].train["parts"] == [part]
    assert cells["solarize-1"].train["own"] == path
    assert cells["solarize-1"].train["streams"]["augmentation"] == 1
    assert "own" not in cells["identity-1"].train
    assert all(cell.maps["code"] == codes["activation"] and cell.maps["own"] == path for cell in plan.cells)
    assert plan.measure == {"metrics": {"top_shift": codes["top_shift"]}, "own": path}
    told = plan.index()["own"]
    assert told["path"] == path
    assert told["names"]["top_shift"] == {
        "kind": "metric",
        "definition": read(path).declared["top_shift"].definition,
        "code": codes["top_shift"],
        "higher_is_closer": False,
    }
    only_aug = planned("aug.names=[solarize]", *SOLARIZE)
    assert only_aug.study_key == planned("aug.names=[affine]").study_key  # its cells join the same study
    assert "own" not in only_aug.cells[1].maps


def test_where_the_file_lies_is_in_no_key() -> None:
    example()
    Path("other.py").write_text(EXAMPLE)
    keys = [
        [(cell.train["train_key"], cell.maps["map_key"]) for cell in planned(*ALL, f"own={path}").cells]
        for path in ("examples/own.py", "other.py")
    ]
    assert keys[0] == keys[1]


def test_a_plan_wants_the_declarations() -> None:
    example()
    with pytest.raises(ValueError, match=r"^plan: solarize is one's own: expected its declaration; pass read"):
        make_plan(settings("aug.names=[solarize]", *SOLARIZE), "d" * 64)


def test_the_order_of_augs() -> None:
    augs = ["noise", "affine+elastic", "solarize", "random_crop", "reference", "affine"]
    cells = [StudyCell(aug, aug, 1, "k", "k", "c") for aug in augs]
    expected = ["reference", "affine", "random_crop", "solarize", "affine+elastic", "noise"]
    assert [cell.aug for cell in sorted(cells, key=order)] == expected
    assert schema.well_formed("affine+solarize2")
    assert not any(map(schema.well_formed, ("", "../x", "a+", "a b", "a/b", "ü", "a" * 61)))


# Loading


def test_a_loaded_aug_applies_alone_and_in_a_chain() -> None:
    load(example())
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (12, 3, 8, 8), dtype=np.uint8))
    labels, rows = torch.arange(12), torch.tensor([5, 0, 9])
    solarize = Part("solarize", {"threshold": [0.3, 0.9]})
    made = augment([solarize], images, labels, rows, seed=4, epoch=2)
    from auglens import rng

    drawn = rng.words(seed=4, stream="augmentation/solarize", epoch=2, rows=rows.numpy(), width=1)
    for row, word, image in zip(rows, drawn[:, 0], made.images, strict=True):
        threshold = np.float32(0.3 + 0.6 * (int(word) >> 11) / 2**53)
        original = images[row].numpy().astype(np.float32) / np.float32(255)
        expected = np.where(original > threshold, 1 - original, original)
        np.testing.assert_array_equal(image.numpy(), expected)
    assert torch.equal(made.labels, rows)
    alone = augment([solarize], images, labels, rows[2:], seed=4, epoch=2)
    assert torch.equal(alone.images, made.images[2:])
    chained = augment([Part("identity", {}), solarize], images, labels, rows, seed=4, epoch=2)
    assert torch.equal(chained.images, made.images)


def test_a_name_that_is_not_loaded_can_be_named_and_not_applied() -> None:
    use(read(example()))
    images = torch.zeros((2, 3, 8, 8), dtype=torch.uint8)
    part = Part("solarize", {"threshold": [0, 1]})
    with pytest.raises(ValueError, match=r"^augment: solarize is one's own and not loaded"):
        augment([part], images, torch.zeros(2, dtype=torch.int64), torch.tensor([0]), seed=0, epoch=0)
    with pytest.raises(ValueError, match=r"^top_shift is one's own and not loaded"):
        function("top_shift")


def test_other_code_than_the_plans_is_refused_before_it_runs() -> None:
    path = write(AUG + "    return images\n")
    code = read(path).declared["mine"].code
    load(path, {"mine": code})
    write('open("ran", "w").close()\n' + AUG + "    return images\n")
    with pytest.raises(ValueError, match=r"^own\.py: mine: its code changed since the plan; run `dvc repro`$"):
        load(path, {"mine": code})
    with pytest.raises(ValueError, match=r"^own\.py: other: its code changed since the plan"):
        load(path, {"other": code})
    assert not Path("ran").exists()


def test_a_file_that_cannot_be_run_says_why_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^own\.py: cannot be run: SystemExit: 0; correct it$"):
        load(write("raise SystemExit(0)\n"))
    with pytest.raises(
        ValueError, match=r"^own\.py: cannot be run: ZeroDivisionError: division by zero; correct it$"
    ):
        load(write("1 / 0\n" + AUG + "    return images\n"))


@pytest.mark.parametrize("statement", ["import helpers", "from helpers import f", "from . import helpers"])
def test_code_in_other_files_of_the_project_is_refused(
    statement: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("helpers.py").write_text("f = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ValueError, match=r"^own\.py: imports .*, another file of the project, whose code would be in"
    ):
        load(write(statement + "\n" + AUG + "    return images\n"))


# What is checked when the study starts


def loaded(body: str) -> Own:
    return load(write(body))


def refused(body: str, check: Any) -> str:
    with pytest.raises(ValueError, match=r"^own\.py: \w+ mine: .* \(see docs/own\.md\)$") as caught:
        check(loaded(body))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_aug(own: Own) -> None:
    checks.check_augmentation(own, "mine", {}, 8, torch.device("cpu"))


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("    return images.double()\n", "expected float32 [6, 3, 8, 8] on cpu, got float64 [6, 3, 8, 8]"),
        ("    return images[:, :, :4]\n", "expected float32 [6, 3, 8, 8] on cpu, got float32 [6, 3, 4, 8]"),
        ("    return None\n", "got NoneType"),
        ("    return images * 2\n", "expected values in [0, 1], got 0 to 2; clamp them"),
        ("    return images / images\n", "its images hold NaN or an infinity"),
        ("    return torch.rand(images.shape)\n", "draws from a global random generator; use the words"),
        ("    return images * random.random()\n", "draws from a global random generator"),
        ("    return images * float(np.random.rand())\n", "draws from a global random generator"),
        (
            "    return images * float(np.random.default_rng().random())\n",
            "gives other images for equal images and",
        ),
        (
            "    return images * images.mean()\n",
            "an image depends on the others of its batch; treat each by itself",
        ),
        ("    return images.mul_(0.5)\n", "modifies the images that it is handed; work on a copy"),
        ("    words[:] = 0\n    return images\n", "modifies the words that it is handed; work on a copy"),
        ("    return images * torch.ones(1, requires_grad=True)\n", "its images ask for a gradient"),
        ('    raise IndexError("out\\nof range")\n', "raised IndexError: out of range"),
        ('    return images * params["p"]\n', "raised KeyError: 'p'"),
    ],
)
def test_an_aug_that_breaks_the_contract_is_refused(body: str, rule: str) -> None:
    message = refused(AUG + body, check_aug)
    assert message.startswith("own.py: augmentation mine: ")
    assert rule in message


MAP_CASES = [
    ("    return gradcam(model, layer, images, targets).raw\n", "expected Found(raw, logits, targets)"),
    ("    return f._replace(raw=f.raw.double())\n", "raw: expected float32 [3, h, w], got float64 [3, 4, 4]"),
    ("    return f._replace(raw=f.raw[:, :3])\n", "raw: expected at least 4×4 cells, got 3×4"),
    ("    return f._replace(raw=f.raw / 0)\n", "raw: holds NaN or an infinity"),
    ("    return f._replace(raw=f.raw + torch.rand(1))\n", "draws from a global random generator"),
    ("    return f._replace(raw=f.raw + next(TURNS))\n", "gives other maps for equal images"),
    ("    return f._replace(raw=f.raw - f.raw.mean())\n", "a map depends on the others of its batch"),
    ("    return f._replace(logits=f.logits.softmax(1))\n", "logits: expected the model's own"),
    ("    return f._replace(logits=f.logits[:, :2])\n", "logits: expected float32 [3, 10], got float32 [3, 2]"),
    (
        "    return f._replace(targets=f.logits.argmax(1))\n",
        "targets: expected, as int64, the classes given, else",
    ),
    ("    model.train()\n    return f\n", "changes the model; leave it as it was, hooks and .grad too"),
    ("    model.register_forward_hook(lambda *a: None)\n    return f\n", "changes the model; leave it as it was"),
    ("    next(model.parameters()).data.mul_(2)\n    return f\n", "changes the model; leave it as it was"),
    ("    images.zero_()\n    return f\n", "modifies the images that it is handed"),
    ("    raise RuntimeError('no')\n", "raised RuntimeError: no"),
]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return build(ModelConfig("test_resnet", 32, 8, 0.0, 0.0), 10, init_seed=0).train()


@pytest.mark.parametrize(("body", "rule"), MAP_CASES)
def test_a_map_method_that_breaks_the_contract_is_refused(body: str, rule: str) -> None:
    network = build(ModelConfig("test_resnet", 32, 8, 0.0, 0.0), 10, init_seed=0)
    start = "import itertools\nTURNS = itertools.count()\n" + METHOD
    code = start + "    f = gradcam(model, layer, images, targets)\n" + body
    layer = saliency.target_layer(network, "features", image_size=32)
    assert rule in refused(code, lambda own: checks.check_map_method(own, "mine", network, layer, 32))


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("    return 0.0\n", "expected float64 [6], got float"),
        ("    return abs(reference - other).mean((1, 2))\n", "expected float64 [6], got float32 [6]"),
        ("    return (reference - other).astype(float).mean((0, 1))\n", "expected float64 [6], got float64 [8]"),
        ("    return np.random.rand(len(other))\n", "draws from a global random generator"),
        ("    return np.random.default_rng().random(len(other))\n", "gives other values for equal maps"),
        ("    return np.full(len(other), np.nan)\n", "is not finite for two ordinary maps"),
        ("    return 1 / (other.max((1, 2)).astype(float))\n", "is infinite for a constant map; give NaN"),
        (
            "    return D(reference, other) - D(reference, other).mean()\n",
            "a value depends on the other maps of its",
        ),
        ("    return np.log(D(reference, other))\n", "is not finite for a map and itself"),
        (
            "    return -D(reference, other)\n",
            "higher_is_closer=False, but a map is further from itself than from",
        ),
        (
            "    other.sort()\n    return D(reference, other)\n",
            "modifies the maps that it is handed; work on a copy",
        ),
    ],
)
def test_a_metric_that_breaks_the_contract_is_refused(body: str, rule: str) -> None:
    start = "def D(a, b):\n    return abs(a - b.astype(np.float64)).mean((1, 2))\n"
    message = refused(start + METRIC + body, lambda own: checks.check_metric(own, "mine", 8))
    assert message.startswith("own.py: metric mine: ")
    assert rule in message


def test_checking_leaves_the_global_generators_alone(model: torch.nn.Module) -> None:
    own = load(example())
    found = settings(*ALL, "model.image_size=32")
    layer = saliency.target_layer(model, "features", image_size=32)
    before = checks._generators()
    sides = checks.check(own, found, model, layer, 16)
    assert sides == (4, 4)
    assert checks._generators() == before
    assert all(module.training for module in model.modules())
    with pytest.raises(ValueError, match="global random generator"):
        check_aug(loaded(AUG + "    return torch.rand(images.shape)\n"))
    assert checks._generators() == before


# The example's functions, against hand-made cases


def test_the_examples_metric_by_hand() -> None:
    reference, other = np.zeros((4, 4, 8), np.float32), np.zeros((4, 4, 8), np.float32)
    reference[:3, 1, 2] = 1
    other[0, 1, 2] = 1  # the same pixel
    other[1, 3, 6] = 1  # half a side down, half a side right
    other[3, 0, 0] = np.nan
    found = load(example()).functions["top_shift"](reference, other)
    np.testing.assert_array_equal(found, [0, np.sqrt(0.5), np.nan, np.nan])
    every = compare_further(reference[:2], other[:2], reference[:2], other[:2], ["top_shift", "js"])
    assert list(every) == ["top_shift", "js"]
    np.testing.assert_array_equal(every["top_shift"], found[:2])


def test_the_examples_map_method_by_hand(model: torch.nn.Module) -> None:
    own = load(example())
    images = torch.randn((5, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    found = saliency.explain(model, images, method=own.functions["activation"], batch_size=2)
    network = build(ModelConfig("test_resnet", 32, 8, 0.0, 0.0), 10, init_seed=0).eval()
    with torch.no_grad():
        channels = network.forward_features(images).double().numpy()
    np.testing.assert_allclose(found.raw, np.sqrt((channels**2).mean(1)), rtol=1e-4)
    np.testing.assert_array_equal(found.targets, found.logits.argmax(1))


# The stages

TINY = ["data.train=60", "data.test=20", "train.epochs=1", "train.threads=1", "seeds=[1]", "model.image_size=32"]


def compose(*overrides: str) -> None:
    data = ROOT / "src/auglens/data/sources/shapes.py"
    Path("params.yaml").write_text(composed([*TINY, f"data.source={data}", *overrides], ROOT / "conf"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command says, with exit code 2."""
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.strip()


def test_a_study_with_ones_own_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(example())
    compose("aug.names=[solarize,noise]", *SOLARIZE, "maps.method=activation", "measure.further=[js,top_shift]")
    assert main(["prepare"]) == 0

    path.write_text(EXAMPLE.replace("1 - images, images)", "2 - images, images)"))
    expected = "examples/own.py: augmentation solarize: expected values in [0, 1], got 0 to "
    assert said(capsys, "plan").startswith(f"auglens plan: {expected}")
    assert not layout.CELLS.exists()

    path.write_text(EXAMPLE)
    for command in (["plan"], ["augs"], ["train", "reference"], ["train", "solarize-1"]):
        assert main(command) == 0, capsys.readouterr().err
    path.write_text(EXAMPLE.replace("1 - images, images)", "0.9 - images, images)"))
    changed = "examples/own.py: solarize: its code changed since the plan; run `dvc repro`"
    assert said(capsys, "train", "solarize-1") == f"auglens train: {changed}"
    path.write_text(EXAMPLE.replace("np.hypot(", "2 * np.hypot("))
    for cell in ("reference", "solarize-1"):  # the method's code is the plan's, whatever else was edited
        assert main(["explain", cell]) == 0
    assert main(["measure", "reference"]) == 0  # the reference alone needs no metric of one's own
    changed = changed.replace("solarize:", "top_shift:")
    assert said(capsys, "measure", "solarize-1") == f"auglens measure: {changed}"
    path.write_text(EXAMPLE)
    assert main(["measure", "solarize-1"]) == 0

    from auglens import artifacts

    table = artifacts.load_table(layout.map_table("solarize-1"))
    assert table.attrs["own"] == artifacts.load_json(layout.INDEX)["own_metrics"]
    maps = {
        name: artifacts.load_maps(layout.maps(name, "activation-predicted"))
        for name in ("reference", "solarize-1")
    }
    finished = [saliency.finish(maps[name].raw, 32) for name in ("reference", "solarize-1")]
    np.testing.assert_array_equal(table["top_shift"], load("examples/own.py").functions["top_shift"](*finished))
    assert table["top_shift"].between(0, 2**0.5).all()

    path.write_text("raise SystemExit\n")  # a cell that uses none of it runs none of it
    assert main(["train", "noise-1"]) == 0


def test_the_guide_quotes_the_example() -> None:
    guide = (ROOT / "docs/own.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(blocks) == 3
    lines = {line.strip() for line in EXAMPLE.splitlines()}
    quoted = [line.strip() for block in blocks for line in block.splitlines() if line.strip()]
    functions = ("def ", "from auglens.own")  # shortened: without types, without the other names
    assert [line for line in quoted if line not in lines and not line.startswith(functions)] == []
    for found in read(example()).declared.values():
        assert found.definition in guide
        assert f"`{found.name}" in guide or f"def {found.name}(" in guide


def test_the_example_is_the_default_module() -> None:
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["own"] == "examples/own.py"
    assert replace(settings(), own="examples/own.py") == settings()
