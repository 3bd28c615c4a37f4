"""Convolution: what lies under the filter at each place becomes a row of a matrix, which is multiplied (im2col)."""

from typing import Any

from ._launch import Array, Formula, takes
from ._products import ProductOps
from ._transpose import TransposeOps
from ._windows import Pair, WindowOps, Windows, are_pictures

_FILE = "patches.cu"
_ELEMENTS = 1 << 24
"""Of that matrix at most: it is made for so many pictures at a time. 64 MiB of float32; a constant, since the sums of
the weights' gradient go by it."""


class ConvolutionOps(ProductOps, TransposeOps, WindowOps):
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
        if not (are_pictures(x, w, out) and takes(x, w, b, out)) or not (activation is None or activation.uses("x")):
            return NotImplemented
        windows, f = Windows(x.shape[1:], w.shape[2:], stride, pad, x.dtype), len(w)
        if not windows.counted:
            return NotImplemented
        y = self.empty((len(x), *windows.places, f), x.dtype) if out is None else out
        filters = self._pack(w)
        for block in _blocks(windows, len(x)):
            self.affine(self._patches(x[block], windows), filters, b, activation=activation, out=_rows(y[block]))
        return y

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
        if not (are_pictures(dy, x, w, dx, dw) and takes(dy, x, w, dx, dw, db)):
            return NotImplemented
        windows = Windows(x.shape[1:], w.shape[2:], stride, pad, x.dtype)
        if not windows.counted:
            return NotImplemented
        if dw is not None:
            self._filters_backward(dy, x, windows, dw, db)
        elif db is not None:
            self._column_sums(_rows(dy), db)
        if dx is not None:
            self._pictures_backward(dy, w, windows, dx)
        return None

    def _filters_backward(self, dy: Array, x: Array, windows: Windows, dw: Array, db: Array | None) -> None:
        """Compute dw and db: a product for each block, and the sum of those in the blocks' order."""
        parts = _blocks(windows, len(x))
        products = self.empty((len(parts), windows.elements, len(dw)), x.dtype)
        of_one = db if len(parts) == 1 else None
        for block, product in zip(parts, products, strict=True):
            rows = self._patches(x[block], windows)
            self.affine_backward(_rows(dy[block]), rows, product, dw=product, db=of_one)  # which reads no weights
        total = products[0]
        if len(parts) > 1:
            total = self.empty(total.shape, x.dtype)
            self._column_sums(products.reshape(len(parts), -1), total.reshape(-1))
            if db is not None:
                self._column_sums(_rows(dy), db)
        self._unpack(total, dw)

    def _pictures_backward(self, dy: Array, w: Array, windows: Windows, dx: Array) -> None:
        """Compute dx: a product makes a row for each place, and each pixel gathers what is its own in the rows."""
        filters = self._pack(w)
        for block in _blocks(windows, len(dy)):
            gradients = _rows(dy[block])
            if windows.whole:
                self._product(gradients, filters.T, dx[block].reshape(len(gradients), -1))
            else:
                rows = self._product(gradients, filters.T, self.empty((len(gradients), windows.elements), dy.dtype))
                self._by_windows(_FILE, "patches_backward", windows, rows, dx[block])

    def _patches(self, x: Array, windows: Windows) -> Array:
        """Return what lies under the windows: (n * places, kh * kw * c)."""
        shape = len(x) * windows.places[0] * windows.places[1], windows.elements
        if windows.whole:
            return x.reshape(shape)
        rows = self.empty(shape, x.dtype)
        self._by_windows(_FILE, "patches", windows, x, rows)
        return rows


def _blocks(windows: Windows, n: int) -> list[slice]:
    return [slice(0, n)] if windows.whole else windows.blocks(n, _ELEMENTS)


def _rows(y: Array) -> Array:
    """Return pictures as a matrix of their pixels."""
    return y.reshape(-1, y.shape[3])
