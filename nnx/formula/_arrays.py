"""Instructions on arrays of any namespace, by Array API names: the specification."""

import math
from typing import Any


def on_arrays(xp: Any, op: str, args: list[Any], like: Any) -> Any:
    """Evaluate one operation on arrays and numbers.

    Args:
        xp: the arrays' namespace, by the Array API.
        op: a name of `OPERATIONS`.
        args: its arguments, arrays or floats.
        like: an array of the shape and dtype of the results.
    """
    a, b = args[0], args[-1]
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "neg":
            return -a
    # Functions want arrays, all of one dtype.
    arrays = [xp.full_like(like, x) if isinstance(x, float) else x for x in args]
    match op:
        case "sigmoid":
            e = xp.exp(-xp.abs(arrays[0]))
            return xp.where(arrays[0] >= 0, 1 / (1 + e), e / (1 + e))
        case "softplus":
            zero = xp.zeros_like(arrays[0])
            return xp.maximum(arrays[0], zero) + xp.log1p(xp.exp(-xp.abs(arrays[0])))
        case "erf":
            return _erf(xp, arrays[0])
    return getattr(xp, op)(*arrays)


def _erf(xp: Any, x: Any) -> Any:
    """Compute the error function by its series of positive terms (Abramowitz & Stegun, 7.1.6), without cancellation."""
    six = xp.full_like(x, 6.0)
    inside = xp.maximum(xp.minimum(x, six), -six)  # beyond, it is 1
    square = 2 * inside * inside
    term = total = inside
    for n in range(1, 160):
        term = term * square / (2 * n + 1)
        total = total + term
    value = 2.0 / math.sqrt(math.pi) * total * xp.exp(-square / 2)
    return xp.where(xp.abs(x) < 6, value, xp.sign(x))
