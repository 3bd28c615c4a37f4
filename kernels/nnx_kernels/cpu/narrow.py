"""Rounding to formats of 16 bits, kept in float32."""

import math

import numpy as np

from ._jit import inlined, kernel

_BLOCK = 1024  # elements
_EXPONENT = np.uint32(0x7F800000)


@inlined
def _powers(bits, out):
    """Compute the bits of the power of two below each number."""
    for k in range(bits.size):
        out[k] = bits[k] & _EXPONENT


@inlined
def _round(x, powers, y, unit, least, greatest):
    """Round in float64, by adding and subtracting a number so large that the sum is a multiple of the rounding step."""
    for k in range(x.size):
        power = np.float64(powers[k])
        shift = max(power * unit, least) * (1.5 * 2.0**52)
        v = np.float64(x[k])
        v = (v + shift) - shift
        v = v if abs(v) <= greatest else np.inf
        y[k] = x[k] if power == np.inf else math.copysign(v, x[k])


@kernel("Wvvd", fast=False, writes="y", rows="bits x y")
def narrow(bits, x, y, numbers):
    """Compute y = x, rounded to multiples of `unit` times the power of two below it, or of `least` if that is more.

    Ties go to even, and numbers beyond `greatest` become infinite. bits: x's own, of float32. numbers: unit, least,
    greatest.
    """
    unit, least, greatest = numbers[0], numbers[1], numbers[2]
    held = np.empty(_BLOCK, np.uint32)
    powers = held.view(np.float32)
    for first in range(0, x.size, _BLOCK):
        last = min(first + _BLOCK, x.size)
        _powers(bits[first:last], held)
        _round(x[first:last], powers, y[first:last], unit, least, greatest)
