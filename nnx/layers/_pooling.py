"""Pooling: one number for each window of a picture."""

from collections.abc import Sequence
from typing import Any

from .._support.arena import Spec
from .._support.checks import check_float
from ..errors import InputError
from ..ops import Array, Pair
from ._layer import Layer
from ._pictures import (
    channels_first,
    channels_last,
    check_pad,
    check_pictures,
    check_shape,
    output_shape,
    pair,
    shown,
)


class Pooling(Layer):
    """Base of the layers that have a window with size, stride and pad.

    x: (n, channels, h, w), y: (n, channels, oh, ow) with oh = (h + 2 * pad - size) // stride + 1, and so ow.

    Args:
        size: of the window: one number, or (height, width).
        stride: by how many pixels the window moves: one number, or (down, across). None: the size.
        pad: how far windows may reach beyond the pictures, at each side; less than the size.

    Raises:
        InputError: a number is too small or too large.
        InputTypeError: one is no whole number.
    """

    fields = ("size", "stride", "pad")

    def __init__(self, size: Any = 2, stride: Any = None, pad: Any = 0) -> None:
        super().__init__()
        kind = type(self).__name__
        self.window = pair(f"{kind}: size", size, 1)
        self.steps = self.window if stride is None else pair(f"{kind}: stride", stride, 1)
        self.margin = pair(f"{kind}: pad", pad, 0)
        check_pad(f"{kind}: pad", self.margin, self.window)
        self.size, self.pad = shown(self.window), shown(self.margin)
        self.stride = None if self.steps == self.window else shown(self.steps)

    @property
    def settings(self) -> dict[str, Pair]:
        """The arguments of the operations."""
        return {"size": self.window, "stride": self.steps, "pad": self.margin}

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        check_shape(self, shape)
        return (), (shape[0], *output_shape(self, shape[1:], self.window, self.steps, self.margin))

    def _checked(self, x: Array) -> Array:
        check_pictures(self, check_float(self.ops, "x", x))
        output_shape(self, x.shape[2:], self.window, self.steps, self.margin)
        return channels_last(self.ops, x)

    def _gradient(self, dout: Array, shape: tuple[int, ...]) -> Array:
        self._check_gradient(dout, (shape[0], shape[3], shape[1], shape[2]))
        return channels_last(self.ops, dout)


class MaxPooling(Pooling):
    """The greatest number of each window; the gradient goes to its place, the first one of equals.

    What lies beyond the pictures (`pad`) is never the greatest. A window has at most 256 pixels. Arguments are as for
    all poolings: `MaxPooling(2)`, `MaxPooling(3, stride=2, pad=1)`.
    """

    def __init__(self, size: Any = 2, stride: Any = None, pad: Any = 0) -> None:
        super().__init__(size, stride, pad)
        if self.window[0] * self.window[1] > 256:
            raise InputError(
                f"MaxPooling: size: got {self.window[0]} x {self.window[1]}, expected at most 256 pixels, as 16 x 16; "
                "take several poolings one after the other: they have the same result."
            )

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        ops, pictures = self.ops, self._checked(x)
        if not train_flg:
            return channels_first(ops, ops.max_pooling(pictures, **self.settings))
        places = output_shape(self, x.shape[2:], self.window, self.steps, self.margin)
        index = ops.xp.empty((x.shape[0], *places, x.shape[1]), dtype=ops.xp.uint8)
        y = ops.max_pooling(pictures, **self.settings, index=index)
        self._saved = index, (x.shape[2], x.shape[3])
        return channels_first(ops, y)

    def backward(self, dout: Array) -> Array:
        index, shape = self._last()
        dy = self._gradient(dout, index.shape)
        return channels_first(self.ops, self.ops.max_pooling_backward(dy, index, shape=shape, **self.settings))


class AveragePooling(Pooling):
    """The mean of each window. Beyond the pictures (`pad`) are zeros, which count."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        ops = self.ops
        y = ops.average_pooling(self._checked(x), **self.settings)
        if train_flg:
            self._saved = y.shape, (x.shape[2], x.shape[3])
        return channels_first(ops, y)

    def backward(self, dout: Array) -> Array:
        of_output, shape = self._last()
        dy = self._gradient(dout, of_output)
        return channels_first(self.ops, self.ops.average_pooling_backward(dy, shape=shape, **self.settings))


class GlobalAveragePooling(Layer):
    """The mean of each channel: (n, channels, h, w) becomes (n, channels) (Lin et al. 2013, "Network in network")."""

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        check_shape(self, shape)
        return (), (shape[0],)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        ops = self.ops
        check_pictures(self, check_float(ops, "x", x))
        if train_flg:
            self._saved = tuple(x.shape)
        whole = x.shape[2], x.shape[3]
        y = ops.average_pooling(channels_last(ops, x), size=whole, stride=whole)
        return ops.xp.reshape(y, (x.shape[0], x.shape[1]))

    def backward(self, dout: Array) -> Array:
        (n, c, h, w), ops = self._last(), self.ops
        self._check_gradient(dout, (n, c))
        dy = ops.xp.reshape(dout, (n, 1, 1, c))
        dx = ops.average_pooling_backward(dy, shape=(h, w), size=(h, w), stride=(h, w))
        return channels_first(ops, dx)
