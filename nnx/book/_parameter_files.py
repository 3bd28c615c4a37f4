"""The book's files of parameters: pickles of a dict of arrays.

They are written as the book writes them. They are read by a reader that knows strings, dicts and NumPy's arrays, and
these from descriptions of their shapes, dtypes and bytes: nothing that a file names is imported or called.
"""

import os
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..ops import HostArray

File = str | os.PathLike[str]


def save(file: File, params: Mapping[str, HostArray]) -> None:
    """Write arrays by name as the book's `save_params` does."""
    with open(file, "wb") as opened:
        pickle.dump(dict(params), opened)


def load(file: File) -> dict[str, HostArray]:
    """Read arrays by name from a file that the book's `save_params` or `save` has written.

    Raises:
        InputError: the file holds anything else, or is damaged.
        OSError: it cannot be read.
    """
    with open(file, "rb") as opened:
        try:
            found = _Reader(opened).load()
            if type(found) is not dict or not all(type(name) is str for name in found):
                raise _RefusedError("it is no dict by name")
            return {name: _array(name, value) for name, value in found.items()}
        except Exception as error:  # a damaged pickle can raise whatever its operations do
            raise InputError(
                f"{os.fspath(file)}: cannot be read: {error}. Expected a pickle of a dict of NumPy arrays, as the "
                "book writes it; nnx reads nothing else from a pickle, for loading one can run any code."
            ) from None


class _RefusedError(Exception):
    """A file holds what is not read."""


class _Named:
    """Stands for a function or class that a file may name."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("it changes a function")


class _Dtype:
    """The description of a dtype, such as "f8", and its byte order."""

    def __init__(self, code: object, *_flags: object) -> None:
        if not (isinstance(code, str) and re.fullmatch("[fiub][0-9]", code)):
            raise _RefusedError(f"it has the dtype {code!r}")
        self._code, self._order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = {"<": "<", ">": ">", "|": "|"}[state[1]]

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._order + self._code)


class _Array:
    """The description of an array."""

    def __init__(self, *_of_an_empty_one: object) -> None:
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, content = state
        self._state = shape, dtype, "F" if fortran else "C", content

    def array(self) -> HostArray:
        shape, dtype, order, content = self._state
        if not (isinstance(dtype, _Dtype) and isinstance(content, bytes | bytearray)):
            raise _RefusedError("it has an array of objects")
        return np.array(
            np.frombuffer(content, dtype.dtype()).reshape(shape, order=order), dtype.dtype().newbyteorder("=")
        )


def _from_buffer(content: object, dtype: object, shape: object, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", content))
    return array


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"it has text in {encoding!r}")
    return text.encode("latin1")


def _array(name: str, value: object) -> HostArray:
    if not isinstance(value, _Array):
        raise _RefusedError(f"its {name!r} is no array")
    return value.array()


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): lambda: b"",
}
"""What files of arrays name, of any protocol, and what is called in its place."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")  # its name before NumPy 2
        if (module, name) not in _KNOWN:
            raise _RefusedError(f"it names {module}.{name}")
        return _Named(_KNOWN[module, name])
