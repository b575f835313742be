from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from auglens.config import DataConfig
from auglens.data.sources import cifar, load_source

NAMES = [f"class_{k}" for k in range(10)]
GET = "run `dvc update data.dvc` to fetch the official archive, or set data.source to your own copy"


def batch(seed, count=20, key="labels", classes=10):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    return {b"data": data, key.encode(): [k % classes for k in range(count)]}


def cifar10():
    files = {f"data_batch_{k}": batch(k) for k in range(1, 6)}
    return {**files, "test_batch": batch(6, 10), "batches.meta": {"label_names": NAMES}}


def write(root, files):
    root.mkdir(parents=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else pickle.dumps(content, 2)
        (root / name).write_bytes(data)
    return root


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "cifar-10-batches-py", cifar10())


@pytest.fixture
def archive(folder):
    path = folder.parent / "subset.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return path


def refusal(source, name="cifar10"):
    with pytest.raises(ValueError, match=r"^") as error:
        cifar.load(name, source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folder_archive_and_parent_give_the_same(folder, archive):
    sources = [cifar.load("cifar10", path) for path in (folder, archive, folder.parent)]
    assert len({source.content_sha256 for source in sources}) == 1
    source = sources[1]
    assert (source.images.shape, source.images.dtype) == ((110, 3, 32, 32), np.uint8)
    assert source.labels.dtype == np.int64
    assert source.classes == tuple(NAMES)
    assert np.array_equal(source.given["train"], np.arange(100))
    assert np.array_equal(source.given["test"], np.arange(100, 110))
    assert source.masks is None


def test_pixels_and_order(folder):
    source = cifar.load("cifar10", folder)
    raw = cifar10()["data_batch_2"][b"data"]
    # row 0 of the second file: 1,024 red, then green, then blue, each row by row
    assert source.images[20, 0, 0, 5] == raw[0, 5]
    assert source.images[20, 1, 1, 0] == raw[0, 1024 + 32]
    assert source.images[20, 2, 31, 31] == raw[0, 3071]
    assert source.labels[20:30].tolist() == list(range(10))


def test_content_hash_knows_labels_and_pixels(folder):
    before = cifar.load("cifar10", folder).content_sha256
    changed = batch(6, 10)
    changed[b"labels"][0] = 1
    (folder / "test_batch").write_bytes(pickle.dumps(changed, 2))
    assert cifar.load("cifar10", folder).content_sha256 != before


def test_cifar100_uses_fine_labels(tmp_path):
    files = {
        "train": {**batch(0, 200, "fine_labels", 100), b"coarse_labels": [0] * 200},
        "test": {**batch(1, 100, "fine_labels", 100), b"coarse_labels": [0] * 100},
        "meta": {"fine_label_names": [f"fine_{k}" for k in range(100)], "coarse_label_names": ["all"]},
    }
    source = cifar.load("cifar100", write(tmp_path / "cifar-100-python", files))
    assert source.labels[:200].tolist() == list(range(100)) * 2
    assert source.classes[99] == "fine_99"


def test_missing_source(tmp_path):
    assert refusal(tmp_path / "none.tar.gz") == f"{tmp_path}/none.tar.gz: no such archive or folder; {GET}"
    message = refusal(tmp_path / "none", "cifar100")
    assert message == (
        f"{tmp_path}/none: no such archive or folder; fetch "
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz, or set data.source to your own copy"
    )


def test_missing_batch(folder):
    (folder / "data_batch_3").unlink()
    (folder / "batches.meta").unlink()
    assert refusal(folder) == f"{folder}: lacks data_batch_3, batches.meta of cifar-10-batches-py; {GET}"


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_archive(archive, share):
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    message = refusal(archive)
    assert message.startswith(f"{archive}: not a whole tar archive (")
    assert message.endswith(f" in {int(len(data) * share):,} bytes); fetch it again or pack it anew")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_an_altered_byte_anywhere_in_the_archive_is_noticed(folder, mode):
    """Also where the tar itself has ended and only the compressed stream's sum can tell."""
    path = folder.parent / "altered.tar"
    with tarfile.open(path, f"w:{mode}") as tar:
        tar.add(folder, arcname=folder.name)
    data = path.read_bytes()
    for at in [len(data) * k // 10 for k in range(1, 10)] + [len(data) - 8]:
        altered = bytearray(data)
        altered[at] ^= 0x10
        path.write_bytes(altered)
        assert refusal(path).startswith(f"{path}: ")


def test_official_size_needs_the_official_md5(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with path.open("wb") as file:
        file.truncate(170_498_071)  # sparse: takes no room
    md5 = hashlib.md5(bytes(170_498_071)).hexdigest()
    assert refusal(path) == (
        f"{path}: has the official archive's 170,498,071 bytes, but md5 {md5}, "
        f"expected c58f30108f718f92721af3b95e74349a; delete it and {GET}"
    )


def packed(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = len(data)
            info.linkname = "/etc/hostname" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            tar.addfile(info, io.BytesIO(data))
    return path


def test_odd_members(tmp_path):
    path = tmp_path / "odd.tar"
    out = "leads out of the archive; pack it with relative names"
    packed(path, ("../data_batch_1", tarfile.REGTYPE, b"x"))
    assert refusal(path) == f"{path}: member '../data_batch_1' {out}"
    packed(path, ("/data_batch_1", tarfile.REGTYPE, b"x"))
    assert refusal(path) == f"{path}: member '/data_batch_1' {out}"
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        packed(path, ("data_batch_1", kind, b""))
        message = f"{path}: member 'data_batch_1' is neither file nor folder; pack it without links"
        assert refusal(path) == message
    packed(path, ("./test_batch", tarfile.REGTYPE, b"x"), ("test_batch", tarfile.REGTYPE, b"y"))
    assert refusal(path) == f"{path}: holds test_batch twice; pack it anew"


def test_a_member_that_claims_too_much(tmp_path):
    info = tarfile.TarInfo("data_batch_1")
    info.size = 1 << 40
    path = tmp_path / "large.tar"
    path.write_bytes(info.tobuf())
    assert refusal(path) == (
        f"{path}: member 'data_batch_1' has 1,099,511,627,776 bytes, expected at most 536,870,912; "
        "unpack it and name the folder"
    )


def test_a_hostile_pickle_in_the_archive(folder):
    data = b"cos\nsystem\n(S'echo'\ntR."
    (folder / "data_batch_4").write_bytes(data)
    assert refusal(folder) == (
        f"{folder}: data_batch_4: the pickle names os.system, but only numpy arrays and plain containers are "
        "read; take the official files, or write this one anew from numpy arrays, lists and strings"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"data": np.zeros((20, 3071), np.uint8)}, "expected data uint8 [n, 3072], got uint8 [20, 3071]"),
        ({b"data": np.zeros((20, 3072), np.int16)}, "expected data uint8 [n, 3072], got int16 [20, 3072]"),
        ({b"data": np.zeros(3072, np.uint8)}, "expected data uint8 [n, 3072], got uint8 [3072]"),
        ({b"data": [1, 2]}, "expected data uint8 [n, 3072], got list"),
        ({b"labels": [0] * 19}, "expected 20 whole numbers under labels"),
        ({b"labels": [0.5] * 20}, "expected 20 whole numbers under labels"),
        ({b"labels": [True] * 20}, "expected 20 whole numbers under labels"),
        ({b"labels": [10] * 20}, "expected labels 0 to 9, got 10"),
        ({b"labels": [-1] * 20}, "expected labels 0 to 9, got -1"),
        ({b"labels": [2**70] * 20}, "expected labels 0 to 9, got 1180591620717411303424"),
    ],
)
def test_bad_batches(folder, change, message):
    (folder / "data_batch_2").write_bytes(pickle.dumps({**batch(2), **change}, 2))
    assert refusal(folder) == f"{folder}: data_batch_2: {message}; write the file anew"


def test_bad_names(folder):
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [1]}, 2))
    assert refusal(folder) == f"{folder}: batches.meta: expected a list of class names under label_names; {GET}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"size": 64},
            "parameter data.size: expected null or 32, since cifar10 is kept as it is, got 64; "
            "set data.size=null (model.image_size is what the network sees)",
        ),
        (
            {"train": 500},
            "parameter data.train: expected 0, since cifar10 brings its own images, got 500; set data.train=0",
        ),
    ],
)
def test_parameters_that_cannot_be_met(folder, values, message):
    default = {"name": "cifar10", "source": str(folder), "size": None, "train": 0, "test": 0}
    with pytest.raises(ValueError, match=r"^parameter") as error:
        load_source(DataConfig(**{**default, **values}, validation_fraction=0.1, split_seed=0))
    assert str(error.value) == message


def test_reading_images_imports_no_torch():
    code = (
        "import sys; from auglens.data import split, statistics; "
        "from auglens.data.sources import cifar, folder, load_source, shapes; "
        "print([name for name in ('torch', 'pandas', 'mlflow') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.real_data
def test_real_cifar10_in_python_2_pickles(real_data, tmp_path):
    script = [sys.executable, str(real_data / "build_cifar10.py"), str(tmp_path), "--tar"]
    subprocess.run(script, check=True, capture_output=True)
    source = cifar.load("cifar10", tmp_path / "cifar-10-python.tar.gz")
    assert source.images.shape == (6102, 3, 32, 32)
    assert source.classes == (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    assert {name: len(rows) for name, rows in source.given.items()} == {"train": 5085, "test": 1017}
    assert source.content_sha256 == cifar.load("cifar10", tmp_path).content_sha256
    assert source.labels[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile
