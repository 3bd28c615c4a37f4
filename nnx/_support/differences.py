"""Numerical derivatives."""

from collections.abc import Callable
from typing import Any


def central_difference(value: Callable[[], float], flat: Any, index: Any, h: float) -> float:
    """Estimate the derivative of `value()` by one element of an array, which is changed in between and restored.

    Args:
        value: computes with the array as it is.
        flat: the array.
        index: of the element.
        h: the step: (f(x + h) - f(x - h)) / 2h.
    """
    before = float(flat[index])
    try:
        flat[index] = before + h
        above = value()
        flat[index] = before - h
        below = value()
    finally:
        flat[index] = before
    return (above - below) / (2 * h)
