"""Random words, and dropout by them: the same bits on every backend."""

import math
from typing import Any

import numpy as np

from ._bias import BiasOps
from ._launch import BLOCK, Array, contiguous, size, takes

_FILE = "dropout.cu"


class RandomOps(BiasOps):
    def philox(self, rng: Array, size: int, row: int = 1) -> Any:
        if not _is_stream(rng):
            return NotImplemented
        out = self.empty((size,), np.uint32)
        given = rng, out, np.int64(row), np.int64(size)
        self.device.kernel(_FILE, "philox", "float32")(self._fours(size), (BLOCK,), given)
        return out

    def dropout(
        self, x: Array, rng: Array, factor: Array, *, out: Array | None = None, mask: Array | None = None
    ) -> Any:
        if not (takes(x, factor, out) and _is_stream(rng) and contiguous(mask)):
            return NotImplemented
        y = self.empty(x.shape, x.dtype) if out is None else out
        given = x, rng, factor, y, mask, size(math.prod(x.shape[1:])), size(x.size)
        self.kernel(_FILE, "dropout", x)(self._fours(x.size), (BLOCK,), given)
        return y

    def dropout_backward(
        self, dy: Array, mask: Array, factor: Array, *, out: Array | None = None, db: Array | None = None
    ) -> Any:
        if not (takes(dy, factor, out, db) and contiguous(mask)):
            return NotImplemented
        return self._map(_FILE, "dropout_backward", (dy, mask, factor), out, db)

    def _fours(self, words: int) -> tuple[int]:
        """Return the grid of threads that have four words each."""
        return self.blocks(-(-words // 4))


def _is_stream(rng: Array) -> bool:
    return rng.dtype == np.uint32 and rng.size >= 7 and contiguous(rng)
