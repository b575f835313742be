from __future__ import annotations

import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from auglens.config import DataConfig
from auglens.data.sources import folder, load_source
from auglens.data.split import split


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def plain(value, height=8, width=8):
    return png(np.full((height, width, 3), value, np.uint8))


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def pack(path, root, top=""):
    with tarfile.open(path, "w:xz") as tar:
        for file in sorted(root.rglob("*")):
            tar.add(file, arcname=f"{top}{file.relative_to(root)}", recursive=False)
    return path


def refusal(source, size=8):
    with pytest.raises(ValueError, match=r"^") as error:
        folder.load(source, size=size)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(source))


TABLE = {
    "labels.csv": "id,label,split,note\na,cat,train,x\nb.png,dog,test,\nsub/c,cat,val,\n",
    "images/a.png": plain(10),
    "images/b.png": plain(20),
    "images/sub/c.png": plain(30),
    "README.md": "text",
}


def test_table(tmp_path):
    source = folder.load(write(tmp_path, TABLE), size=8)
    assert source.images.dtype == np.uint8
    assert source.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert source.labels.tolist() == [0, 1, 0]
    assert source.classes == ("cat", "dog")
    assert source.ids == ("a.png", "b.png", "sub/c.png")
    given = {name: rows.tolist() for name, rows in source.given.items()}
    assert given == {"train": [0], "validation": [2], "test": [1]}
    assert source.masks is None


@pytest.mark.parametrize("top", ["", "./", "pack/"])
def test_archive_equals_folder(tmp_path, top):
    root = write(tmp_path / "pack", TABLE)
    whole = folder.load(root, size=8)
    assert folder.load(pack(tmp_path / "a.tar.xz", root, top), size=8).content_sha256 == whole.content_sha256


def test_class_folders(tmp_path):
    root = write(tmp_path, {"10/x.png": plain(1), "9/y.jpg": plain(2), "9/._y.jpg": "junk", "note.txt": "x"})
    source = folder.load(root, size=8)
    assert source.classes == ("9", "10")  # as numbers
    assert (source.ids, source.labels.tolist(), source.given) == (("10/x.png", "9/y.jpg"), [1, 0], {})


def test_split_folders_with_masks(tmp_path):
    parts = ("train", "validation", "test")
    names = [f"{part}/{label}/1.png" for part in parts for label in ("cat", "dog")]
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 7
    files = {f"images/{name}": plain(k) for k, name in enumerate(names)}
    root = write(tmp_path, {**files, **{f"masks/{name}": png(mask) for name in names}})
    source = folder.load(root, size=8)
    assert {name: len(rows) for name, rows in source.given.items()} == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }
    assert np.array_equal(source.masks, np.broadcast_to(mask > 0, (6, 8, 8)))
    assert source.masks.dtype == np.uint8
    assert source.ids[0] == "test/cat/1.png"


def test_shorter_side_is_resized_and_the_centre_cut(tmp_path):
    picture = np.zeros((16, 48, 3), np.uint8)
    picture[:, 16:32] = 200  # exactly the central square
    mask = np.zeros((16, 48), np.uint8)
    mask[:8, 16:24] = 1
    files = {"images/a/1.png": png(picture), "images/b/1.png": png(picture.transpose(1, 0, 2))}
    masks = {"masks/a/1.png": png(mask), "masks/b/1.bmp": png(mask.T.copy())}
    source = folder.load(write(tmp_path, {**files, **masks}), size=8)
    inner = source.images[:, :, 1:-1, 1:-1].astype(int)
    assert np.abs(inner - 200).max() <= 2  # the bicubic kernel swings by a per cent beside an edge
    expected = np.zeros((8, 8), np.uint8)
    expected[:4, :4] = 1
    assert np.array_equal(source.masks[0], expected)
    assert np.array_equal(source.masks[1], expected.T)


def at_the_edge():
    """(picture, mask) of 8 × 16 pixels: the object is the four columns on the left, out of the central square."""
    picture, mask = np.full((8, 16, 3), 40, np.uint8), np.zeros((8, 16), np.uint8)
    picture[:, :4], mask[:, :4] = 200, 255
    return picture, mask


def test_squeezing_keeps_what_cropping_loses(tmp_path):
    """Lying and standing pictures of 2:1, each with its mask: columns two by two become one."""
    picture, mask = at_the_edge()
    files = {"images/a/1.png": png(picture), "masks/a/1.png": png(mask)}
    files |= {"images/b/1.png": png(picture.transpose(1, 0, 2).copy()), "masks/b/1.png": png(mask.T.copy())}
    root = write(tmp_path, files)
    squeezed, cropped = (folder.load(root, size=8, fit=fit) for fit in ("squeeze", "crop"))
    expected = np.zeros((8, 8), np.uint8)
    expected[:, :2] = 1  # half of the four columns
    assert np.array_equal(squeezed.masks[0], expected)
    assert np.array_equal(squeezed.masks[1], expected.T)
    assert not cropped.masks.any()
    row = squeezed.images[0, 0, 3].astype(int)
    assert np.abs(row - [200, 200, 40, 40, 40, 40, 40, 40]).max() <= 16  # the bicubic kernel swings beside an edge
    assert row[0] > 190 > 50 > row[3]
    assert np.array_equal(squeezed.images[0], np.broadcast_to(squeezed.images[0, :, :1], (3, 8, 8)))
    assert np.array_equal(squeezed.images[1], squeezed.images[0].transpose(0, 2, 1))
    assert cropped.images.max() < 60  # nothing of the object but the swing beside its edge


def test_squeezing_equals_resizing_the_whole(tmp_path):
    """The oracle: bicubic weights written out (Keys' kernel, a = −0.5, widened where it shrinks), in float64."""

    def weights(source, target):
        scale = source / target
        matrix = np.zeros((target, source))
        for row in range(target):
            x = np.abs((np.arange(source) + 0.5 - (row + 0.5) * scale) / max(scale, 1))
            near = ((1.5 * x - 2.5) * x) * x + 1
            far = ((-0.5 * x + 2.5) * x - 4) * x + 2
            matrix[row] = np.where(x < 1, near, np.where(x < 2, far, 0))
        return matrix / matrix.sum(1, keepdims=True)

    pixels = np.random.default_rng(3).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    root = write(tmp_path, {"a/1.png": png(pixels), "b/1.png": plain(0)})
    found = folder.load(root, size=16, fit="squeeze").images[0].astype(float)
    exact = np.einsum("ri,ijc,kj->crk", weights(30, 16), pixels.astype(float), weights(44, 16))
    assert np.abs(found - np.clip(exact, 0, 255)).max() <= 2  # rounded to bytes between the two directions


def test_a_square_is_the_same_cropped_and_squeezed(tmp_path):
    rng = np.random.default_rng(0)
    files = {}
    for name in ("a/1.png", "b/1.png"):
        files[f"images/{name}"] = png(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        files[f"masks/{name}"] = png(rng.integers(0, 2, (20, 20), dtype=np.uint8))
    root = write(tmp_path, files)
    one, two = (folder.load(root, size=9, fit=fit) for fit in ("crop", "squeeze"))
    assert one.content_sha256 == two.content_sha256


def test_one_step_equals_resize_then_cut():
    """The oracle: Pillow's resize of the whole picture, then a crop (an even margin: both are exact)."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8))
    whole = picture.resize((32, 16), Image.Resampling.BICUBIC).crop((8, 0, 24, 16))
    ours = folder.square(picture, 16, Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(ours), np.asarray(whole))


def test_exif_turn_is_applied(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 255  # bright above
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned right by 90°: bright on the right
    Image.fromarray(picture).save(file, "PNG", exif=exif)
    source = folder.load(write(tmp_path, {"a/1.png": file.getvalue(), "b/1.png": plain(0)}), size=8)
    assert np.all(source.images[0][:, :, 4:] == 255)
    assert np.all(source.images[0][:, :, :4] == 0)


def test_grey_palette_and_transparency_become_rgb(tmp_path):
    grey = np.full((8, 8), 90, np.uint8)
    palette = io.BytesIO()
    Image.fromarray(grey).convert("P").save(palette, "PNG")
    clear = np.full((8, 8, 4), 90, np.uint8)
    root = write(tmp_path, {"a/1.png": png(grey), "a/2.png": palette.getvalue(), "b/1.png": png(clear)})
    assert np.all(folder.load(root, size=8).images == 90)


KINDS_TABLE = {
    "labels.csv": "id,label,kind,split\na,cat,tabby,train\nb,cat,siamese,val\nc,dog,,test\n",
    **{f"images/{name}.png": plain(10 * k) for k, name in enumerate("abc")},
}


def test_the_class_stands_in_any_column(tmp_path):
    table = KINDS_TABLE["labels.csv"].replace("dog,,", "dog,boxer,")
    root = write(tmp_path, {**KINDS_TABLE, "labels.csv": table})
    kinds, usual = folder.load(root, size=8, label="kind"), folder.load(root, size=8)
    assert kinds.classes == ("boxer", "siamese", "tabby")
    assert kinds.labels.tolist() == [2, 1, 0]
    assert usual.classes == ("cat", "dog")
    assert usual.labels.tolist() == [0, 0, 1]
    assert np.array_equal(kinds.images, usual.images)
    assert {name: rows.tolist() for name, rows in kinds.given.items()} == {
        "train": [0], "validation": [1], "test": [2]
    }  # fmt: skip
    # a table need not have the usual column
    write(tmp_path, {"labels.csv": table.replace("id,label,", "id,group,")})
    assert folder.load(root, size=8, label="kind").content_sha256 == kinds.content_sha256


def test_a_column_that_is_not_there_and_a_label_that_is_not(tmp_path):
    root = write(tmp_path, KINDS_TABLE)

    def refused(label):
        with pytest.raises(ValueError, match=r"labels\.csv") as error:
            folder.load(root, size=8, label=label)
        return str(error.value)

    assert refused("breed") == (
        f"{root}: labels.csv: lacks the column breed; its first line must name id and breed"
    )
    assert refused("kind") == (
        f"{root}: labels.csv line 4: image 'c' has no label; give it one or remove the line"
    )


def test_column_and_fit_are_those_of_the_parameters(tmp_path):
    picture, mask = at_the_edge()
    files = {"labels.csv": "id,label,kind\na,x,one\nb,x,two\n"}
    files |= {f"images/{name}.png": png(picture) for name in "ab"}
    files |= {f"masks/{name}.png": png(mask) for name in "ab"}
    root = write(tmp_path, files)
    found = load_source(DataConfig("folder", str(root), 8, 0, 0, 0.1, 0, label="kind", fit="squeeze"))
    assert found.classes == ("one", "two")
    assert found.masks.mean() == 0.25
    usual = load_source(DataConfig("folder", str(root), 8, 0, 0, 0.1, 0))
    assert usual.classes == ("x",)
    assert not usual.masks.any()


def test_table_refusals(tmp_path):
    def with_table(text):
        return refusal(write(tmp_path, {**TABLE, "labels.csv": text}))

    assert with_table("name,label\n") == ": labels.csv: lacks the column id; its first line must name id and label"
    assert with_table("") == ": labels.csv: lacks the column id; its first line must name id and label"
    message = ": labels.csv line 2: expected one image for id 'z', got no image; correct the id or the files"
    assert with_table("id,label\nz,cat\n") == message
    for name in ("../a", "sub/../../a", "/etc/passwd", "..\\a"):
        message = f": labels.csv line 3: id {name!r} leads out of the folder; name a file under images/"
        assert with_table(f"id,label\nb,dog\n{name},cat\n") == message
    message = ": labels.csv line 3: image 'a.png' is listed twice; remove one of the lines"
    assert with_table("id,label\na,cat\na.png,cat\n") == message
    message = ": labels.csv line 2: image 'a' has no label; give it one or remove the line"
    assert with_table("id,label\na\n") == message
    message = ": labels.csv line 2: expected a split called train, val or test, got 'holdout'; rename it"
    assert with_table("id,label,split\na,cat,holdout\n") == message
    assert with_table(b"id,label\n\xff,a\n") == (
        ": labels.csv: not a CSV table in UTF-8 (UnicodeDecodeError); save it anew"
    )


def test_an_id_that_means_two_files(tmp_path):
    root = write(tmp_path, {"labels.csv": "id,label\na,cat\n", "images/a.png": plain(0), "images/a.bmp": plain(0)})
    assert refusal(root) == (
        ": labels.csv line 2: expected one image for id 'a', got 2 images (a.bmp, a.png); "
        "correct the id or the files"
    )


def test_layouts_that_are_none(tmp_path):
    expected = ": expected labels.csv, or all images as class/image or as split/class/image, got "
    fix = "; sort them so or add labels.csv"
    assert refusal(write(tmp_path / "1", {"a.png": plain(0)})) == f"{expected}a.png{fix}"
    mixed = write(tmp_path / "2", {"a/1.png": plain(0), "train/b/1.png": plain(0)})
    assert refusal(mixed) == f"{expected}a/1.png{fix}"
    unknown = write(tmp_path / "3", {"train/a/1.png": plain(0), "other/a/1.png": plain(0)})
    assert refusal(unknown) == (
        ": folder other: expected a split called train, val or test, got 'other'; rename it"
    )
    assert refusal(write(tmp_path / "4", {"note.txt": "x"})).startswith(": holds no images (.jpg .jpeg .png ")
    assert refusal(tmp_path / "5") == (": no such folder or archive; set data.source to the folder of your images")


def test_a_link_out_of_the_folder(tmp_path):
    root = write(tmp_path / "root", {"a/1.png": plain(0)})
    (root / "a/2.png").symlink_to(write(tmp_path, {"outside.png": plain(0)}) / "outside.png")
    assert refusal(root) == ": a/2.png links out of the folder; put the file itself there"


def noise(kind):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
BROKEN = {"empty": b"", "text": b"not an image", "head": b"\xff\xd8\xff\xe0" + bytes(40)}
BROKEN |= {f"half a {kind}": noise(kind)[: len(noise(kind)) // 2] for kind in KINDS}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_an_image_that_does_not_decode(tmp_path, data):
    message = refusal(write(tmp_path, {"a/1.png": plain(0), "b/broken.png": data}))
    assert message.startswith(": b/broken.png: not an image that can be decoded (")
    assert message.endswith("); replace or remove it")


def test_a_bomb_is_not_decoded(tmp_path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    root = write(tmp_path, {"a/1.png": data})
    assert refusal(root) == ": a/1.png: expected at most 89,478,485 pixels; make it smaller or remove it"


def test_sixteen_bits_are_not_bent_to_eight(tmp_path):
    root = write(tmp_path, {"a/1.png": png(np.full((8, 8), 40_000, np.uint16))})
    assert refusal(root) == ": a/1.png: has pixels of kind I;16, expected 8 bits a channel; convert it"


def test_masks_that_do_not_fit(tmp_path):
    files = {"images/a/1.png": plain(0), "images/b/1.png": plain(0), "masks/a/1.png": plain(1)}
    root = write(tmp_path, files)
    assert refusal(root) == (
        ": b/1.png: expected one mask, got 0; keep one masks/b/1.png (all 0 where nothing is marked) "
        "or remove masks/"
    )
    write(tmp_path, {"masks/b/1.png": plain(1, 8, 9)})
    assert refusal(root) == ": masks/b/1.png: has (9, 8) pixels, its image (8, 8); give it the image's size"


def test_one_class_only(tmp_path):
    source = folder.load(write(tmp_path, {"a/1.png": plain(0), "a/2.png": plain(1)}), size=8)
    message = r"^data: expected images of at least two classes, got only 'a'; add images of another class$"
    with pytest.raises(ValueError, match=message):
        split(source.labels, source.given, validation_fraction=0.1, seed=0, classes=source.classes)


def test_size_is_needed(tmp_path):
    with pytest.raises(ValueError, match=r"^parameter") as error:
        load_source(DataConfig("folder", str(tmp_path), None, 0, 0, 0.1, 0))
    assert str(error.value) == (
        "parameter data.size: expected a number of pixels, since images of a folder differ in size, "
        "got None; "
        "set data.size=64"
    )


@pytest.mark.real_data
def test_real_hands(real_data):
    source = folder.load(real_data / "sign_digits.tar.xz", size=32)
    assert source.images.shape == (2062, 3, 32, 32)
    assert source.classes == tuple("0123456789")
    assert all(name.startswith(f"{label}_") for name, label in zip(source.ids, source.labels, strict=True))
    result = split(source.labels, source.given, validation_fraction=0.1, seed=0, classes=source.classes)
    assert (len(result.train), len(result.validation), len(result.test)) == (1411, 209, 442)


@pytest.mark.real_data
def test_real_tiles_and_their_masks(real_data):
    source = folder.load(real_data / "magnetic_tile.tar.xz", size=64)
    assert source.classes == ("blowhole", "break", "crack", "fray", "free", "uneven")
    assert {name: len(rows) for name, rows in source.given.items()} == {
        "train": 534,
        "validation": 90,
        "test": 159,
    }
    marked = source.masks.mean(axis=(1, 2))
    assert not marked[source.labels == source.classes.index("free")].any()
    assert 0.1 < np.median(marked[source.labels == source.classes.index("uneven")]) < 0.5
