"""Arrays of other libraries, taken over by DLPack (https://dmlc.github.io/dlpack/latest/python_spec.html)."""

from contextlib import suppress
from typing import Any

import numpy as np

from ..ops import Array, HostArray

REFUSALS = (ValueError, TypeError, RuntimeError, BufferError)
"""What libraries raise where they cannot hand an array over."""
_READABLE = (1, 3, 11)
"""DLPack's numbers of the memory that a CPU reads: its own, and what is pinned for CUDA or ROCm."""


def on_device(value: Any) -> bool:
    """Return whether `value` is an array in memory that a CPU cannot read."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack_device__") or not hasattr(value, "shape"):
        return False
    try:
        return value.__dlpack_device__()[0] not in _READABLE
    except REFUSALS:
        return False


def take(xp: Any, value: Any, **options: Any) -> Array:
    """Make an array of the namespace xp on the memory of `value`."""
    if getattr(value, "is_neg", bool)():  # PyTorch would hand over the memory without the sign
        raise BufferError("its negative bit is set; use tensor.resolve_neg()")
    return xp.from_dlpack(value, **options)


def to_numpy(value: Any) -> HostArray:
    """Convert whatever NumPy takes or DLPack hands over to a NumPy array.

    It is a copy if `value` lies in a device's memory, else it shares the memory where that is possible.
    """
    array: HostArray
    if hasattr(value, "__array__") or not hasattr(value, "__dlpack__"):
        try:
            return np.asarray(value)
        except REFUSALS:
            with suppress(*REFUSALS):  # the first error tells the cure
                if on_device(value):
                    array = take(np, value, device="cpu")
                    return array
            raise
    array = take(np, value, device="cpu") if on_device(value) else take(np, value)
    return array
