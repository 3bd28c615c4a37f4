"""What calls of kernels are given, and what is made of their results."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NOTHING = {np.dtype(d): np.empty(0, d) for d in (np.float32, np.float64)}
FLOATS = _NOTHING.keys()


def as_rows(x: Array) -> Array:
    """Return x as a matrix of its rows."""
    return x if x.ndim == 2 else x.reshape(len(x), -1)


def as_columns(x: Array) -> Array:
    """Return x as a matrix of its last axis: pictures as pixels by channels."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def nothing(x: Array) -> Array:
    return _NOTHING.get(x.dtype, x)


def done(result: Any, out: Array) -> Any:
    """Return what an operation returns whose kernel returned this."""
    if result is None or result is NotImplemented:
        return out if result is None else result
    return result(out)  # while a step is recorded, an array that tells what is done to it


def nothing_but(result: Any) -> Any:
    """Return None, unless the kernel has declined."""
    return NotImplemented if result is NotImplemented else None


def one(number: Array) -> Array:
    """Return a 0-d array as one of one number."""
    return number.reshape(1)
