"""Convolution and pooling, some pictures at a time: what is made of them stays in the second-level cache."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ._formula import Formula

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]

BLOCK = 2**20  # bytes: half of the second-level cache of many processors


def _output_size(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> Pair:
    down, across = ((shape[i + 1] + 2 * pad[i] - size[i]) // stride[i] + 1 for i in range(2))
    return down, across


def _at_once(n: int, size: int) -> int:
    """Return how many of n things, of so many bytes each, a block has."""
    return max(1, min(n, BLOCK // size))


def _blocks(n: int, size: int) -> Iterator[slice]:
    """Return the slices of n things that make blocks."""
    step = _at_once(n, size)
    return (slice(low, min(low + step, n)) for low in range(0, n, step))


def _is_affine(w: Array, stride: Pair, pad: Pair) -> bool:
    """Return whether a convolution is a product with the pixels as they are."""
    return w.shape[2:] == (1, 1) and stride == (1, 1) and pad == (0, 0)


def _pixels(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


class _Columns:
    """What lies under a window at each of its places, as rows (kh, kw, c), a block of places at a time.

    A block is of some pictures, or of some lines of places where one picture has more than a block.

    Args:
        x: (n, h, w, c).
        size: of the window.
        stride: of the window.
        pad: zeros around the pictures.
        one: whether each row ends with a 1, so that products with it add a bias, or sum a gradient up.
    """

    def __init__(self, x: Array, size: Pair, stride: Pair, pad: Pair, one: bool) -> None:
        n, h, w, c = x.shape
        (kh, kw), (oh, ow) = size, _output_size(x.shape, size, stride, pad)
        self.width, self._places = kh * kw * c, (oh, ow)
        length = self.width + one
        line = ow * length * x.itemsize
        self._x, self._pictures, self._lines = x, _at_once(n, oh * line), _at_once(oh, line)
        self._padded = None
        if pad != (0, 0):
            self._padded = np.zeros((self._pictures, h + 2 * pad[0], w + 2 * pad[1], c), x.dtype)
            self._inside = self._padded[:, pad[0] : pad[0] + h, pad[1] : pad[1] + w]
        source = x if self._padded is None else self._padded
        windows = np.lib.stride_tricks.sliding_window_view(source, size, axis=(1, 2))
        self._windows = windows[:, :: stride[0], :: stride[1]]
        rows, places = self._pictures * self._lines * ow, (self._pictures, self._lines, ow)
        # Copied is what lies together: of few channels the places along a line, else the pixels of a window's row.
        if c <= 3:
            memory = np.empty((length, rows), x.dtype)
            self._rows = memory.T
            self._parts = memory[: self.width].reshape(kh, kw, c, *places).transpose(3, 4, 5, 2, 0, 1)
        else:
            self._rows = np.empty((rows, length), x.dtype)
            parts = self._rows.reshape(*places, length)[..., : self.width]
            self._parts = parts.reshape(*places, kh, kw, c).transpose(0, 1, 2, 5, 3, 4)
        self._rows[:, self.width :] = 1

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        """Return, for each block, which ones of all places it has, and their rows; the next block overwrites them."""
        oh, ow = self._places
        for low in range(0, len(self._x), self._pictures):
            x = self._x[low : low + self._pictures]
            n = len(x)
            if self._padded is None:
                windows = self._windows[low : low + n]
            else:
                np.copyto(self._inside[:n], x)
                windows = self._windows[:n]
            for top in range(0, oh, self._lines):
                lines = windows[:, top : top + self._lines]
                np.copyto(self._parts[:n, : lines.shape[1]], lines)
                first, rows = (low * oh + top) * ow, n * lines.shape[1] * ow
                yield slice(first, first + rows), self._rows[:rows]


class _Reach(NamedTuple):
    """Along one axis: the places at which an element of a window is on the pictures, and where it lies there."""

    places: slice
    pixels: slice


def _reach(k: int, length: int, places: int, stride: int, pad: int) -> _Reach:
    """Return the reach of a window's k-th element, on pictures of a length."""
    low = max(0, -((k - pad) // stride))
    high = max(low, min(places, (length - 1 + pad - k) // stride + 1))
    start = low * stride + k - pad
    stop = start + (high - low - 1) * stride + 1 if high > low else start
    return _Reach(slice(low, high), slice(start, stop, stride))


def _reaches(shape: Pair, size: Pair, stride: Pair, pad: Pair) -> tuple[list[_Reach], list[_Reach]]:
    """Return the reach of each row and of each column of a window on pictures of this height and width."""
    places = _output_size((0, *shape), size, stride, pad)
    down, across = ([_reach(k, shape[i], places[i], stride[i], pad[i]) for k in range(size[i])] for i in range(2))
    return down, across


def _combined(x: Array, out: Array, size: Pair, stride: Pair, pad: Pair, ufunc: Any, start: float) -> None:
    """Combine the elements of each window by an ufunc: of each of its columns first, and then these.

    start: what changes nothing.
    """
    n, h, w, c = x.shape
    down, across = _reaches((h, w), size, stride, pad)
    picture = h * w * c * x.itemsize
    memory = np.empty((_at_once(n, picture), out.shape[1], w, c), x.dtype)
    for part in _blocks(n, picture):
        given, wanted = x[part], out[part]
        columns = memory[: len(given)]
        _combined_along(given, columns, down, ufunc, start)
        _combined_along(columns.swapaxes(1, 2), wanted.swapaxes(1, 2), across, ufunc, start)


def _combined_along(x: Array, out: Array, reaches: list[_Reach], ufunc: Any, start: float) -> None:
    """Combine the elements of each window along the second axis."""
    everywhere = slice(0, out.shape[1])
    if len(reaches) > 1 and reaches[0].places == reaches[1].places == everywhere:
        first, second, *reaches = reaches
        ufunc(x[:, first.pixels], x[:, second.pixels], out=out)
    else:
        out.fill(start)
    for places, pixels in reaches:
        ufunc(out[:, places], x[:, pixels], out=out[:, places])


def _first_places(x: Array, y: Array, index: Array, size: Pair, stride: Pair, pad: Pair) -> None:
    """Write which element of each window y is, the first one of equals."""
    n, h, w, c = x.shape
    down, across = _reaches((h, w), size, stride, pad)
    elements = [(p, q) for p in range(size[0]) for q in range(size[1])]
    for part in _blocks(n, h * w * c * x.itemsize):
        given, greatest, first = x[part], y[part], index[part]
        nan = bool(np.isnan(np.maximum.reduce(greatest, axis=None)))
        first.fill(255)
        for p, q in elements:
            rows, columns = down[p], across[q]
            places = slice(None), rows.places, columns.places
            numbers = given[:, rows.pixels, columns.pixels]
            found = np.equal(numbers, greatest[places])
            if nan:
                found |= np.isnan(numbers)
            # 0 for what was found and 255 for the rest, and with the element's number: that, and 255.
            number = np.subtract(found.view(np.uint8), np.uint8(1))
            np.bitwise_or(number, np.uint8(p * size[1] + q), out=number)
            np.minimum(first[places], number, out=first[places])


class PicturesOps:
    """Convolution and pooling."""

    affine: Callable[..., Any]
    affine_backward: Callable[..., Any]
    activation: Callable[..., Any]

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
        (f, c, kh, kw), n = w.shape, len(x)
        y = np.empty((n, *_output_size(x.shape, (kh, kw), stride, pad), f), x.dtype) if out is None else out
        if not y.flags.c_contiguous:
            return NotImplemented
        if _is_affine(w, stride, pad):
            self.affine(_pixels(x), w.reshape(f, c).T, b, activation=activation, out=_pixels(y))
            return y
        columns = _Columns(x, (kh, kw), stride, pad, b is not None)
        filters = np.empty((columns.width + (b is not None), f), x.dtype)
        filters[: columns.width].reshape(kh, kw, c, f)[...] = w.transpose(2, 3, 1, 0)
        if b is not None:
            filters[-1] = b
        pixels = _pixels(y)
        for part, rows in columns:
            np.matmul(rows, filters, out=pixels[part])
        return y if activation is None else self.activation(activation, y, out=y)

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
        f, c, kh, kw = w.shape
        pixels = _pixels(dy)
        if _is_affine(w, stride, pad):
            if dx is not None and not dx.flags.c_contiguous:
                return NotImplemented
            by_filter = None if dw is None else dw[:, :, 0, 0].T
            into = None if dx is None else _pixels(dx)
            self.affine_backward(pixels, _pixels(x), w.reshape(f, c).T, dx=into, dw=by_filter, db=db)
            return None
        if dw is None:
            self.affine_backward(pixels, x, w, db=db)
        else:
            columns = _Columns(x, (kh, kw), stride, pad, db is not None)
            total: Any = 0
            for part, rows in columns:
                total = total + np.matmul(rows.T, pixels[part])
            dw[...] = total[: columns.width].reshape(kh, kw, c, f).transpose(3, 2, 0, 1)
            if db is not None:
                db[...] = total[-1]
        if dx is not None:
            self._spread(dy, w, stride, pad, dx)
        return None

    def _spread(self, dy: Array, w: Array, stride: Pair, pad: Pair, dx: Array) -> None:
        """Write the gradient of a convolution's input: a product for each pixel of the filters, added at its places."""
        (f, c, kh, kw), (n, oh, ow, _) = w.shape, dy.shape
        down, across = _reaches(dx.shape[1:3], (kh, kw), stride, pad)
        filters = np.ascontiguousarray(w.transpose(2, 3, 0, 1)).reshape(kh * kw, f, c)
        number = kh * kw if c == 1 else 1  # products with a single column are slow: of one channel all are one
        picture = number * oh * ow * c
        memory = np.empty(_at_once(n, picture * dy.itemsize) * picture, dy.dtype)
        for part in _blocks(n, picture * dy.itemsize):
            pictures, pixels = dx[part], _pixels(dy[part])
            parts = memory[: len(pictures) * picture].reshape(number, len(pictures), oh, ow, c)
            if c == 1:
                np.matmul(filters[:, :, 0], pixels.T, out=parts.reshape(number, -1))
            pictures.fill(0)
            for k in range(kh * kw):
                if c > 1:
                    np.matmul(pixels, filters[k], out=_pixels(parts))
                added = parts[k if c == 1 else 0]
                (rows, i), (columns, j) = down[k // kw], across[k % kw]
                pictures[:, i, j] += added[:, rows, columns]

    def max_pooling(
        self,
        x: Array,
        *,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
        index: Array | None = None,
    ) -> Array:
        shape = len(x), *_output_size(x.shape, size, stride, pad), x.shape[3]
        y = np.empty(shape, x.dtype) if out is None else out
        _combined(x, y, size, stride, pad, np.maximum, -np.inf)
        if index is not None:
            _first_places(x, y, index, size, stride, pad)
        return y

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
    ) -> Array:
        n, c = len(dy), dy.shape[3]
        dx = np.empty((n, *shape, c), dy.dtype) if out is None else out
        down, across = _reaches(shape, size, stride, pad)
        apart = stride[0] >= size[0] and stride[1] >= size[1]
        bits = np.dtype(f"i{dy.itemsize}")
        for part in _blocks(n, shape[0] * shape[1] * c * dy.itemsize):
            given, at, pictures = dy[part].view(bits), index[part], dx[part]
            pictures.fill(0)
            for p, (rows, i) in enumerate(down):
                for q, (columns, j) in enumerate(across):
                    places = slice(None), rows, columns
                    chosen = (at[places] == p * size[1] + q).astype(bits)
                    np.multiply(chosen, given[places], out=chosen)  # of bits: NaN times 0 would be NaN
                    if apart:
                        pictures[:, i, j] = chosen.view(dy.dtype)
                    else:
                        pictures[:, i, j] += chosen.view(dy.dtype)
        return dx

    def average_pooling(
        self, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Array:
        shape = len(x), *_output_size(x.shape, size, stride, pad), x.shape[3]
        y = np.empty(shape, x.dtype) if out is None else out
        _combined(x, y, size, stride, pad, np.add, 0.0)
        return np.divide(y, x.dtype.type(size[0] * size[1]), out=y)

    def average_pooling_backward(
        self,
        dy: Array,
        *,
        shape: Pair,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
    ) -> Array:
        n, oh, _, c = dy.shape
        dx = np.empty((n, *shape, c), dy.dtype) if out is None else out
        down, across = _reaches(shape, size, stride, pad)
        picture = shape[0] * shape[1] * c * dy.itemsize
        memory = np.empty((_at_once(n, picture), oh, shape[1], c), dy.dtype)
        for part in _blocks(n, picture):
            pictures = dx[part]
            share = dy[part] / dy.dtype.type(size[0] * size[1])
            between = memory[: len(share)]
            between.fill(0)
            for columns, j in across:
                between[:, :, j] += share[:, :, columns]
            pictures.fill(0)
            for rows, i in down:
                pictures[:, i] += between[:, rows]
        return dx
