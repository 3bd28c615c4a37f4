"""Reductions to one number."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher, size, takes

_PARTS = 4096
"""Blocks that fill the largest GPU several times over. A constant: sums have the same bits on every GPU."""
_PER_BLOCK = 16 * BLOCK
"""Elements that a block sums at least."""
_WHOLE = 1024
"""Rows up to which a block does whole columns."""


def lanes(c: int) -> int:
    """Return the threads for a row of c elements, about four for each: a power of two, at most a warp."""
    return min(1 << ((c - 1) // 4).bit_length(), 32)


def tiles(n: int, c: int) -> tuple[tuple[int, int], int]:
    """Return the grid of a kernel that sums down the columns, and the columns of each block; by the shape alone.

    Where the rows are too few to be split, narrower blocks, down to one sector of memory, make more of them.
    """
    width, chunks = min(c, 32), 1
    if n > _WHOLE:
        chunks = max(1, min(n // 256, _PARTS * 32 // max(c, 32), 256))
    else:
        while width > 8 and c < 128 * width:
            width //= 2
    return (-(-c // width), chunks), width


class ReduceOps(Launcher):
    def sum_squares(self, x: Array) -> Any:
        if not x.size or not takes(x):
            return NotImplemented
        return self._total(self._squares(x))

    def global_norm(self, x: Array) -> Any:
        if not x.size or not takes(x):
            return NotImplemented
        return self._by_one_block("root_of_total", self._squares(x))

    def _squares(self, x: Array) -> Array:
        """Compute parts of the sum of squares, one for each block."""
        parts = self.empty((min(-(-x.size // _PER_BLOCK), _PARTS),), x.dtype)
        self.kernel("reduce.cu", "sum_squares", x)((parts.size,), (BLOCK,), (x, parts, size(x.size)))
        return parts

    def _total(self, parts: Array) -> Array:
        """Compute the sum of a 1-D array, 0-d: by a second launch, unless there is but one element.

        A counter that tells the last block of the first launch to do this would save a launch, but has to be shared by
        all launches, which then may not overlap: on two streams, or in the branches of a graph.
        """
        return parts.reshape(()) if parts.size == 1 else self._by_one_block("total", parts)

    def _by_one_block(self, name: str, parts: Array) -> Array:
        out = self.empty((), parts.dtype)
        self.kernel("reduce.cu", name, parts)((1,), (1024,), (parts, out, size(parts.size)))
        return out

    def count_correct(self, y: Array, t: Array) -> Any:
        rows = t.ndim == 2
        if not y.size or not takes(y, t if rows else None) or not (rows or is_labels(t)):
            return NotImplemented
        n, c = y.shape
        per_row = lanes(c) if c <= 32 * 32 else BLOCK
        correct = self.xp.zeros((), np.int64)
        self.kernel("reduce.cu", "count_correct", y)(
            self.blocks(n, BLOCK // per_row),
            (BLOCK,),
            (y, None if rows else t, t if rows else None, correct, size(n), size(c), np.int32(per_row)),
        )
        return correct


def is_labels(t: Array) -> bool:
    """Return whether kernels can read t as labels."""
    return bool(t.ndim == 1 and t.dtype == np.int64 and t.flags.c_contiguous)
