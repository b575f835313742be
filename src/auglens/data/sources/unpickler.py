"""CIFAR's pickles, read without trusting them.

A pickle is a program that may name and call any function. Here it may name nothing but what numpy names to
rebuild an array, and even that is not called: our own stand-ins take numpy's place, because numpy's
`__setstate__` believes whatever flags and offsets it is told. A stand-in takes bytes, checks them and makes
an array of whole numbers of them.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Forbidden(ValueError):
    """The pickle asks for something that an array does not need."""


def text(value: object) -> str:
    """A name as `str`, whether Python 2 (bytes) or 3 wrote it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise Forbidden(f"expected a name, got {type(value).__name__}")


class _Dtype:
    """Stands for numpy.dtype: integers of 1 to 8 bytes, nothing else."""

    __slots__ = ("dtype",)

    def __init__(self, name: object, *_: object) -> None:
        if not re.fullmatch(r"[iu][1248]", text(name)):
            raise Forbidden(f"holds an array of {text(name)}, but only whole numbers are read")
        self.dtype = np.dtype(text(name))

    def __setstate__(self, state: tuple[object, ...]) -> None:
        order = text(state[1])
        if order not in ("<", ">", "|", "="):
            raise Forbidden(f"holds an array of byte order {order!r}")
        self.dtype = np.dtype(order + self.dtype.str[1:])


class _Array:
    """Stands for numpy.ndarray and its _reconstruct."""

    __slots__ = ("value",)
    value: Array | None

    def __init__(self, *_: object) -> None:
        self.value = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: object, dtype: object, shape: object, order: str) -> None:
        sizes = shape if isinstance(shape, tuple) else ()
        whole = all(isinstance(size, int) and size >= 0 for size in sizes) and len(sizes) > 0
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray) or not whole:
            raise Forbidden("holds something that is not an array of whole numbers")
        if math.prod(sizes) * dtype.dtype.itemsize != len(raw):
            raise Forbidden(f"holds an array of shape {sizes} in {len(raw):,} bytes")
        self.value = np.frombuffer(raw, dtype.dtype).reshape(sizes, order="F" if order == "F" else "C")


class _Buffered(_Array):
    """Stands for numpy's _frombuffer, which pickle protocol 5 names."""

    def __init__(self, raw: object, dtype: object, shape: object, order: object = "C") -> None:
        self.fill(raw, dtype, shape, text(order))


class _Encoded:
    """Stands for _codecs.encode, by which Python 3 writes bytes for Python 2."""

    def __new__(cls, value: str, encoding: object = "latin1") -> bytes:  # type: ignore[misc]
        if text(encoding) != "latin1" or not isinstance(value, str):
            raise Forbidden("holds bytes in an encoding other than latin1")
        return value.encode("latin-1")

    def __setstate__(self, state: object) -> None:  # or a pickle could set attributes on this class
        raise Forbidden("gives a state to a function")


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffered,
    ("numpy._core.numeric", "_frombuffer"): _Buffered,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ADMITTED:
            raise Forbidden(f"names {module}.{name}, but only numpy arrays and plain containers are read")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise Forbidden("names an object outside itself, but only numpy arrays and plain containers are read")


def _check_sizes(data: bytes) -> None:
    """Raises where an operation announces more than the file holds: the C reader would allocate it first."""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(data):
            raise Forbidden(f"asks for a memory of {argument:,} entries")


def unpickle(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary in `data`: keys as str, numpy arrays (integers), other values as pickled.

    Python 2's strings come as bytes. Raises ValueError in one line, beginning with `where`, for the rest.
    """
    fix = "take the official files, or write this one anew from numpy arrays, lists and strings"
    try:
        _check_sizes(data)
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(content, dict):
            raise Forbidden(f"holds a {type(content).__name__}, expected a dict")
        return {text(k): v.value if isinstance(v, _Array) else v for k, v in content.items()}
    except Forbidden as error:
        raise ValueError(f"{where}: the pickle {error}; {fix}") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ValueError(f"{where}: not a whole pickle ({type(error).__name__}); {fix}") from None
