"""exp(x) for x <= 0, in a form that LLVM vectorises: range reduction, a polynomial, the power of two by its bits.

The coefficients are Taylor's, up to the degree at which the remainder on |r| <= log(2)/2 is below half a rounding
error; log(2) comes in two parts, of which n times the upper is exact (Cody & Waite 1980).
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

_F = tuple(1 / math.factorial(i) for i in range(14))
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(c) for c in _F[2:8])
_LOG2E = np.float32(math.log2(math.e))
_HIGH, _LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ONE, _ZERO, _LEAST, _MIN = np.float32(1), np.float32(0), np.float32(-126), np.float32(-87.33)


def exp(x):
    """exp(x) for x <= 0: within 2 units in the last place, 0 where that would be denormal; NaN stays NaN."""
    return np.exp(x)


def _exp32(x):
    n = np.rint(x * _LOG2E)
    r = (x - n * _HIGH) - n * _LOW
    p = ((((_C7 * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _C2
    p = (p * r) * r + r + _ONE
    power = (np.int32(max(n, _LEAST)) + np.int32(127)) << np.int32(23)
    return _ZERO if x < _MIN else p * np.int32(power).view(np.float32)


def _exp64(x):
    n = np.rint(x * 1.4426950408889634)
    r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    p = _F[13]
    p = ((((p * r + _F[12]) * r + _F[11]) * r + _F[10]) * r + _F[9]) * r + _F[8]
    p = (((((p * r + _F[7]) * r + _F[6]) * r + _F[5]) * r + _F[4]) * r + _F[3]) * r + _F[2]
    p = (p * r) * r + r + 1.0
    power = (np.int64(max(n, -1022.0)) + 1023) << 52
    return 0.0 if x < -708.3 else p * np.int64(power).view(np.float64)


# The order of the operations matters here, whatever the kernel around it allows.
@overload(exp, jit_options={"fastmath": {"contract"}, "error_model": "numpy"})
def _exp(x):
    return _exp32 if x == types.float32 else _exp64
