"""Convolution and pooling on Numba's kernels."""

from functools import lru_cache
from typing import Any

import numpy as np

from ._calls import as_rows, done, nothing
from ._jobs import partition
from ._tables import Tables, tables, windows

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
        table = self._tables(x, w, stride, pad, (b, out))
        if table is None:
            return NotImplemented
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
        table, kernels = self._tables(x, w, stride, pad, (dy, dx, dw, db)), self._convolution
        if table is None:
            return NotImplemented
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

    def _tables(self, x: Array, w: Array, stride: Pair, pad: Pair, others: tuple[Array | None, ...]) -> Tables | None:
        """Return the tables of a convolution; None for arrays that its kernels do not take.

        They are to be of one floating dtype, contiguous and not empty, and all but x may be written to: the kernels
        that bring filters into order and add up dy take no others.
        """
        dtype, rest = x.dtype, [w, *(a for a in others if a is not None)]
        if (
            not self._own_products
            or dtype not in self._jit.FLOATS
            or not all([a.dtype == dtype and a.flags.c_contiguous and a.size for a in (x, *rest)])  # noqa: C419  faster
            or not all([a.flags.writeable for a in rest])  # noqa: C419
        ):
            return None
        return tables(x.shape[1:], w.shape, stride, pad, x.itemsize)

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
        return self._by(self._pooling.max_pooling, (x, y, which), (x.shape[3],), lists.forward)

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
        return self._by(self._pooling.max_pooling_backward, (dy, index, dx), (c,), lists.backward, result=2)

    def average_pooling(
        self, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        n, *_, c = x.shape
        lists = windows(x.shape[1:], size, stride, pad)
        y = np.empty((n, *lists.output, c), x.dtype) if out is None else out
        return self._by(self._pooling.sums, (x, y), (c, _share(size, x.dtype)), lists.forward)

    def average_pooling_backward(
        self, dy: Array, *, shape: Pair, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Any:
        n, *_, c = dy.shape
        lists = windows((*shape, c), size, stride, pad)
        dx = np.empty((n, *shape, c), dy.dtype) if out is None else out
        return self._by(self._pooling.sums, (dy, dx), (c, _share(size, dy.dtype)), lists.backward)

    def _by(
        self,
        kernel: Any,
        arrays: tuple[Array, ...],
        numbers: tuple[Any, ...],
        lists: tuple[Array, ...] | None = (),
        result: int = 1,
    ) -> Any:
        """Call a kernel with rows of arrays, numbers and the lists of windows; return one of the arrays."""
        if not self._compiled or lists is None:
            return NotImplemented
        if not all([a.flags.c_contiguous and a.size for a in arrays]):  # noqa: C419  faster
            return NotImplemented
        return done(self._run(kernel, *map(as_rows, arrays), *numbers, *lists), arrays[result])

    def swap_axes(self, x: Array, *, out: Array | None = None) -> Any:
        n, a, b = x.shape
        y = np.empty((n, b, a), x.dtype) if out is None else out
        return self._by(self._axes.swap_axes, (x, y), (a,))


@lru_cache(64)
def _share(size: Pair, dtype: Any) -> Array:
    return np.array([1 / (size[0] * size[1])], dtype)
