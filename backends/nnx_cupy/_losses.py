"""Softmax, and the losses with their gradients."""

from typing import Any

import numpy as np

from ._bias import BiasOps
from ._launch import BLOCK, Array, Formula, size, takes
from ._reduce import ReduceOps, is_labels, lanes, tiles

_HELD = 32 * 32
"""Bytes of a row that a warp holds in its registers, as in softmax.cu."""
_WIDEST = 4096
"""Threads of softmax.cu's largest block, times the bytes of an element."""
_SMALL = 16
"""Elements per thread up to which one block does all of a loss: of more blocks, the further launches cost more."""
_STATIC = 1024
"""Bytes of shared memory that a kernel may take beside the dynamic ones."""


class LossOps(BiasOps, ReduceOps):
    def softmax(self, x: Array, *, out: Array | None = None) -> Any:
        if not x.size or not takes(x, out):
            return NotImplemented
        y = self.empty(x.shape, x.dtype) if out is None else out
        if x.shape[1] * x.itemsize <= _HELD:
            self._few((x, None, None, None, None, y, None, None), BLOCK)
        else:
            self._many((x, None, None, None, None, y, None))
        return y

    def softmax_cross_entropy(
        self,
        z: Array,
        t: Array,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        labels, targets = (t, None) if t.ndim == 1 else (None, t)
        if not z.size or not takes(z, targets, weight, bias, dz, db) or not (labels is None or is_labels(labels)):
            return NotImplemented
        n, c = z.shape
        if db is not None and dz is None:
            dz = self.empty(z.shape, z.dtype)
        widest = _WIDEST // z.itemsize
        if c * z.itemsize > _HELD:
            loss = self.empty((n,), z.dtype)
            self._many((z, bias, labels, targets, weight, dz, loss))
        elif z.size <= _SMALL * widest:
            loss = self.empty((), z.dtype)
            self._few((z, bias, labels, targets, weight, dz, db, loss), widest, n)
            return loss
        else:
            loss = self.empty((-(-n // (BLOCK // lanes(c))),), z.dtype)
            self._few((z, bias, labels, targets, weight, dz, None, loss), BLOCK)
        if db is not None:
            self._column_sums(dz, db)
        return self._total(loss)

    def _few(self, arrays: tuple[Any, ...], threads: int, rows: int | None = None) -> None:
        """Launch blocks of `rows` rows each: by default as many as a block does at once."""
        z = arrays[0]
        n, c = z.shape
        per_row = lanes(c)
        rows = rows or threads // per_row
        self.kernel("softmax.cu", "softmax_few", z)(
            (-(-n // rows),), (threads,), (*arrays, size(n), size(c), np.int32(per_row), size(rows))
        )

    def _many(self, arrays: tuple[Any, ...]) -> None:
        """Launch a block for each row: one or two packs for a thread, if that suffices."""
        z = arrays[0]
        n, c = z.shape
        width = 16 // z.itemsize
        packs = -(-(c + width - 1) // width)  # wherever the row starts
        threads = min(max(1 << (packs // 2).bit_length(), 128), _WIDEST // z.itemsize)
        staged = 16 * packs <= self.device.shared_memory - _STATIC
        self.kernel("softmax.cu", "softmax_many", z)(
            (n,), (threads,), (*arrays, size(n), size(c), np.int32(staged)), shared_mem=16 * packs if staged else 0
        )

    def loss(
        self,
        formula: Formula,
        z: Array,
        t: Array,
        hyper: Array | None = None,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        if not z.size or not takes(z, t, hyper, weight, bias, dz, db):
            return NotImplemented
        n, c = z.shape
        small = c <= BLOCK and z.size <= _SMALL * BLOCK
        grid, width = ((1, 1), c) if small else tiles(n, c)
        loss = self.empty((grid[0] * grid[1],), z.dtype)
        sums = self.empty((grid[1], c), z.dtype) if db is None or grid[1] > 1 else db
        self.kernel("loss.cu", f"loss_{formula.name}", z, formula)(
            grid, (BLOCK,), (z, t, hyper, weight, bias, dz, loss, sums, size(n), size(c), np.int32(width))
        )
        if db is not None and sums is not db:
            self._column_sums(sums, db)
        return self._total(loss)
