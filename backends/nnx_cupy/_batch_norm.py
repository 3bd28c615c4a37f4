"""Batch normalization."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher, size, takes
from ._reduce import tiles


class BatchNormOps(Launcher):
    def batch_norm(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        hyper: Array,
        *,
        out: Array | None = None,
        mean: Array | None = None,
        var: Array | None = None,
    ) -> Any:
        if not x.size or not takes(x, gamma, beta, hyper, out, mean, var):
            return NotImplemented
        y = self.empty(x.shape, x.dtype) if out is None else out
        self._by_tiles("batch_norm", (x,), (x, gamma, beta, hyper, y, mean, var), 4)
        return y

    def batch_norm_backward(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        hyper: Array,
        *,
        out: Array | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        if not x.size or not takes(x, dy, gamma, mean, var, hyper, out, dgamma, dbeta, db):
            return NotImplemented
        dx = self.empty(x.shape, x.dtype) if out is None else out
        self._by_tiles("batch_norm_backward", (dy, x, mean), (dy, x, gamma, mean, var, hyper, dx, dgamma, dbeta, db), 2)
        return dx

    def _by_tiles(self, name: str, measured: tuple[Array, ...], arrays: tuple[Array | None, ...], words: int) -> None:
        """Launch the kernel `name`, for a tall matrix after `name`_parts.

        words: how many numbers that leaves for each column.
        """
        (n, c), dtype = measured[0].shape, measured[0].dtype
        grid, width = tiles(n, c)
        shape = size(n), size(c), np.int32(width)
        parts = None
        if grid[1] > 1:
            parts = self.empty((grid[1], c, words), dtype)
            self.kernel("batch_norm.cu", f"{name}_parts", parts)(grid, (BLOCK,), (*measured, parts, *shape))
        self.kernel("batch_norm.cu", name, measured[0])(grid, (BLOCK,), (*arrays, parts, *shape))

    def batch_norm_inference(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        hyper: Array,
        *,
        out: Array | None = None,
    ) -> Any:
        if not x.size or not takes(x, gamma, beta, mean, var, hyper, out):
            return NotImplemented
        y = self.empty(x.shape, x.dtype) if out is None else out
        n, c = x.shape
        width = min(c, 32)
        rows = 8 * (BLOCK // width)  # eight for each thread, which reads its column's numbers once
        self.kernel("batch_norm.cu", "batch_norm_inference", x)(
            (-(-c // width), min(-(-n // rows), 65535)),
            (BLOCK,),
            (x, gamma, beta, mean, var, hyper, y, size(n), size(c), np.int32(width)),
        )
        return y
