"""Conversion of a script's arrays to the backend's, and back."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..backend import script_dtype
from ..ops import FLOATS, Array, HostArray, Ops, dtype_name

LEAST = 8192
"""How many numbers of an array of NumPy's are worth a call of the backend: below, NumPy is as fast, or faster."""
LEAST_OF_AN_SGD = 40_000
LEAST_OF_A_SOFTMAX = 256
LEAST_OF_A_PRODUCT = 500_000
"""Likewise, of what SGD updates, of the scores of a softmax, and how many multiplications of a matrix product."""

_FLOATS = np.dtype("float64"), np.dtype("float32")


def is_plain(x: Any, y: Any = 0) -> bool:
    """Return whether both are NumPy's arrays, of any dtype, or numbers: what the book computes with."""
    return isinstance(x, _PLAIN) and isinstance(y, _PLAIN)


_PLAIN = (np.ndarray, np.generic, int, float, complex, list, tuple)


def is_worth_it(x: Any, least: int | None = None) -> bool:
    """Return whether the backend is to compute with x: its own array, or a large one of NumPy's in a backend's dtype.

    Everything else is left to NumPy: whole numbers, float16 and numbers that are no arrays come out as in the book.
    """
    if type(x) is np.ndarray:
        return x.size >= (LEAST if least is None else least) and x.dtype in _FLOATS
    return not isinstance(x, _PLAIN)


def network_dtype() -> str:
    """Return the dtype of the networks' parameters: float64 as in the book, unless `NNX_SCRIPT_DTYPE` is float32."""
    return script_dtype() or "float64"


@cache
def _promoted(*dtypes: str) -> str:
    """Return the floating dtype in which NumPy would compute with these; for all but float32 and float64, float64."""
    dtype = str(np.result_type(*dtypes))
    return dtype if dtype in FLOATS else "float64"


def native(ops: Ops, x: Any) -> Array:
    """Return x as an array of the backend."""
    return x if isinstance(x, ops.array_type) else ops.to_device(np.asarray(x))


def floats(ops: Ops, *values: Any) -> list[Array]:
    """Return the values as native arrays of one floating dtype, by NumPy's promotion; not copied where they are."""
    arrays = [native(ops, value) for value in values]
    dtype = arrays[0].dtype
    if dtype_name(arrays[0]) in FLOATS and all(a.dtype == dtype for a in arrays):
        return arrays
    wanted = ops.dtypes[_promoted(*map(dtype_name, arrays))]
    return [a if a.dtype == wanted else ops.xp.astype(a, wanted) for a in arrays]


def floats_of_rows(ops: Ops, x: Any, *others: Any) -> list[Array]:
    """Return what `floats` does, but for rows of float32 among float64: on a CPU an affine operation widens them."""
    arrays = [native(ops, value) for value in (x, *others)]
    if ops.on_host and arrays[0].dtype == np.float32 and all(a.dtype == np.float64 for a in arrays[1:]):
        return arrays
    return floats(ops, *arrays)


def floats_of_images(ops: Ops, images: Any, *others: Any) -> list[Array]:
    """Return what `floats` does. NumPy's images become float64, as in the book's im2col, but where all is float32."""
    if isinstance(images, np.ndarray) and images.dtype != np.float64 and script_dtype() != "float32":
        images = images.astype(np.float64)
    return floats(ops, images, *others)


def like(ops: Ops, y: Array, x: Any) -> Any:
    """Return y as the kind of array that x is: the backend's, or else NumPy's."""
    return y if ops.on_host or isinstance(x, ops.array_type) else ops.to_host(y)


def on_host(ops: Ops, x: Any) -> HostArray:
    """Return x as a NumPy array."""
    return ops.to_host(x) if isinstance(x, ops.array_type) else np.asarray(x)


def number(ops: Ops, value: Array) -> Any:
    """Return a 0-d array as a NumPy scalar."""
    return ops.to_host(value)[()]


def by_rows(ops: Ops, operation: Callable[[Array], Array], x: Array) -> Array:
    """Apply an operation on matrices to x of any shape, (..., c)."""
    if x.ndim == 2:
        return operation(x)
    return ops.xp.reshape(operation(ops.xp.reshape(x, (-1, x.shape[-1]))), x.shape)


def channels_last(ops: Ops, x: Array) -> Array:
    """Return images (n, c, h, w) as pictures (n, h, w, c), in memory of their own."""
    n, c, h, w = x.shape
    return ops.xp.reshape(ops.swap_axes(ops.xp.reshape(x, (n, c, h * w))), (n, h, w, c))


def channels_first(ops: Ops, x: Array) -> Array:
    """Return pictures (n, h, w, c) as images (n, c, h, w), in memory of their own."""
    n, h, w, c = x.shape
    return ops.xp.reshape(ops.swap_axes(ops.xp.reshape(x, (n, h * w, c))), (n, c, h, w))
