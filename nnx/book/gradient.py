"""The book's `common.gradient`: derivatives by central differences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .._support.differences import central_difference
from ..backend import active_ops
from ..ops import Array

__all__ = ["np", "numerical_gradient", "numerical_gradient_2d"]

_H = 1e-4


def numerical_gradient(f: Callable[[Array], Any], x: Array) -> Array:
    """Approximate the gradient of f at x by (f(x + h) - f(x - h)) / 2h for each element, h = 1e-4.

    Args:
        f: takes x and gives a number.
        x: a floating array of any shape, NumPy's or the backend's. Its elements are changed one after another and
            restored, so that f may also read the same array elsewhere. Use float64: in float32 the differences are
            mostly rounding.

    Returns:
        The gradient, of x's shape and dtype.
    """
    gradient = np.zeros_like(x) if isinstance(x, np.ndarray) else active_ops().xp.zeros_like(x)
    for index in np.ndindex(*x.shape):
        gradient[index] = central_difference(lambda: f(x), x, index, _H)
    return gradient


def numerical_gradient_2d(f: Callable[[Array], Any], X: Array) -> Array:
    """Approximate the gradients of f at each row of X: (n, c), or at X itself: (c,)."""
    if X.ndim == 1:
        return numerical_gradient(f, X)
    gradient = np.zeros_like(X) if isinstance(X, np.ndarray) else active_ops().xp.zeros_like(X)
    for i in range(X.shape[0]):
        gradient[i] = numerical_gradient(f, X[i])
    return gradient
