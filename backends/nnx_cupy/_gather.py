"""The gather of a batch from a data set on the device."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher, contiguous, matrix, size, takes

_LARGEST_GRID = 65_535  # along y


class GatherOps(Launcher):
    def take(self, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Any:
        like = data if scale is None else scale
        rows = self.empty((len(index), *data.shape[1:]), like.dtype) if out is None else out
        if index.dtype != np.int64 or rows.dtype != like.dtype or not contiguous(data, index, rows):
            return NotImplemented
        n, length = matrix(rows)
        if scale is None:
            row_bytes = length * data.itemsize
            unit = next(unit for unit in (16, 8, 4, 1) if row_bytes % unit == 0)
            grid, lanes = _by_rows(n, row_bytes // unit)
            self.device.kernel("gather.cu", "take", "float32")(
                grid, (BLOCK,), (data, index, rows, size(n), size(row_bytes), lanes)
            )
            return rows
        if not takes(scale) or data.dtype not in (np.uint8, scale.dtype):
            return NotImplemented
        name = "take_scaled" if data.dtype == scale.dtype else "take_scaled_bytes"
        width = 16 // scale.itemsize
        grid, lanes = _by_rows(n, length if length % width else length // width)
        self.kernel("gather.cu", name, scale)(grid, (BLOCK,), (data, index, scale, rows, size(n), size(length), lanes))
        return rows


def _by_rows(n: int, units: int) -> tuple[tuple[int, int], np.int32]:
    """Return the grid for n rows of `units` each, and the threads for each row: a power of two."""
    lanes = min(BLOCK, 1 << max(0, units - 1).bit_length())
    return (-(-n // (BLOCK // lanes)) or 1, min(-(-units // lanes) or 1, _LARGEST_GRID)), np.int32(lanes)
