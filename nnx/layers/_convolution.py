"""The convolutional layer."""

from collections.abc import Sequence
from typing import Any

from .._support.arena import Spec
from .._support.checks import check_count, check_flag, check_float
from ..errors import InputTypeError
from ..initializers import Init
from ..ops import Array
from ._pictures import channels_first, channels_last, check_pictures, check_shape, output_shape, pair, shown
from ._weights import Weighted


class Convolution(Weighted):
    """Filters over pictures: y[f] = b[f] + sum over c of the cross-correlation of x[c] with W[f, c] (LeCun 1998).

    x: (n, channels, h, w), W: (filters, channels, *size), b: (filters,), y: (n, filters, oh, ow) with
    oh = (h + 2 * pad - size) // stride + 1, and so ow.

    `Convolution(32, 3, pad=1)` gets its parameters when its model is built, b being 0 at first. `Convolution(W, b)`
    uses these arrays, in place and in their dtype (as a part of a model: copies of their values, in the model's dtype).

    Args:
        filters: the number of filters, at least 1; or the filters W, float32 or float64.
        size: of a filter: one number, or (height, width). With filters W: the bias b, an array of W's dtype, or None.
        stride: by how many pixels a filter moves, at least 1: one number, or (down, across).
        pad: how many zeros there are around the pictures, at each side: one number, or (above and below, left and
            right).
        bias: whether there is a bias, where `filters` is a number.
        init: the initial weights, as for `Affine`; i, the inputs of one output, is the size of a filter with its
            channels.

    Raises:
        InputError: an argument has a wrong value, shape or dtype.
        InputTypeError: an argument has a wrong type.
    """

    fields = ("filters", "size", "stride", "pad", "bias", "init")

    def __init__(
        self,
        filters: "int | Array",
        size: Any = None,
        stride: Any = 1,
        pad: Any = 0,
        *,
        bias: bool = True,
        init: Init = None,
    ) -> None:
        super().__init__(bias, init)
        if hasattr(filters, "shape") and len(filters.shape) > 0:
            self._adopt(filters, size, ("filters", "channels", "height", "width"), outputs=0)
            self.filters, window = int(filters.shape[0]), (int(filters.shape[2]), int(filters.shape[3]))
        else:
            self.filters = check_count("Convolution: filters", filters)
            if size is None or len(getattr(size, "shape", ())) > 0:  # a NumPy number has a shape, too
                given = "no size" if size is None else f"a bias but no filters ({filters!r})"
                raise InputTypeError(
                    f"Convolution: got {given}; write Convolution(filters, size), or pass arrays: Convolution(W, b)."
                )
            window = pair("Convolution: size", size, 1)
            self.bias = check_flag("Convolution: bias", bias)
        self.window, self.steps = window, pair("Convolution: stride", stride, 1)
        self.margin = pair("Convolution: pad", pad, 0)
        self.size, self.stride, self.pad = shown(window), shown(self.steps), shown(self.margin)

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        check_shape(self, shape)
        places = output_shape(self, shape[1:], self.window, self.steps, self.margin)
        specs = self._specs((self.filters, shape[0], *self.window), self.filters, f"{shape[0]} channels")
        return specs, (self.filters, *places)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._gradients()
        w, ops = self.params["W"], self.ops
        check_pictures(self, check_float(ops, "x", x), w.shape[1])
        output_shape(self, x.shape[2:], self.window, self.steps, self.margin)
        pictures = channels_last(ops, x)
        y = ops.convolution(pictures, w, self.params.get("b"), stride=self.steps, pad=self.margin)
        if train_flg:
            self._saved = pictures, y.shape
        return channels_first(ops, y)

    def backward(self, dout: Array) -> Array:
        (x, shape), grads, ops = self._last(), self._gradients(), self.ops
        self._check_gradient(dout, (shape[0], shape[3], shape[1], shape[2]))
        dy, dx = channels_last(ops, dout), ops.xp.empty_like(x)
        ops.convolution_backward(
            dy, x, self.params["W"], stride=self.steps, pad=self.margin, dx=dx, dw=grads["W"], db=grads.get("b")
        )
        return channels_first(ops, dx)
