"""Arrays at addresses that a kernel reads by vectors, or cannot."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def placed(values: Array, dtype: str, start: int = 0) -> Array:
    """The values, `start` elements after a multiple of 16 bytes."""
    memory = np.empty(values.size + 8, dtype)
    first = -memory.ctypes.data % 16 // memory.itemsize + start
    array = memory[first : first + values.size].reshape(values.shape)
    array[...] = values
    return array


def close(got: Array, expected: Array, tolerance: float) -> None:
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
