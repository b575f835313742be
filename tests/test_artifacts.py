"""Everything on disk: whole or not at all, the same bytes for the same values, and refused when damaged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from auglens import artifacts


def figure() -> Figure:
    found = Figure(figsize=(2, 1))
    found.subplots().plot([0, 1], [1, 0])
    return found


MAPS = artifacts.Maps(
    np.arange(8, dtype=np.float32).reshape(2, 2, 2),
    np.ones((2, 3), np.float32),
    np.zeros(2, np.int64),
    16,
    "key",
)

WRITERS: dict[str, Callable[[Path], None]] = {
    "a.json": lambda path: artifacts.save_json(path, {"b": 1, "a": [np.float64(2.5), math.nan]}),
    "a.parquet": lambda path: artifacts.save_table(path, pd.DataFrame({"x": [1.0, math.nan], "y": ["a", "b"]})),
    "a.csv": lambda path: artifacts.save_table(path, pd.DataFrame({"x": [1 / 3]})),
    "a.npz": lambda path: artifacts.save_maps(path, MAPS),
    "a.safetensors": lambda path: artifacts.save_checkpoint(path, {"w": torch.ones(2)}, {"b": 1, "a": 2, "c": 3}),
    "a.svg": lambda path: artifacts.save_figure(path, figure()),
    "a.png": lambda path: artifacts.save_figure(path, figure()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_equal_values_give_equal_bytes_and_leave_nothing_beside(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / "one" / name)
    WRITERS[name](tmp_path / "two" / name)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == [name]


def test_a_failed_write_keeps_the_former_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    artifacts.save_json(path, {"kept": True})

    def interrupted() -> None:
        with artifacts.atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert artifacts.load_json(path) == {"kept": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_keeps_the_former_one(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with artifacts.atomic_folder(tmp_path / "out") as folder:
            (folder / text).write_text(text)

    def interrupted() -> None:
        with artifacts.atomic_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "second"]


def test_json_holds_null_for_what_json_has_not(tmp_path: Path) -> None:
    WRITERS["a.json"](tmp_path / "a.json")
    assert artifacts.load_json(tmp_path / "a.json") == {"b": 1, "a": [2.5, None]}


def test_maps_and_checkpoints_come_back_as_they_were(tmp_path: Path) -> None:
    artifacts.save_maps(tmp_path / "a.npz", MAPS)
    found = artifacts.load_maps(tmp_path / "a.npz")
    assert np.array_equal(found.raw, MAPS.raw)
    assert found.raw.dtype == np.float32
    assert (found.size, found.map_key) == (16, "key")
    artifacts.save_checkpoint(tmp_path / "a.safetensors", {"w": torch.arange(3.0)}, {"k": 1})
    tensors, metadata = artifacts.load_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(tensors["w"], torch.arange(3.0))
    assert metadata == {"k": 1}


def test_a_tables_attributes_are_kept(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1]})
    table.attrs = {"map_key": "abc", "kld_eps": 2.5e-16}
    artifacts.save_table(tmp_path / "a.parquet", table)
    assert artifacts.load_table(tmp_path / "a.parquet").attrs == {"map_key": "abc", "kld_eps": 2.5e-16}


READERS: dict[str, Callable[[Path], object]] = {
    "a.json": artifacts.load_json,
    "a.parquet": artifacts.load_table,
    "a.npz": artifacts.load_maps,
    "a.safetensors": artifacts.load_checkpoint,
}


@pytest.mark.parametrize("name", READERS)
def test_missing_and_damaged_files_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ValueError, match=r"no such (file|checkpoint); run `dvc repro`"):
        READERS[name](path)
    WRITERS[name](path)
    whole = path.read_bytes()
    for content in (b"", b"\x80\x02garbage" * 9, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"; delete it and run `dvc repro`$") as caught:
            READERS[name](path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_an_npz_of_pickles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{name: np.array([{}], dtype=object) for name in artifacts.MAP_ARRAYS})
    with pytest.raises(ValueError, match="not an NPZ file of arrays"):
        artifacts.load_maps(path)


def test_what_lacks_a_key_or_a_column_is_named(tmp_path: Path) -> None:
    WRITERS["a.json"](tmp_path / "a.json")
    WRITERS["a.parquet"](tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.json: lacks c, d; delete it"):
        artifacts.load_json(tmp_path / "a.json", ("a", "c", "d"))
    with pytest.raises(ValueError, match=r"a\.parquet: lacks the columns z; delete it"):
        artifacts.load_table(tmp_path / "a.parquet", ("x", "z"))


def test_keys_are_hashes_of_canonical_json() -> None:
    assert artifacts.hash_values({"a": 1, "b": [1.5, None]}) == artifacts.hash_values({"b": [1.5, None], "a": 1})
    assert artifacts.hash_values({"a": 1}) != artifacts.hash_values({"a": 1.5})
    with pytest.raises(ValueError, match="Out of range float"):
        artifacts.hash_values(math.nan)


def tables(folder: Path) -> list[tuple[Path, dict[str, object]]]:
    """A reference and two cells as `measure` leaves them, with an undefined value, and what `collect` adds."""
    generator = np.random.default_rng(0)
    found: list[tuple[Path, dict[str, object]]] = []
    for n, name in enumerate(("reference", "affine", "equalize")):
        table = pd.DataFrame({"image": np.arange(50, dtype=np.int32), "correct": generator.random(50) < 0.5})
        if n:
            table["reference_predicted"] = np.arange(50, dtype=np.int16) % 7
            table["reference_correct"] = generator.random(50) < 0.5
            table["mad"] = generator.random(50)
            table.loc[n, "mad"] = np.nan
        table.attrs = {"map_key": name, "kld_eps": 1e-9}
        artifacts.save_table(folder / f"{name}.parquet", table)
        found.append((folder / f"{name}.parquet", {"aug": name, "seed": n}))
    return found


@pytest.mark.parametrize("count", [1, 3])
def test_tables_below_one_another_are_the_bytes_of_their_concat(tmp_path: Path, count: int) -> None:
    parts = tables(tmp_path)[:count]
    artifacts.save_tables(tmp_path / "together.parquet", parts, ("image",), first=("aug", "seed"))
    whole = pd.concat([artifacts.load_table(path).assign(**values) for path, values in parts], ignore_index=True)
    names = ["aug", "seed", *(name for name in whole if name not in ("aug", "seed"))]
    artifacts.save_table(tmp_path / "concat.parquet", whole[names])
    assert (tmp_path / "together.parquet").read_bytes() == (tmp_path / "concat.parquet").read_bytes()
    with pytest.raises(ValueError, match=r"reference\.parquet: lacks the columns mad; delete it"):
        artifacts.save_tables(tmp_path / "none.parquet", parts, ("mad",))


def test_the_head_of_a_table_and_some_of_its_columns(tmp_path: Path) -> None:
    (path, _) = tables(tmp_path)[1]
    names = ["image", "correct", "reference_predicted", "reference_correct", "mad"]
    assert artifacts.table_head(path) == (names, {"map_key": "affine", "kld_eps": 1e-9})
    some = artifacts.load_table(path, ("mad",), beside=("image", "nowhere"))
    assert list(some.columns) == ["image", "mad"]
    pd.testing.assert_frame_equal(some, artifacts.load_table(path)[["image", "mad"]])
    with pytest.raises(ValueError, match=r"affine\.parquet: lacks the columns emd; delete it"):
        artifacts.load_table(path, ("emd",), beside=())
    for read in (artifacts.table_head, artifacts.load_table):
        with pytest.raises(ValueError, match=r"none\.parquet: no such file; run `dvc repro`"):
            read(tmp_path / "none.parquet")


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_drawn_once_has_the_bytes_of_one_drawn_twice(tmp_path: Path, kind: str) -> None:
    import matplotlib as mpl

    def two_panels() -> Figure:
        found = Figure(figsize=(4, 3), layout="constrained")
        left, right = found.subplots(1, 2)
        shown = left.imshow(np.arange(6.0).reshape(2, 3))
        left.set_title("a title", loc="left")
        right.plot([0, 1000], [1, 0], label="a line")
        right.set_ylabel("a label")
        found.colorbar(shown, ax=left)
        found.legend(loc="outside upper right")
        return found

    artifacts.save_figure(tmp_path / f"ours.{kind}", two_panels())
    with mpl.rc_context({"svg.hashsalt": "auglens"}):
        two_panels().savefig(tmp_path / f"its.{kind}", metadata={"Date" if kind == "svg" else "Software": None})
    assert (tmp_path / f"ours.{kind}").read_bytes() == (tmp_path / f"its.{kind}").read_bytes()


def test_a_picture_comes_back(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    artifacts.save_picture(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)
