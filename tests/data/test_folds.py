from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from auglens import artifacts, config
from auglens.cli import main
from auglens.commands.compose import composed
from auglens.data.split import split

ROOT = Path(__file__).parents[2]
LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def dealt(labels, folds, fixed=None, *, seed=0, fraction=0.2, **kwargs):
    """All folds of `labels`, one split each."""
    how = {"validation_fraction": fraction, "seed": seed, "folds": folds, **kwargs}
    return [split(labels, fixed or {}, fold=fold, **how) for fold in range(folds)]


def whole(labels):
    """A given test part of one image per class, so that nothing is drawn: all others are dealt out."""
    test = np.array([np.flatnonzero(labels == label)[0] for label in range(int(labels.max()) + 1)])
    return {"train": np.setdiff1d(np.arange(len(labels)), test), "test": test}


def table(labels, rows_of_folds):
    """int [folds, classes]: images of each class in each fold."""
    return np.array([np.bincount(labels[rows], minlength=int(labels.max()) + 1) for rows in rows_of_folds])


def test_folds_by_hand():
    """7 + 5 images in 3 folds: 3, 2, 2 of the first; the fourth card of the second round goes on with fold 1."""
    labels = np.repeat([0, 1], [8, 6])
    found = dealt(labels, 3, whole(labels))
    assert table(labels, [one.validation for one in found]).tolist() == [[3, 1], [2, 2], [2, 2]]
    assert table(labels, [one.train for one in found]).tolist() == [[4, 4], [5, 3], [5, 3]]


def test_golden_folds():
    """The same on every machine and numpy: Philox's words decide."""
    labels = np.arange(14) % 2
    found = dealt(labels, 3, {"train": np.arange(12), "test": np.array([12, 13])})
    assert [one.validation.tolist() for one in found] == [[0, 6, 7, 11], [3, 4, 9, 10], [1, 2, 5, 8]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(9, 60), min_size=2, max_size=6), st.integers(2, 8), st.integers(0, 2**31), st.randoms()
)
def test_properties_of_a_stratified_k_fold_with_scikit_learn_as_the_oracle(counts, folds, seed, random):
    labels = np.repeat(np.arange(len(counts)), counts)
    order = np.arange(len(labels))
    random.shuffle(order)
    labels = labels[order]
    fixed = whole(labels)
    found = dealt(labels, folds, fixed, seed=seed)
    # Every image of the pool validates once, and trains in all other folds.
    assert np.array_equal(np.sort(np.concatenate([one.validation for one in found])), fixed["train"])
    for one in found:
        assert np.array_equal(np.sort(np.concatenate([one.train, one.validation])), fixed["train"])
        assert np.array_equal(one.test, np.sort(fixed["test"]))
        assert all(rows.dtype == np.int64 and np.all(np.diff(rows) > 0) for rows in (one.train, one.validation))
    ours = table(labels, [one.validation for one in found])
    assert np.ptp(ours, axis=0).max() <= 1
    assert np.ptp(ours.sum(axis=1)) <= 1
    # Images of ascending label, for scikit-learn deals the classes out in the order in which they appear.
    pool = np.sort(labels[fixed["train"]])
    theirs = [rows for _, rows in StratifiedKFold(folds).split(pool, pool)]
    assert ours.tolist() == table(pool, theirs).tolist()


def test_the_test_part_is_the_one_without_folds():
    off = split(LABELS, {}, validation_fraction=0.2, seed=3)
    for one in dealt(LABELS, 4, seed=3):
        assert np.array_equal(one.test, off.test)
        assert len(np.intersect1d(one.validation, one.test)) == 0
        assert len(one.train) + len(one.validation) == 80


def test_the_validation_fraction_plays_no_part_where_the_test_part_is_given():
    fixed = whole(LABELS)
    first, second = dealt(LABELS, 5, fixed, fraction=0.2), dealt(LABELS, 5, fixed, fraction=0.7)
    assert all(np.array_equal(a.validation, b.validation) for a, b in zip(first, second, strict=True))


def test_a_given_validation_part_joins_the_images_that_are_dealt_out():
    rows = np.random.default_rng(1).permutation(100)
    apart = {"train": rows[:50], "validation": rows[50:70], "test": rows[70:]}
    together = {"train": rows[:70], "test": rows[70:]}
    for a, b in zip(dealt(LABELS, 3, apart), dealt(LABELS, 3, together), strict=True):
        assert np.array_equal(a.validation, b.validation)
        assert np.array_equal(a.train, b.train)
    # A test part that must be drawn comes from the training images alone, as it does without folds.
    some = {"train": rows[:80], "validation": rows[80:]}
    off = split(LABELS, some, validation_fraction=0.2, seed=0)
    for one in dealt(LABELS, 3, some):
        assert np.array_equal(one.test, off.test)
        assert np.array_equal(np.union1d(one.train, one.validation), np.setdiff1d(np.arange(100), off.test))


def test_the_seed_deals_anew_and_global_state_is_untouched():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    fixed = whole(LABELS)
    first, again, other = (dealt(LABELS, 5, fixed, seed=seed)[0].validation for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_folds_are_not_drawn_like_the_test_part():
    """Another stream: else the first fold would be the images that come next after those of the test part."""
    one = dealt(LABELS, 4)[0]
    wider = split(LABELS, {}, validation_fraction=0.4, seed=0).test
    assert not set(one.validation) <= set(wider)


@pytest.mark.parametrize(
    ("counts", "folds", "message"),
    [
        (
            [9, 4],
            4,
            "data: class 'dog' expected 4 images or more outside the test part, one for each of data.folds, got 3;"
            " set data.folds to 3 or less, add images of it or leave the class out",
        ),
        (
            [9, 2],
            2,
            "data: class 'dog' expected 2 images or more outside the test part, one for each of data.folds, got 1;"
            " add images of it or leave the class out",
        ),
    ],
)
def test_too_few_images_of_a_class_are_refused(counts, folds, message):
    labels = np.repeat([0, 1], counts)
    with pytest.raises(ValueError, match=r"^data: ") as error:
        dealt(labels, folds, whole(labels), classes=("cat", "dog"))
    assert str(error.value) == message


def test_as_many_images_as_folds_are_enough():
    labels = np.repeat([0, 1], [9, 4])
    found = dealt(labels, 3, whole(labels))
    assert table(labels, [one.validation for one in found])[:, 1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("fold", [-1, 3])
def test_a_fold_that_there_is_not_is_refused(fold):
    with pytest.raises(ValueError, match=rf"^parameter data.fold: expected 0 to 2, got {fold}; correct it$"):
        split(LABELS, {}, validation_fraction=0.2, seed=0, folds=3, fold=fold)


def test_one_class_is_split_where_it_is_allowed():
    labels = np.zeros(20, np.int64)
    one = split(labels, {}, validation_fraction=0.2, seed=0, single_class=True)
    assert [len(rows) for rows in (one.train, one.validation, one.test)] == [13, 3, 4]
    assert np.array_equal(np.sort(np.concatenate([one.train, one.validation, one.test])), np.arange(20))
    with pytest.raises(ValueError, match=r"^data: expected images of at least two classes, got only '0'; "):
        split(labels, {}, validation_fraction=0.2, seed=0)
    message = r"^data: expected images of at least one class, got no image; add some$"
    with pytest.raises(ValueError, match=message):
        split(labels[:0], {}, validation_fraction=0.2, seed=0, single_class=True)
    folds = dealt(labels, 4, single_class=True)
    assert [len(part.validation) for part in folds] == [4, 4, 4, 4]


def test_two_classes_are_split_alike_whether_one_is_allowed_or_not():
    one, two = (
        split(LABELS, {}, validation_fraction=0.2, seed=0, single_class=allowed) for allowed in (True, False)
    )
    assert np.array_equal(one.validation, two.validation)
    assert np.array_equal(one.test, two.test)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes params.yaml into a folder of its own: the default data, smaller, with what is given over them."""
    monkeypatch.chdir(tmp_path)

    def write(*overrides):
        source = f"data.source={ROOT / 'src/auglens/data/sources/shapes.py'}"
        Path("params.yaml").write_text(
            composed([source, "data.train=60", "data.test=20", *overrides], ROOT / "conf")
        )

    return write


def test_prepare_deals_out_and_says_so(project, capsys):
    validates = []
    for fold in range(3):
        project("data.folds=3", f"data.fold={fold}")
        assert main(["prepare"]) == 0
        assert capsys.readouterr().out == (
            f"prepare: shapes, 10 classes, 40 train, 20 validation, 20 test, fold {fold} of 0 to 2\n"
        )
        found = artifacts.load_prepared("data/splits")
        assert (found.manifest["folds"], found.manifest["fold"]) == (3, fold)
        validates.append(found.validation)
    assert np.array_equal(np.sort(np.concatenate(validates)), np.arange(60))


def test_without_folds_prepare_is_as_it_was(project, capsys):
    """Nothing of folds in the manifest: it is hashed into nothing, but it is an output, and those stay equal."""
    project()
    assert main(["prepare"]) == 0
    assert capsys.readouterr().out == "prepare: shapes, 10 classes, 48 train, 12 validation, 20 test\n"
    assert not {"folds", "fold"} & artifacts.load_prepared("data/splits").manifest.keys()


def test_parameters_from_before_there_were_folds_have_none(project):
    project()
    values = yaml.safe_load(Path("params.yaml").read_text())
    del values["data"]["folds"], values["data"]["fold"]
    found = config.from_mapping(values).data
    assert (found.folds, found.fold) == (None, 0)


@pytest.mark.parametrize(
    ("folds", "fold", "told"),
    [
        (1, 0, "data.folds: expected 2 to 20 or null, got 1"),
        (21, 0, "data.folds: expected 2 to 20 or null, got 21"),
        ("null", 1, "data.fold: expected 0, for data.folds is null, got 1"),
        (5, 5, "data.fold: expected 0 to 4, the last of data.folds, got 5"),
        (5, -1, "data.fold: expected 0 to 4, the last of data.folds, got -1"),
    ],
)
def test_a_bad_parameter_is_refused_in_one_line(project, capsys, folds, fold, told):
    project(f"data.folds={folds}", f"data.fold={fold}")
    assert main(["prepare"]) == 2
    said = capsys.readouterr().err
    assert said == f"auglens prepare: parameter {told}; correct it in params.yaml or conf/\n"
