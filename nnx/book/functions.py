"""The book's `common.functions`: activations and losses."""

from typing import Any

import numpy as np

from ..backend import active_ops
from ..layers import RELU, SIGMOID
from ..ops import Array
from ._arrays import LEAST_OF_A_SOFTMAX, by_rows, floats, is_plain, is_worth_it, like, native, number

__all__ = [
    "cross_entropy_error",
    "identity_function",
    "np",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
]


def identity_function(x: Array) -> Array:
    """Return x itself."""
    return x


def step_function(x: Array) -> Array:
    """Return 1 where x is positive, else 0: int64, of x's shape."""
    if is_plain(x):
        return np.array(x > 0, dtype=int)
    return active_ops().xp.astype(x > 0, active_ops().xp.int64)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), elementwise."""
    if not is_worth_it(x):
        return 1 / (1 + np.exp(-x))
    ops = active_ops()
    (a,) = floats(ops, x)
    y = ops.activation(SIGMOID, a)
    return like(ops, y, x) if a.ndim else number(ops, y)


def sigmoid_grad(x: Array) -> Array:
    """Return the sigmoid's derivative, (1 - sigmoid(x)) * sigmoid(x)."""
    y = sigmoid(x)
    return (1.0 - y) * y


def relu(x: Array) -> Array:
    """Return max(x, 0), elementwise, in x's dtype."""
    if not is_worth_it(x):
        return np.maximum(0, x)
    ops = active_ops()
    a = native(ops, x)
    y = ops.activation(RELU, a)
    return like(ops, y, x) if a.ndim else number(ops, y)


def relu_grad(x: Array) -> Array:
    """Return 1 where x is at least 0, else 0, in x's dtype."""
    xp = np if is_plain(x) else active_ops().xp
    return xp.astype(x >= 0, x.dtype)


def softmax(x: Array) -> Array:
    """Return exp(x) / sum(exp(x)) over the last axis, of x's shape."""
    if not is_worth_it(x, LEAST_OF_A_SOFTMAX):
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
    ops = active_ops()
    (a,) = floats(ops, x)
    return like(ops, by_rows(ops, ops.softmax, a), x)


def sum_squared_error(y: Array, t: Array) -> Any:
    """Return sum((y - t)**2) / 2 over all elements: a number."""
    if is_plain(y, t):
        return 0.5 * np.sum((y - t) ** 2)
    ops = active_ops()
    a, b = floats(ops, y, t)
    return number(ops, 0.5 * ops.sum_squares(a - b))


def cross_entropy_error(y: Array, t: Array) -> Any:
    """Return -log(y + 1e-7) at the labels, averaged over the rows: a number.

    Args:
        y: probabilities, (c,) or (n, c).
        t: labels (n,), or one-hot rows of y's shape, whose maximum is the label.
    """
    if is_plain(y, t):
        if y.ndim == 1:
            y, t = y.reshape(1, y.size), t.reshape(1, t.size)
        if t.size == y.size:
            t = t.argmax(axis=1)
        n = y.shape[0]
        return -np.log(y[np.arange(n), t] + 1e-7).sum() / n
    ops = active_ops()
    (y,), t = floats(ops, y), native(ops, t)
    if y.ndim == 1:
        y, t = ops.xp.reshape(y, (1, -1)), ops.xp.reshape(t, (1, -1))
    if t.size == y.size:
        t = ops.xp.argmax(t, axis=1)
    n = y.shape[0]
    return number(ops, -ops.xp.sum(ops.xp.log(y[ops.xp.arange(n), t] + 1e-7)) / n)


def softmax_loss(X: Array, t: Array) -> Any:
    """Return the cross-entropy error of the softmax of X: (n, c); t as for `cross_entropy_error`."""
    return cross_entropy_error(softmax(X), t)
