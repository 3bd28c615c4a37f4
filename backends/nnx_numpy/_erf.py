"""The error function, which NumPy lacks."""

from typing import Any

import numpy as np
from nnx_kernels.erf import SERIES, TAIL

Array = np.ndarray[Any, Any]


def erf(x: Array, out: Array) -> Array:
    """Compute the error function of x into `out`, which may be x; by two polynomials, see `nnx_kernels.erf`."""
    size = np.abs(x)
    square = np.minimum(size, 1)
    np.multiply(square, square, out=square)
    terms = SERIES if x.dtype == np.float64 else SERIES[:10]
    near = _polynomial((terms[0] - 1, *terms[1:]), square)
    np.add(np.multiply(near, x, out=near), x, out=near)
    inside = size < 1
    np.minimum(size, 6, out=size)
    u = np.add(size, 2)
    np.subtract(np.divide(9.6, u, out=u), 2.2, out=u)
    far = _polynomial(TAIL[str(x.dtype)], u)
    np.multiply(size, size, out=size)
    np.multiply(far, np.exp(np.negative(size, out=size), out=size), out=far)
    np.copysign(np.subtract(1, far, out=far), x, out=far)
    np.copyto(far, near, where=inside)
    np.copyto(out, far)
    return out


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Compute sum(coefficients[k] * x**k), by Horner's rule."""
    y = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        np.add(np.multiply(y, x, out=y), c, out=y)
    return y
