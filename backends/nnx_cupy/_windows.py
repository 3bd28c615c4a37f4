"""Windows on pictures, as the kernels of convolution and pooling know them: struct Windows in pictures.cuh."""

from functools import cached_property
from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher

Pair = tuple[int, int]

MOST = 2**31 - 1
"""Elements that kernels count, with 32 bits; larger arrays take several launches."""

DIVISOR = np.dtype([("inverse", np.uint64), ("value", np.int32)], align=True)
_DIVISORS = (
    *("h", "w", "channels", "packs", "places_down", "places_across", "stride_down", "stride_across"),
    *("size_down", "row"),
)
_WINDOWS = np.dtype(
    [*((name, DIVISOR) for name in _DIVISORS), *((f, np.int32) for f in ("size_across", "pad_down", "pad_across"))],
    align=True,
)


def divisor(value: int) -> tuple[int, int]:
    """Return the fields of a struct Divisor: 2**63 / value, rounded up, and the value."""
    return -(-(2**63) // value), value


class Windows:
    """Windows of a size on pictures of a shape, (h, w, c), in an array of a dtype.

    Args:
        shape: of a picture.
        size: of a window.
        stride: by how many pixels it moves.
        pad: how many pixels beyond the picture it may lie, at each side.
        dtype: of the pictures.
    """

    def __init__(self, shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair, dtype: Any) -> None:
        h, w, c = shape
        padded = h + 2 * pad[0], w + 2 * pad[1]
        down, across = ((padded[i] - size[i]) // stride[i] + 1 for i in range(2))
        self.places = down, across
        self.elements = size[0] * size[1] * c
        """What lies under one window."""
        self.whole = pad == (0, 0) and ((h, w) == size or size == stride == (1, 1))
        """Whether the pictures in memory are what lies under the windows, one after the other."""
        self._padded, self._covered = padded[0] * padded[1] * c, down * across * self.elements
        numbers = h, w, c, max(1, c * dtype.itemsize // 16), down, across, *stride, size[0], size[1] * c
        self._fields = *map(divisor, numbers), size[1], *pad

    @property
    def counted(self) -> bool:
        """Whether kernels can count the elements of one picture, and of all that lies under its windows."""
        return max(self._padded, self._covered) <= MOST

    @cached_property
    def argument(self) -> Any:
        """The kernels' struct."""
        return np.array(self._fields, _WINDOWS)[()]

    def blocks(self, n: int, most: int = MOST) -> list[slice]:
        """Split n pictures so that kernels can count a block's, and `most` elements lie under the windows of one.

        A block has one picture at least.
        """
        return blocks(n, min(MOST // self._padded, most // self._covered))


def blocks(n: int, at_once: int) -> list[slice]:
    """Split n, at least 1, into blocks of nearly one size, of `at_once` at most and 1 at least."""
    step = -(-n // -(-n // max(1, at_once)))
    return [slice(first, first + step) for first in range(0, n, step)]


class WindowOps(Launcher):
    def _by_windows(self, file: str, name: str, windows: Windows, x: Array, out: Array, *others: Array | None) -> None:
        """Launch a kernel with a thread for 16 bytes of the result."""
        self.kernel(file, name, out)(
            self.packs(out), (BLOCK,), (x, out, *others, windows.argument, np.uint32(out.size))
        )


def are_pictures(*arrays: Array | None) -> bool:
    """Return whether all have four axes and something in them. None is skipped."""
    return all(array is None or (array.ndim == 4 and array.size > 0) for array in arrays)
