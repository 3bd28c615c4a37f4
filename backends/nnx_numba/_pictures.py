"""Convolution and pooling on Numba's kernels."""

from functools import lru_cache
from typing import Any

import numpy as np

from ._calls import as_rows, done, nothing
from ._jobs import partition
from ._tables import tables, windows

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
    _compiled: bool
    _bias: Any
    _convolution: Any
    _pooling: Any
    _axes: Any

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
        kernels, packed = self._convolution, self._scratch("filters", (1, w.size), w.dtype)
        self._run(kernels.arrange, w.reshape(-1), table.order, packed[0])
        # Without an activation the tiles begin with the bias.
        first = nothing(x) if b is None or activation is not None else b
        result = self._run(kernels.convolve, as_rows(x), packed, as_rows(y), first, len(w), *table.forward)
        y = done(result, y)
        return y if activation is None else self._finish(y, b, activation)

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
            given, packed = (as_rows(x), as_rows(dy)), self._scratch("filters", (w.size,), w.dtype)
            n, share = partition(kernels.filter_gradient, given)
            parts = self._scratch("parts", (-(-n // share), 1, w.size), w.dtype)
            self._run(kernels.filter_gradient, *given, parts, nothing(x), len(w), *table.filters)
            self._run(kernels.add_parts, parts[:, 0], packed, 0)
            self._run(kernels.arrange, packed, table.place, dw.reshape(-1))
        if dx is not None:
            packed = self._scratch("filters", (1, w.size), w.dtype)
            self._run(kernels.arrange, w.reshape(-1), table.back, packed[0])
            self._run(kernels.convolve, as_rows(dy), packed, as_rows(dx), nothing(x), w.shape[1], *table.pictures)
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
        lists = windows(x.shape[1:], size, stride, pad)
        shape = (len(x), *lists.output, x.shape[3])
        y = np.empty(shape, x.dtype) if out is None else out
        which = np.empty(shape, np.uint8) if index is None else index
        return self._by(self._pooling.max_pooling, (x, y, which), x.shape[3], *lists.forward)

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
        n, *_, c = dy.shape
        dx = np.empty((n, *shape, c), dy.dtype) if out is None else out
        lists = windows((*shape, c), size, stride, pad)
        return self._by(self._pooling.max_pooling_backward, (dy, index, dx), c, *lists.backward, result=2)

    def average_pooling(
        self, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        n, *_, c = x.shape
        lists = windows(x.shape[1:], size, stride, pad)
        y = np.empty((n, *lists.output, c), x.dtype) if out is None else out
        return self._by(self._pooling.sums, (x, y), c, _share(size, x.dtype), *lists.forward)

    def average_pooling_backward(
        self, dy: Array, *, shape: Pair, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        n, *_, c = dy.shape
        lists = windows((*shape, c), size, stride, pad)
        dx = np.empty((n, *shape, c), dy.dtype) if out is None else out
        return self._by(self._pooling.sums, (dy, dx), c, _share(size, dy.dtype), *lists.backward)

    def _by(self, kernel: Any, arrays: tuple[Array, ...], *numbers: Any, result: int = 1) -> Any:
        if not self._compiled or not all([a.flags.c_contiguous and a.size for a in arrays]):  # noqa: C419  faster
            return NotImplemented
        return done(self._run(kernel, *map(as_rows, arrays), *numbers), arrays[result])

    def swap_axes(self, x: Array, *, out: Array | None = None) -> Any:
        n, a, b = x.shape
        y = np.empty((n, b, a), x.dtype) if out is None else out
        return self._by(self._axes.swap_axes, (x, y), a)


@lru_cache(64)
def _share(size: Pair, dtype: Any) -> Array:
    return np.array([1 / (size[0] * size[1])], dtype)
