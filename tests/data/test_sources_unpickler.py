from __future__ import annotations

import os
import pickle
import struct

import numpy as np
import pytest

from auglens.data.sources.unpickler import unpickle

FIX = "; take the official files, or write this one anew from numpy arrays, lists and strings"
ONLY = ", but only numpy arrays and plain containers are read"


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError, match=r"^file: ") as error:
        unpickle(data, "file")
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(FIX)
    return message.removesuffix(FIX)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_back_from_every_protocol(protocol):
    values = {
        "data": np.arange(24, dtype=np.uint8).reshape(4, 6),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "labels": [3, 1, 2],
        "names": ["a", b"b"],
    }
    result = unpickle(pickle.dumps(values, protocol), "file")
    for name in ("data", "fortran", "big"):
        assert np.array_equal(result[name], values[name])
        assert result[name].dtype == values[name].dtype
    assert result["labels"] == [3, 1, 2]
    assert result["names"] == ["a", b"b"]


def test_names_of_numpy_1_are_known():
    data = pickle.dumps({"data": np.arange(3, dtype=np.uint8)}, 2)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != data
    assert unpickle(old, "file")["data"].tolist() == [0, 1, 2]


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_is_named_and_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    data = pickle.dumps({"data": Hostile(marker)}, protocol)
    assert refusal(data) == f"file: the pickle names {os.system.__module__}.system{ONLY}"
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists()  # the pickle was a real one


def test_a_global_from_the_stack():
    data = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x051 + 1\x85R."
    assert pickle.loads(data) == 2
    assert refusal(data) == f"file: the pickle names builtins.eval{ONLY}"


def test_a_dotted_name_does_not_reach_through_an_admitted_one():
    data = b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93."
    assert refusal(data) == f"file: the pickle names numpy.ndarray.__init__{ONLY}"


@pytest.mark.parametrize("data", [b"Pname\n.", b"\x80\x02K\x01Q."])
def test_a_persistent_id(data):
    assert refusal(data) == f"file: the pickle names an object outside itself{ONLY}"


def test_object_arrays_and_floats():
    objects = pickle.dumps({"data": np.array([None, 1], object)})
    assert refusal(objects) == "file: the pickle holds an array of O8, but only whole numbers are read"
    floats = pickle.dumps({"data": np.ones(2)})
    assert refusal(floats) == "file: the pickle holds an array of f8, but only whole numbers are read"


def test_a_shape_that_its_bytes_do_not_fill():
    data = pickle.dumps({"data": np.zeros(5, np.uint8)}, 2)
    larger = data.replace(b"K\x05\x85", b"K\x7f\x85")
    assert larger != data
    assert refusal(larger) == "file: the pickle holds an array of shape (127,) in 5 bytes"


def test_a_state_for_a_name_changes_nothing():
    """BUILD on what stands for numpy's functions, which would outlive the file."""
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"_codecs\nencode"):
        message = refusal(b"\x80\x02c" + name + b"\n}X\x04\x00\x00\x00evilK\x01sb.")
        assert message == "file: not a whole pickle (TypeError)"
    assert unpickle(pickle.dumps({"data": np.arange(2)}), "file")["data"].tolist() == [0, 1]


def test_a_huge_memo_is_refused_before_it_is_allocated():
    data = b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b"."
    assert refusal(data) == "file: the pickle asks for a memory of 4,294,967,295 entries"


def test_a_huge_string_is_refused_before_it_is_allocated():
    data = b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc."
    assert refusal(data) == "file: not a whole pickle (ValueError)"


def test_every_truncation_is_one_line():
    data = pickle.dumps({"data": np.zeros((2, 3), np.uint8), "labels": [1, 2]}, 2)
    for end in range(len(data)):
        assert refusal(data[:end]).startswith("file: not a whole pickle (")


def test_something_else_than_a_dictionary():
    assert refusal(pickle.dumps([1, 2])) == "file: the pickle holds a list, expected a dict"
