"""Convolution and pooling on Numba's kernels."""

from functools import lru_cache
from typing import Any

import numpy as np

from ._calls import as_rows, done
from ._tables import tables

Array = np.ndarray[Any, Any]
Formula = Any
Pair = tuple[int, int]


class PictureOps:
    """The operations on pictures, (n, h, w, c)."""

    _jit: Any
    _run: Any
    _scratch: Any
    _finish: Any
    _own_products: bool
    _bias: Any
    _convolution: Any
    _pooling: Any

    def convolution(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Pair = (1, 1),
        pad: Pair = (0, 0),
        activation: Formula | None = None,
        out: Array | None = None,
    ) -> Any:
        given = [a for a in (x, w, b, out) if a is not None]
        if not self._takes(given):
            return NotImplemented
        table = tables(x.shape[1:], w.shape, stride, pad, x.itemsize)
        y = np.empty((len(x), *table.output, len(w)), x.dtype) if out is None else out
        kernels, packed = self._convolution, self._scratch("filters", (w.size,), w.dtype)
        self._run(kernels.arrange, w.reshape(-1), table.order, packed)
        result = self._run(kernels.convolve, as_rows(x), packed, as_rows(y), len(w), *table.forward)
        return self._finish(done(result, y), b, activation)

    def convolution_backward(
        self,
        dy: Array,
        x: Array,
        w: Array,
        *,
        stride: Pair = (1, 1),
        pad: Pair = (0, 0),
        dx: Array | None = None,
        dw: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        if not self._takes([a for a in (dy, x, w, dx, dw, db) if a is not None]):
            return NotImplemented
        table, kernels = tables(x.shape[1:], w.shape, stride, pad, x.itemsize), self._convolution
        if db is not None:
            self._run(self._bias.column_sums, dy.reshape(-1, len(w)), db)
        if dw is not None:
            packed = self._scratch("filters", (w.size,), w.dtype)
            self._run(kernels.filter_gradient, as_rows(x), as_rows(dy), packed, len(w), *table.filters)
            self._run(kernels.arrange, packed, table.place, dw.reshape(-1))
        if dx is not None:
            packed = self._scratch("filters", (w.size,), w.dtype)
            self._run(kernels.arrange, w.reshape(-1), table.back, packed)
            self._run(kernels.convolve, as_rows(dy), packed, as_rows(dx), w.shape[1], *table.pictures)
        return None

    def _takes(self, arrays: list[Array]) -> bool:
        """Return whether the tiles take arrays: of one floating dtype, contiguous, and some of each."""
        dtype = arrays[0].dtype
        return (
            self._own_products
            and dtype in self._jit.FLOATS
            and all([a.dtype == dtype and a.flags.c_contiguous and a.size for a in arrays])  # noqa: C419  faster
        )

    # Pooling ----------------------------------------------------------------------------------------------------------

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
        numbers, shape = _windows(x.shape, size, stride, pad)
        y = np.empty(shape, x.dtype) if out is None else out
        which = np.empty(shape, np.uint8) if index is None else index
        if not (x.flags.c_contiguous and y.flags.c_contiguous and which.flags.c_contiguous):
            return NotImplemented
        return done(self._run(self._pooling.max_pooling, *map(as_rows, (x, y, which)), numbers), y)

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
        whole = (len(dy), *shape, dy.shape[3])
        numbers, _ = _windows(whole, size, stride, pad)
        dx = np.empty(whole, dy.dtype) if out is None else out
        if not (dy.flags.c_contiguous and index.flags.c_contiguous and dx.flags.c_contiguous):
            return NotImplemented
        return done(self._run(self._pooling.max_pooling_backward, *map(as_rows, (dy, index, dx)), numbers), dx)

    def average_pooling(
        self, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        numbers, shape = _windows(x.shape, size, stride, pad)
        y = np.empty(shape, x.dtype) if out is None else out
        if not (x.flags.c_contiguous and y.flags.c_contiguous):
            return NotImplemented
        return done(self._run(self._pooling.average_pooling, as_rows(x), as_rows(y), numbers), y)

    def average_pooling_backward(
        self, dy: Array, *, shape: Pair, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        whole = (len(dy), *shape, dy.shape[3])
        numbers, _ = _windows(whole, size, stride, pad)
        dx = np.empty(whole, dy.dtype) if out is None else out
        if not (dy.flags.c_contiguous and dx.flags.c_contiguous):
            return NotImplemented
        return done(self._run(self._pooling.average_pooling_backward, as_rows(dy), as_rows(dx), numbers), dx)

    def swap_axes(self, x: Array, *, out: Array | None = None) -> Any:
        n, a, b = x.shape
        y = np.empty((n, b, a), x.dtype) if out is None else out
        if not (x.flags.c_contiguous and y.flags.c_contiguous):
            return NotImplemented
        return done(self._run(self._pooling.swap_axes, as_rows(x), as_rows(y), a), y)


@lru_cache(64)
def _windows(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> tuple[Array, tuple[int, ...]]:
    """Return what the kernels of pooling are told of the sizes, and the result's shape."""
    n, h, w, c = shape
    oh, ow = ((shape[i + 1] + 2 * pad[i] - size[i]) // stride[i] + 1 for i in range(2))
    return np.array([h, w, c, oh, ow, *size, *stride, *pad], np.int64), (n, oh, ow, c)
