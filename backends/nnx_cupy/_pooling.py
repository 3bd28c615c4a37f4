"""Max and average pooling. An element of a gradient gathers what windows have for it: no atomics, in a fixed order."""

from typing import Any

import numpy as np

from ._launch import Array, contiguous, takes
from ._windows import Pair, WindowOps, Windows, are_pictures

_FILE = "pooling.cu"


class PoolingOps(WindowOps):
    def max_pooling(
        self,
        x: Array,
        *,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
        index: Array | None = None,
    ) -> Any:
        if not _are_bytes(index):
            return NotImplemented
        return self._pool("max_pooling", x, size, stride, pad, out, index)

    def max_pooling_backward(
        self,
        dy: Array,
        index: Array,
        *,
        shape: Pair,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
    ) -> Any:
        if not _are_bytes(index):
            return NotImplemented
        return self._pool_backward("max_pooling_backward", dy, shape, size, stride, pad, out, index)

    def average_pooling(
        self, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        return self._pool("average_pooling", x, size, stride, pad, out)

    def average_pooling_backward(
        self,
        dy: Array,
        *,
        shape: Pair,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
    ) -> Any:
        return self._pool_backward("average_pooling_backward", dy, shape, size, stride, pad, out)

    def _pool(
        self, name: str, x: Array, size: Pair, stride: Pair, pad: Pair, out: Array | None, *others: Array | None
    ) -> Any:
        """Launch a kernel of x, the result, and perhaps an array of the result's shape."""
        if not (are_pictures(x, out) and takes(x, out)):
            return NotImplemented
        windows = Windows(x.shape[1:], size, stride, pad, x.dtype)
        return self._in_blocks(name, windows, (len(x), *windows.places, x.shape[3]), x, out, *others)

    def _pool_backward(
        self, name: str, dy: Array, shape: Pair, size: Pair, stride: Pair, pad: Pair, out: Array | None, *others: Array
    ) -> Any:
        """Launch a kernel of dy, the result, and perhaps an array of dy's shape."""
        if not (are_pictures(dy, out) and takes(dy, out)):
            return NotImplemented
        n, _, _, c = dy.shape
        windows = Windows((*shape, c), size, stride, pad, dy.dtype)
        return self._in_blocks(name, windows, (n, *shape, c), dy, out, *others)

    def _in_blocks(
        self,
        name: str,
        windows: Windows,
        shape: tuple[int, ...],
        given: Array,
        out: Array | None,
        *others: Array | None,
    ) -> Any:
        if not windows.counted:
            return NotImplemented
        result = self.empty(shape, given.dtype) if out is None else out
        for block in windows.blocks(len(given)):
            parts = [None if array is None else array[block] for array in others]
            self._by_windows(_FILE, name, windows, given[block], result[block], *parts)
        return result


def _are_bytes(index: Array | None) -> bool:
    return index is None or bool(index.dtype == np.uint8 and contiguous(index))
