"""Matrices transposed: pictures with the channels last or first, and the filters of a convolution as one matrix."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher, takes
from ._windows import DIVISOR, MOST, blocks, divisor

_FILE = "transpose.cu"
_LEAST, _TILE = 32, 1024
"""Lines or columns of a tile, and elements of it, as far as the matrix has them."""
_TILES = np.dtype(
    [*((name, DIVISOR) for name in ("lines", "columns", "down", "across")), ("a", np.int32), ("b", np.int32)],
    align=True,
)


class TransposeOps(Launcher):
    def swap_axes(self, x: Array, *, out: Array | None = None) -> Any:
        if x.ndim != 3 or not x.size or not takes(x, out) or max(x.shape) > MOST:
            return NotImplemented
        n, a, b = x.shape
        y = self.empty((n, b, a), x.dtype) if out is None else out
        for block in blocks(n, MOST // _tiles(a, b)[1]):
            self._transpose("swap_axes", x[block], y[block])
        return y

    def _transpose(self, name: str, x: Array, out: Array, *others: Any) -> None:
        """Launch a kernel for each tile of the matrices x: (n, a, b)."""
        n, a, b = x.shape
        tiles, each = _tiles(a, b)
        self.kernel(_FILE, name, x)((n * each,), (BLOCK,), (x, out, tiles, *others))

    def _pack(self, w: Array) -> Array:
        """Return filters (f, c, kh, kw) as a matrix (kh * kw * c, f), whose rows are in the order of channels last."""
        f, c, *size = w.shape
        packed = self.empty((size[0] * size[1] * c, f), w.dtype)
        self._transpose("pack_filters", w.reshape(1, f, -1), packed, *_by_pixel(c, size))
        return packed

    def _unpack(self, packed: Array, w: Array) -> None:
        """Write the filters w: (f, c, kh, kw), whose packed form is given."""
        _, c, *size = w.shape
        self._transpose("unpack_filters", packed[None], w, *_by_pixel(c, size))


def _tiles(a: int, b: int) -> tuple[Any, int]:
    """Return the struct Tiles for matrices (a, b), and how many tiles each has.

    The fewer lines or columns there are, the longer are the others: all threads have work, and memory is read along.
    """
    if a <= b:
        lines = min(a, _LEAST)
        columns = min(b, _TILE // lines)
    else:
        columns = min(b, _LEAST)
        lines = min(a, _TILE // (columns | 1))
    down, across = -(-a // lines), -(-b // columns)
    return np.array((*map(divisor, (lines, columns, down, across)), a, b), _TILES)[()], down * across


def _by_pixel(c: int, size: list[int]) -> tuple[Any, np.int32]:
    return np.array(divisor(size[0] * size[1]), DIVISOR)[()], np.int32(c)
