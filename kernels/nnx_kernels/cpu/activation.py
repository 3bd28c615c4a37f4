"""Activations, and their backwards with the bias gradient of the layer below: `db` is empty where nobody wants it."""

from ._jit import kernel
from .exp import exp


@kernel("mm")
def relu(x, y):
    """y = max(x, 0)."""
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[i, j]
            y[i, j] = zero if v < zero else v


@kernel("mmmv")
def relu_backward(dy, y, dx, db):
    """dx = dy * (y > 0)."""
    zero, one = dy.dtype.type(0), dy.dtype.type(1)
    db[:] = 0
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] * (one if y[i, j] > zero else zero)
        for j in range(db.size):
            db[j] += dx[i, j]


@kernel("mm")
def sigmoid(x, y):
    """y = 1 / (1 + exp(-x))."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            v = x[i, j]
            e = exp(-abs(v))
            y[i, j] = (e if v < zero else one) / (one + e)


@kernel("mmmv")
def sigmoid_backward(dy, y, dx, db):
    """dx = dy * y * (1 - y)."""
    one = dy.dtype.type(1)
    db[:] = 0
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] * y[i, j] * (one - y[i, j])
        for j in range(db.size):
            db[j] += dx[i, j]


@kernel("mmmv")
def tanh_backward(dy, y, dx, db):
    """dx = dy * (1 - y**2)."""
    one = dy.dtype.type(1)
    db[:] = 0
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] * (one - y[i, j] * y[i, j])
        for j in range(db.size):
            db[j] += dx[i, j]


@kernel("vsv")
def scale(x, factor, y):
    """y = x * factor."""
    for i in range(x.size):
        y[i] = x[i] * factor
