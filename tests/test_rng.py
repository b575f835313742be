"""Keys, generators and per-row numbers."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from auglens import rng

ARGUMENTS = {"seed": 7, "stream": "augmentation/affine", "epoch": 3}


def test_a_key_is_the_head_of_sha256_over_json() -> None:
    digest = hashlib.sha256(b'["augmentation/affine",7,3]').digest()
    assert rng.derive(7, "augmentation/affine", 3) == int.from_bytes(digest[:16], "big")


def test_keys_differ_wherever_an_argument_does() -> None:
    keys = [
        rng.derive(1, "a"),
        rng.derive(2, "a"),
        rng.derive(1, "b"),
        rng.derive(1, "a", 0),
        rng.derive(1, "a", 0, 0),
        rng.derive(1, "a", 1),
        rng.derive(11, "a"),
        rng.derive(1, "a", 12),
        rng.derive(1, "a", 1, 2),
        rng.derive(1, 'a",1,"'),
        rng.derive(-1, "ä"),
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**128 for key in keys)


def test_any_integer_type_gives_the_same_key() -> None:
    assert rng.derive(np.int64(7), "order", torch.tensor(3)) == rng.derive(7, "order", 3)


def test_a_seed_that_is_no_integer_is_refused() -> None:
    with pytest.raises(TypeError):
        rng.derive(1.5, "order")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [rng.numpy_generator, rng.torch_generator])
def test_generators_repeat_and_use_every_argument(make) -> None:  # type: ignore[no-untyped-def]
    def first(*arguments: object) -> float:
        generator = make(*arguments)
        if isinstance(generator, torch.Generator):
            return torch.rand((), generator=generator, dtype=torch.float64).item()
        return generator.random()

    assert first(1, "init", 2) == first(1, "init", 2)
    assert len({first(1, "init", 2), first(2, "init", 2), first(1, "split", 2), first(1, "init", 3)}) == 4


# Few words per row are worked out here, many by numpy's own generator.
@pytest.mark.parametrize("width", [0, 1, 4, 5, rng.NARROW - 1, rng.NARROW, rng.NARROW + 1, 130])
def test_uniforms_are_those_of_numpys_philox_with_the_row_in_its_counter(width: int) -> None:
    rows = np.array([0, 5, 4, 2**40, 5, 2**63 - 1])
    found = rng.uniforms(**ARGUMENTS, rows=rows, width=width)
    key = rng.derive(7, "augmentation/affine", 3)
    expected = [
        np.random.Generator(np.random.Philox(key=key, counter=int(row) << 64)).random(width) for row in rows
    ]
    assert found.dtype == np.float64
    assert np.array_equal(found, np.array(expected))


def test_words_carry_between_their_halves_as_numpys_do() -> None:
    """Many keys and rows, so that every carry inside the long products happens."""
    rows = np.random.default_rng(0).integers(0, 2**63, 1000)
    for seed in range(5):
        drawn = rng.words(seed=seed, stream="s", epoch=0, rows=rows, width=8)
        key = rng.derive(seed, "s", 0)
        expected = [np.random.Philox(key=key, counter=int(row) << 64).random_raw(8) for row in rows]
        assert np.array_equal(drawn, np.array(expected))


def test_a_rows_numbers_depend_on_neither_the_other_rows_nor_the_width() -> None:
    rows = np.arange(100)
    whole = rng.uniforms(**ARGUMENTS, rows=rows, width=9)
    shuffled = np.random.default_rng(0).permutation(rows)
    assert np.array_equal(rng.uniforms(**ARGUMENTS, rows=shuffled, width=9), whole[shuffled])
    assert np.array_equal(rng.uniforms(**ARGUMENTS, rows=rows[7:8], width=9), whole[7:8])
    assert np.array_equal(rng.uniforms(**ARGUMENTS, rows=rows, width=4), whole[:, :4])
    assert rng.uniforms(**ARGUMENTS, rows=rows[:0], width=9).shape == (0, 9)


@pytest.mark.parametrize("change", [{"seed": 8}, {"stream": "augmentation/elastic"}, {"epoch": 4}])
def test_every_argument_changes_every_number(change: dict[str, object]) -> None:
    rows = np.arange(50)
    one = rng.uniforms(**ARGUMENTS, rows=rows, width=6)
    two = rng.uniforms(**(ARGUMENTS | change), rows=rows, width=6)
    assert not (one == two).any()
    assert not (one[1:] == one[:-1]).any()


def test_uniforms_are_uniform() -> None:
    drawn = rng.uniforms(**ARGUMENTS, rows=np.arange(4000), width=5)
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert 0 <= drawn.min() <= drawn.max() < 1
    assert abs(counts - 1000).max() < 5 * 1000**0.5  # five standard deviations
    assert abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 5 / 4000**0.5


def test_a_negative_row_is_refused() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        rng.uniforms(**ARGUMENTS, rows=np.array([3, -2]), width=1)
    assert str(caught.value) == "rows: expected indices of 0 or more, got -2; pass rows of the training set"


def test_global_generators_are_untouched() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002 - the global one
    rng.uniforms(**ARGUMENTS, rows=np.arange(9), width=3)
    rng.numpy_generator(1, "split").random(3)
    torch.rand(3, generator=rng.torch_generator(1, "init"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - the global one
    assert random.getstate() == before[2]


def test_numpy_users_import_no_torch() -> None:
    code = "import sys; import auglens.rng, auglens.data.order; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
