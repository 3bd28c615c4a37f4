"""The book's `common.layers`: each keeps its arrays as attributes, `forward` what `backward` needs."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import layers
from ..backend import active_ops, script_dtype
from ..errors import InputError
from ..layers import RELU, SIGMOID
from ..ops import Array, HostArray, Ops, dtype_name
from . import functions as _functions
from ._arrays import (
    LEAST_OF_A_PRODUCT,
    channels_first,
    channels_last,
    floats,
    floats_of_images,
    floats_of_rows,
    is_plain,
    is_worth_it,
    like,
    native,
)
from .functions import *  # noqa: F403  as the book's module gives them on
from .functions import cross_entropy_error, sigmoid, softmax
from .util import col2im, from_columns, im2col, to_columns

__all__ = [
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "col2im",
    "im2col",
]
__all__ += _functions.__all__

_SIGMOID_BACKWARD = layers.Sigmoid().formula_backward


class Relu:
    """max(x, 0), elementwise.

    Attributes:
        mask: where the last x was not positive.
    """

    formula = RELU

    def __init__(self) -> None:
        self.mask: Array = None

    def forward(self, x: Array) -> Array:
        self.mask = x <= 0
        if not is_worth_it(x):
            out = x.copy()
            out[self.mask] = 0
            return out
        ops = active_ops()
        return like(ops, ops.activation(RELU, native(ops, x)), x)

    def take(self, out: Array) -> None:
        """Be as after the forward pass that has given this output."""
        self.mask = out <= 0

    def backward(self, dout: Array) -> Array:
        """Return dout itself, in which there is now 0 where x was not positive."""
        # Not ops.activation_backward, which multiplies: in a network that diverges, infinity times 0 is NaN.
        if not (isinstance(dout, np.ndarray) and isinstance(self.mask, np.ndarray)):
            dout[self.mask] = 0
        elif (whole := _WHOLE.get(dout.dtype)) and dout.shape == self.mask.shape:
            bits = dout.view(whole)  # times 0 or 1: half the time of a copy of zeros
            np.multiply(bits, ~self.mask, out=bits)
        else:
            np.copyto(dout, 0, where=self.mask)
        return dout


_WHOLE: dict[Any, Any] = {np.dtype("float32"): np.dtype("uint32"), np.dtype("float64"): np.dtype("uint64")}


class Sigmoid:
    """1 / (1 + exp(-x)), elementwise.

    Attributes:
        out: the last output.
    """

    formula = SIGMOID

    def __init__(self) -> None:
        self.out: Array = None

    def forward(self, x: Array) -> Array:
        self.out = sigmoid(x)
        return self.out

    def take(self, out: Array) -> None:
        """Be as after the forward pass that has given this output."""
        self.out = out

    def backward(self, dout: Array) -> Array:
        if is_plain(dout, self.out) and not is_worth_it(dout):
            return dout * (1.0 - self.out) * self.out
        ops = active_ops()
        dy, y = floats(ops, dout, self.out)
        return like(ops, ops.activation_backward(_SIGMOID_BACKWARD, dy, None, y), dout)


class Affine:
    """x @ W + b, where x: (n, ...) is reshaped to rows. W: (i, o).

    Args:
        W: the weights.
        b: the bias, (o,).

    Attributes:
        dW: the gradient of W that `backward` finds.
        db: the gradient of b.
    """

    def __init__(self, W: Array, b: Array) -> None:
        self.W = W
        self.b = b
        self.x: Array = None
        self.original_x_shape: Any = None
        self.dW: Array = None
        self.db: Array = None

    def forward(self, x: Array) -> Array:
        self.take(x)
        if self._is_small():
            return np.dot(self.x, self.W) + self.b
        ops = active_ops()
        return like(ops, ops.affine(*floats_of_rows(ops, self.x, self.W, self.b)), x)

    def forward_into(self, activation: "Relu | Sigmoid", x: Array) -> Array:
        """Do what `forward` and the activation's do, as one operation; return the activation's output."""
        self.take(x)
        if self._is_small():
            return activation.forward(np.dot(self.x, self.W) + self.b)
        ops = active_ops()
        arrays = floats_of_rows(ops, self.x, self.W, self.b)
        out = like(ops, ops.affine(*arrays, activation=activation.formula), x)
        activation.take(out)
        return out

    def backward(self, dout: Array) -> Array:
        if self._is_small():
            self._small_gradients(dout)
            return np.dot(dout, self.W.T).reshape(self.original_x_shape)
        ops = active_ops()
        dy, x, w = self._floats(ops, dout)
        dx = ops.xp.empty(x.shape, dtype=w.dtype)
        self._gradients(ops, dy, x, w, dx)
        return like(ops, dx.reshape(self.original_x_shape), dout)

    def backward_to_parameters(self, dout: Array) -> None:
        """Do what `backward` does without the gradient of x, which nothing needs below the first layer."""
        if self._is_small():
            self._small_gradients(dout)
        else:
            ops = active_ops()
            dy, x, w = self._floats(ops, dout)
            self._gradients(ops, dy, x, w, None)

    def take(self, x: Array) -> None:
        """Be as after a forward pass of x."""
        self.original_x_shape = x.shape
        self.x = x if x.ndim == 2 else x.reshape(x.shape[0], -1)

    def _is_small(self) -> bool:
        """Return whether NumPy is to compute: for its arrays if they are small, or of other dtypes or shapes."""
        x, w, b = self.x, self.W, self.b
        if type(x) is type(w) is type(b) is np.ndarray and x.shape[0] * w.size < LEAST_OF_A_PRODUCT:
            return True
        if not (is_plain(x, w) and is_plain(b)):
            return False
        return np.ndim(b) != 1 or not (is_worth_it(x, 0) and is_worth_it(w, 0))

    def _small_gradients(self, dout: Array) -> None:
        self.dW, self.db = np.dot(self.x.T, dout), np.sum(dout, axis=0)

    def _floats(self, ops: Ops, dout: Array) -> list[Array]:
        x, dy, w = floats_of_rows(ops, self.x, dout, self.W)
        return [dy, x, w]

    def _gradients(self, ops: Ops, dy: Array, x: Array, w: Array, dx: Array | None) -> None:
        dw = ops.xp.empty(w.shape, dtype=w.dtype)
        db = ops.xp.empty(w.shape[1:], dtype=w.dtype)
        ops.affine_backward(dy, x, w, dx=dx, dw=dw, db=db)
        self.dW, self.db = like(ops, dw, self.W), like(ops, db, self.W)


class SoftmaxWithLoss:
    """Softmax and its cross-entropy error.

    Attributes:
        loss: the last `forward`'s value.
        y: the last softmax output, (n, c).
        t: the last targets.
    """

    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Array = None
        self.t: Array = None

    def forward(self, x: Array, t: Array) -> Any:
        """Return the loss, a number.

        Args:
            x: the scores (n, c).
            t: labels (n,), or one-hot rows (n, c).
        """
        self.t = t
        self.y = softmax(x)
        self.loss = cross_entropy_error(self.y, t)
        return self.loss

    def backward(self, dout: Any = 1) -> Array:
        """Return (y - t) / n; `dout` is ignored."""
        if is_plain(self.y, self.t):
            t = self.t
            if self.y.dtype == np.float32 and script_dtype() == "float32" and t.size == self.y.size:
                t = t.astype(np.float32)
            return _less_targets(np, self.y, t)
        ops = active_ops()
        y, t = native(ops, self.y), native(ops, self.t)
        return like(ops, _less_targets(ops.xp, y, ops.xp.astype(t, y.dtype) if t.size == y.size else t), self.y)


def _less_targets(xp: Any, y: Array, t: Array) -> Array:
    n = t.shape[0]
    if t.size == y.size:
        return (y - t) / n
    dx = xp.asarray(y, copy=True)
    dx[xp.arange(n), t] -= 1
    return dx / n


class Dropout:
    """Keeps each element with probability 1 - dropout_ratio while training (Srivastava et al. 2014).

    In prediction all elements are kept and multiplied by 1 - dropout_ratio.

    Args:
        dropout_ratio: in [0, 1].

    Attributes:
        mask: which elements were kept; drawn from NumPy's global generator.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio
        self.mask: Array = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.draw(x.shape)
        if not isinstance(x, np.ndarray):
            self.mask = active_ops().to_device(self.mask)
        return _masked(x, self.mask)

    def draw(self, shape: tuple[int, ...]) -> None:
        """Draw a mask."""
        self.mask = np.random.random_sample(shape) > self.dropout_ratio

    def backward(self, dout: Array) -> Array:
        return _masked(dout, self.mask)


def _masked(x: Array, mask: Array) -> Array:
    if is_plain(x, mask) and not is_worth_it(x):
        return x * mask
    ops = active_ops()
    (a,) = floats(ops, x)
    one = ops.xp.ones((), dtype=a.dtype)
    return like(ops, ops.dropout_backward(a, native(ops, mask), one), x)


class BatchNormalization:
    """gamma * (x - mean) / sqrt(var + 1e-6) + beta, by feature (Ioffe & Szegedy 2015).

    x: (n, c), or (n, c, h, w), of which every pixel of every channel is a feature. In training mean and variance are
    the batch's, and enter the running ones as running = momentum * running + (1 - momentum) * batch; in prediction they
    are the running ones.

    Args:
        gamma: the factors, one for each feature or a number.
        beta: the shifts, likewise.
        momentum: the weight of the old running statistics.
        running_mean: of earlier training; None: zeros, and running_var too.
        running_var: of earlier training.

    Attributes:
        dgamma: the gradient of gamma that `backward` finds.
        dbeta: the gradient of beta.
        xc: x less its mean, of the last training batch.
        xn: x normalised, likewise.
        std: its standard deviation, likewise.
    """

    _last: Any = None

    def __init__(
        self,
        gamma: Array,
        beta: Array,
        momentum: float = 0.9,
        running_mean: Array = None,
        running_var: Array = None,
    ) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.input_shape: Any = None
        self.batch_size: Any = None
        self.dgamma: Array = None
        self.dbeta: Array = None

    @property
    def xc(self) -> Array:
        return None if self._last is None else self._last[0] - self._last[1]

    @property
    def std(self) -> Array:
        return None if self._last is None else (self._last[2] + _EPS) ** 0.5

    @property
    def xn(self) -> Array:
        return None if self._last is None else self.xc / self.std

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        ops = active_ops()
        self.input_shape = x.shape
        rows, gamma, beta = self._native(ops, x)
        self.start(gamma)
        hyper = ops.to_device(self.hyper(dtype_name(rows)))
        if train_flg:
            mean, var = (ops.xp.empty(gamma.shape, dtype=gamma.dtype) for _ in range(2))
            y = ops.batch_norm(rows, gamma, beta, hyper, mean=mean, var=var)
            self._last = rows, mean, var
            self.take_statistics(rows.shape[0], mean, var)
        else:
            mean, var = floats(ops, self.running_mean, self.running_var, rows)[:2]
            y = ops.batch_norm_inference(rows, gamma, beta, mean, var, hyper)
        return like(ops, y.reshape(self.input_shape), x)

    def backward(self, dout: Array) -> Array:
        ops = active_ops()
        x, mean, var = self._last
        dy, gamma, _ = self._native(ops, dout)
        dgamma, dbeta = (ops.xp.empty(gamma.shape, dtype=gamma.dtype) for _ in range(2))
        hyper = ops.to_device(self.hyper(dtype_name(x)))
        dx = ops.batch_norm_backward(dy, x, gamma, mean, var, hyper, dgamma=dgamma, dbeta=dbeta)
        self.dgamma, self.dbeta = like(ops, dgamma, self.gamma), like(ops, dbeta, self.gamma)
        return like(ops, dx.reshape(self.input_shape), dout)

    def _native(self, ops: Ops, x: Array) -> list[Array]:
        """Return x as rows, and gamma and beta (which may be numbers) by feature."""
        rows = x if x.ndim == 2 else x.reshape(x.shape[0], -1)
        rows, gamma, beta = floats(ops, rows, self.gamma, self.beta)
        if gamma.ndim != 1 or beta.ndim != 1:
            zeros = ops.xp.zeros(rows.shape[1:], dtype=rows.dtype)
            gamma, beta = zeros + gamma, zeros + beta
        return [rows, gamma, beta]

    def hyper(self, dtype: str) -> HostArray:
        """Return the numbers that the operations take."""
        return np.array([_EPS, self.momentum, 1 - self.momentum], dtype)

    def start(self, gamma: Array) -> None:
        """Begin the running statistics, one for each of gamma, where there are none."""
        if self.running_mean is None:
            zeros = active_ops().xp.zeros
            self.running_mean, self.running_var = (zeros(gamma.shape, dtype=gamma.dtype) for _ in range(2))

    def take(self, x: Array, statistics: "tuple[Array, Array] | None") -> None:
        """Be as after a forward pass of x; in training with these mean and variance."""
        self.input_shape = x.shape
        if statistics is not None:
            self._last = x, *statistics

    def take_statistics(self, n: int, mean: Array, var: Array) -> None:
        """Let the statistics of a batch of n rows enter the running ones."""
        ops, keep = active_ops(), self.momentum
        self.batch_size = n
        self.running_mean = keep * native(ops, self.running_mean) + (1 - keep) * mean
        self.running_var = keep * native(ops, self.running_var) + (1 - keep) * var


_EPS = 1e-6


class Convolution:
    """Each filter of W: (filters, c, h, w) over images x: (n, c, H, W), plus b: (filters,).

    Args:
        W: the filters.
        b: the bias.
        stride: the step of the filter, at least 1.
        pad: the zeros around the images.

    Attributes:
        x: the last images.
        col: the images as a matrix, (n * out_h * out_w, c * h * w); made when it is asked for.
        col_W: the filters as a matrix, (c * h * w, filters), likewise.
        dW: the gradient of W that `backward` finds.
        db: the gradient of b.
    """

    _last: Any = None  # also of a layer that was pickled by the book's class

    def __init__(self, W: Array, b: Array, stride: int = 1, pad: int = 0) -> None:
        self.W, self.b = W, b
        self.stride, self.pad = stride, pad
        self.x: Array = None
        self.dW: Array = None
        self.db: Array = None

    @property
    def col(self) -> Array:
        if self._last is None:
            return None
        ops = active_ops()
        images = floats_of_images(ops, self.x, self.W)[0]
        return like(ops, to_columns(ops, images, self.W.shape[2], self.W.shape[3], self.stride, self.pad), self.x)

    @property
    def col_W(self) -> Array:  # noqa: N802  the book's name
        return None if self._last is None else self.W.reshape(self.W.shape[0], -1).T

    @property
    def _settings(self) -> dict[str, Any]:
        return {"stride": (self.stride, self.stride), "pad": (self.pad, self.pad)}

    def forward(self, x: Array) -> Array:
        """Return the filtered images, (n, filters, out_h, out_w).

        Raises:
            InputError: the images are smaller than a filter, or have another number of channels.
        """
        ops = active_ops()
        images, weights, bias = floats_of_images(ops, x, self.W, self.b)
        channels, size = weights.shape[1], (weights.shape[2], weights.shape[3])
        if images.shape[1] != channels:
            raise InputError(f"Convolution: got images of shape {tuple(x.shape)}, expected {channels} channels.")
        _check_size("Convolution", images.shape, size, self.pad)
        if tuple(bias.shape) != tuple(weights.shape[:1]):
            bias = ops.xp.zeros(weights.shape[:1], dtype=bias.dtype) + bias
        pictures = channels_last(ops, images)
        y = ops.convolution(pictures, weights, bias, **self._settings)
        self.x, self._last = x, (pictures, weights)
        return like(ops, channels_first(ops, y), x)

    def backward(self, dout: Array) -> Array:
        ops = active_ops()
        dy, pictures, weights = self._floats(ops, dout)
        dx = ops.xp.empty(pictures.shape, dtype=pictures.dtype)
        self._gradients(ops, dy, pictures, weights, dx)
        return like(ops, channels_first(ops, dx), dout)

    def backward_to_parameters(self, dout: Array) -> None:
        """Do what `backward` does without the gradient of x, which nothing needs below the first layer."""
        ops = active_ops()
        dy, pictures, weights = self._floats(ops, dout)
        self._gradients(ops, dy, pictures, weights, None)

    def _floats(self, ops: Ops, dout: Array) -> list[Array]:
        dy, pictures, weights = floats(ops, dout, *self._last)
        return [channels_last(ops, dy), pictures, weights]

    def _gradients(self, ops: Ops, dy: Array, pictures: Array, weights: Array, dx: Array | None) -> None:
        dw, db = (ops.xp.empty(shape, dtype=weights.dtype) for shape in (weights.shape, weights.shape[:1]))
        ops.convolution_backward(dy, pictures, weights, **self._settings, dx=dx, dw=dw, db=db)
        self.dW, self.db = like(ops, dw, self.W), like(ops, db, self.W)


_PRODUCTS, _ACTIVATIONS = (Affine.forward,), (Relu.forward, Sigmoid.forward)
_BACKWARDS = Affine.backward, Convolution.backward


def propagate(layers: Iterable[tuple[str, Any]], x: Array, train_flg: bool = False) -> Array:
    """Go forward through layers with their names, by which dropout and batch normalization are known, as in the book.

    An affine layer and an activation just behind it are one operation.
    """
    left = list(layers)
    while left:
        (key, layer), left = left[0], left[1:]
        if left and _does(layer, _PRODUCTS) and _does(left[0][1], _ACTIVATIONS):
            x, left = layer.forward_into(left[0][1], x), left[1:]
        elif "Dropout" in key or "BatchNorm" in key:
            x = layer.forward(x, train_flg)
        else:
            x = layer.forward(x)
    return x


def _does(layer: Any, methods: tuple[Any, ...]) -> bool:
    """Return whether a layer's forward pass is one of these, and not a script's own, which may do more."""
    return getattr(layer.forward, "__func__", None) in methods


def backpropagate(layers: Iterable[Any], dout: Array) -> None:
    """Go backward through layers, given from the lowest one up: of that only the parameters' gradients are needed."""
    lowest, *others = layers
    for layer in reversed(others):
        dout = layer.backward(dout)
    if getattr(lowest.backward, "__func__", None) in _BACKWARDS:  # not one of a script's own, which may do more
        lowest.backward_to_parameters(dout)
    else:
        lowest.backward(dout)


def _check_size(what: str, shape: tuple[int, ...], size: tuple[int, int], pad: int) -> None:
    """Raise if a window of this size has no place on images (n, c, h, w) with so many zeros around them."""
    if shape[2] + 2 * pad < size[0] or shape[3] + 2 * pad < size[1]:
        raise InputError(
            f"{what}: got images of {shape[2]} x {shape[3]} with pad={pad}, expected at least {size[0]} x {size[1]}."
        )


class Pooling:
    """The maximum of each window of pool_h x pool_w over images (n, c, H, W).

    Args:
        pool_h: the window's height.
        pool_w: the window's width.
        stride: the step of the window.
        pad: the zeros around the images, which may be the maximum.

    Attributes:
        x: the last images.
        arg_max: the maximum's place in each window, the first one of equals: int64, (n * out_h * out_w * c,).
    """

    _index: Array = None

    def __init__(self, pool_h: int, pool_w: int, stride: int = 2, pad: int = 0) -> None:
        self.pool_h, self.pool_w = pool_h, pool_w
        self.stride, self.pad = stride, pad
        self.x: Array = None

    @property
    def arg_max(self) -> Array:
        if self._index is None:
            return None
        ops = active_ops()
        return like(ops, ops.xp.astype(ops.xp.reshape(self._index, (-1,)), ops.xp.int64), self.x)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"size": (self.pool_h, self.pool_w), "stride": (self.stride, self.stride)}

    def forward(self, x: Array) -> Array:
        """Return the maxima, (n, c, out_h, out_w).

        Raises:
            InputError: the images are smaller than a window.
        """
        ops, pad = active_ops(), self.pad
        (images,) = floats_of_images(ops, x)
        _check_size("Pooling", images.shape, (self.pool_h, self.pool_w), pad)
        pictures = channels_last(ops, images)
        if pad:  # by zeros: beyond the borders of `ops.max_pooling` nothing is the greatest
            n, h, w, c = pictures.shape
            padded = ops.xp.zeros((n, h + 2 * pad, w + 2 * pad, c), dtype=pictures.dtype)
            padded[:, pad : pad + h, pad : pad + w, :] = pictures
            pictures = padded
        if self.pool_h * self.pool_w > _MOST_OF_A_WINDOW:
            y, self._index = self._wide(ops, pictures)
        else:
            self._index = ops.xp.empty(self._out_shape(pictures.shape), dtype=ops.xp.uint8)
            y = ops.max_pooling(pictures, **self._settings, index=self._index)
        self.x = x
        return like(ops, channels_first(ops, y), x)

    def _out_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        n, h, w, c = shape
        return n, (h - self.pool_h) // self.stride + 1, (w - self.pool_w) // self.stride + 1, c

    def _wide(self, ops: Ops, pictures: Array) -> tuple[Array, Array]:
        """Return maxima and places of windows that `ops.max_pooling` does not take, of (n, h, w, c)."""
        xp, shape = ops.xp, self._out_shape(pictures.shape)
        columns = to_columns(ops, xp.permute_dims(pictures, (0, 3, 1, 2)), self.pool_h, self.pool_w, self.stride, 0)
        windows = xp.reshape(columns, (-1, self.pool_h * self.pool_w))
        return xp.reshape(xp.max(windows, axis=1), shape), xp.reshape(xp.argmax(windows, axis=1), shape)

    def backward(self, dout: Array) -> Array:
        """Return dout at the places of the maxima, and 0 elsewhere."""
        ops, pad = active_ops(), self.pad
        (dy,) = floats(ops, dout)
        dy, (h, w) = channels_last(ops, dy), self.x.shape[2:]
        padded = h + 2 * pad, w + 2 * pad
        if self.pool_h * self.pool_w > _MOST_OF_A_WINDOW:
            dx = self._wide_backward(ops, dy, padded)
        else:
            dx = ops.max_pooling_backward(dy, self._index, shape=padded, **self._settings)
        return like(ops, channels_first(ops, dx[:, pad : pad + h, pad : pad + w, :]), dout)

    def _wide_backward(self, ops: Ops, dy: Array, padded: tuple[int, int]) -> Array:
        xp, (n, _, _, c), size = ops.xp, dy.shape, self.pool_h * self.pool_w
        windows = xp.zeros((math.prod(dy.shape), size), dtype=dy.dtype)
        windows[xp.arange(windows.shape[0]), xp.reshape(self._index, (-1,))] = xp.reshape(dy, (-1,))
        dx = from_columns(ops, windows, (n, c, *padded), self.pool_h, self.pool_w, self.stride, 0)
        return channels_last(ops, dx)


_MOST_OF_A_WINDOW = 256
"""How many elements a window of `ops.max_pooling` has at most."""
