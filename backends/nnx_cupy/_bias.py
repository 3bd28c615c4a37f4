"""The bias of an affine layer and its gradient, the column sums, for kernels that work down the columns of a matrix."""

import math

import numpy as np

from ._launch import BLOCK, Array, Formula, Launcher, size

_ROWS = 1024
"""Up to so many rows one launch sums whole columns."""
_BLOCKS = 4096
"""Blocks that fill the largest GPU several times over. A constant: sums have the same bits on every GPU."""


class BiasOps(Launcher):
    """Operations on C-contiguous arrays of one dtype that the kernels are compiled for: the callers have checked."""

    def _column_sums(self, x: Array, db: Array) -> None:
        """Compute the sums of x's columns. x: (n, c), db: (c,)."""
        n, c = x.shape
        self._with_column_sums("bias.cu", "column_sums", (x,), db, n, c)

    def _map(
        self,
        file: str,
        name: str,
        inputs: tuple[Array, ...],
        out: Array | None,
        db: Array | None = None,
        formula: Formula = None,
    ) -> Array:
        """Apply the kernel `name` to the inputs, in the first one's shape; or `name`_sums, if db is given.

        db: (c,), the sums over all axes but the last.
        """
        x = inputs[0]
        y = self.empty(x.shape, x.dtype) if out is None else out
        if db is None:
            self.kernel(file, name, x, formula)(self.packs(x), (BLOCK,), (*inputs, y, size(x.size)))
        else:
            self._with_column_sums(
                file, f"{name}_sums", (*inputs, y), db, math.prod(x.shape[:-1]), x.shape[-1], formula
            )
        return y

    def _with_column_sums(
        self, file: str, name: str, args: tuple[Array, ...], db: Array, n: int, c: int, formula: Formula = None
    ) -> None:
        """Launch one pass of a kernel over (n, c) elements that sums their columns into db: (c,).

        The rows of a tall matrix are split into chunks, and the chunks' sums are summed by a second launch.
        """
        width, chunks = _columns(n, c), _chunks(n, c)
        sums = db if chunks == 1 else self.empty((chunks, c), db.dtype)
        grid = -(-c // width) or 1, chunks
        self.kernel(file, name, db, formula)(grid, (BLOCK,), (*args, sums, size(n), size(c), np.int32(width)))
        if chunks > 1:
            self._column_sums(sums, db)

    def _add_bias(self, y: Array, b: Array, activation: Formula = None) -> None:
        """Compute y += b, or the activation of that. y: (n, c), b: (c,)."""
        n, c = y.shape
        width = max(1, min(c, 32))
        rows = 8 * (BLOCK // width)  # eight for each thread, which reads its bias once
        grid = -(-c // width) or 1, min(-(-n // rows) or 1, 65535)
        if activation is None:
            kernel = self.kernel("bias.cu", "add_bias", y)
        else:
            kernel = self.kernel("activation.cu", f"add_bias_{activation.name}", y, activation)
        kernel(grid, (BLOCK,), (y, b, size(n), size(c), np.int32(width)))


def _columns(n: int, c: int) -> int:
    """Return the columns per block: a warp's, or fewer to have more blocks where rows are too few to be split."""
    width = max(1, min(c, 32))
    while n <= _ROWS and width > 8 and c < 128 * width:
        width //= 2
    return width


def _chunks(n: int, c: int) -> int:
    """Return the number of chunks of rows: at most 512, for the second launch's sake, each of 256 rows at least."""
    return 1 if n <= _ROWS else max(1, min(_BLOCKS // max(1, c // 32), n // 256, 512))
