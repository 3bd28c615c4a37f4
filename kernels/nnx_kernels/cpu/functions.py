"""exp, log, log1p, tanh, erf, sigmoid and softplus in a form that LLVM vectorises: no branches, no tables, no calls.

Each is within 2 units in the last place, in float32 and in float64 (sigmoid and softplus, made of two, within 3); NaN
stays NaN, and an exponential that would be denormal is 0. The order of the operations is kept, whatever the kernel
around allows. log(2) comes in two parts, of which n times the upper is exact (Cody & Waite 1980).
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

from ..erf import SERIES, TAIL

_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True}
_OPTIONS |= {"no_cfunc_wrapper": True, "no_cpython_wrapper": True}  # kernels alone call them
_TANH = {  # of (tanh(x) / x - 1) / x**2 in x**2, for |x| below 0.55: Chebyshev interpolants
    "float32": (
        *(-0.33333333295332407, 0.1333332422363082, -0.0539646997377661, 0.02181837931632931, -0.008525833189068922),
        0.002525420410640587,
    ),
    "float64": (
        *(-0.33333333333333065, 0.13333333333268232, -0.053968253921329826, 0.021869486982874147),
        *(-0.008863207200050783, 0.0035918162162662634, -0.001453668572712107, 0.0005804108306158861),
        *(-0.00021228600476285396, 5.2332005113972464e-05),
    ),
}


@intrinsic
def _select(typing, condition, a, b):
    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    return a(condition, a, b), generate


def where(condition, a, b):
    """Return a where the condition holds, else b, without a branch.

    LLVM would move what only one of them needs into a branch, and then not vectorise.
    """
    return a if condition else b


@overload(where, inline="always")
def _where(condition, a, b):
    return lambda condition, a, b: _select(condition, a, b)  # noqa: PLW0108  Numba wants a Python function


def maximum(a, b):
    """Return the greater one; NaN where one is NaN."""
    return where((a < b) | (b != b), b, a)


def minimum(a, b):
    """Return the lesser one; NaN where one is NaN."""
    return where((a > b) | (b != b), b, a)


overload(maximum, inline="always")(lambda a, b: maximum)
overload(minimum, inline="always")(lambda a, b: minimum)


class _Format(NamedTuple):
    """A floating format: as numbers, as bits, and how many terms the series need."""

    real: type
    bits: type
    digits: int  # of the significand's bits
    bias: int
    high: float  # the upper part of log(2)
    low: float
    exp_terms: int
    log_terms: int
    erf_terms: int


_SINGLE = _Format(np.float32, np.int32, 23, 127, 0.693359375, -2.12194440e-4, 8, 5, 10)
_DOUBLE = _Format(*(np.float64, np.int64, 52, 1023, 0.693147180369123816490, 1.90821492927058770002e-10, 14, 10, 18))


def _polynomial(real, coefficients):
    """Compute sum(coefficients[k] * r**k), by Horner's rule."""
    names = {f"c{k}": real(c) for k, c in enumerate(coefficients)}
    text = f"c{len(names) - 1}"
    for k in reversed(range(len(names) - 1)):
        text = f"({text}) * r + c{k}"
    exec(f"def polynomial(r):\n    return {text}", names)
    return njit(**_OPTIONS)(names["polynomial"])


def _towards_zero(real, bound):
    """Round a bound so that it is not beyond itself."""
    nearest = real(bound)
    return nearest if abs(float(nearest)) <= abs(bound) else np.nextafter(nearest, real(0))


def _functions(f):
    """Make the functions of one format."""
    real, whole = f.real, f.bits
    one, half, two, infinity, nan = real(1), real(0.5), real(2), real(np.inf), real(np.nan)
    inverse, high, low = real(math.log2(math.e)), real(f.high), real(f.low)
    # Taylor's coefficients, up to where the remainder on |r| <= log(2) / 2 is below half a rounding error.
    rest = _polynomial(real, [1 / math.factorial(k) for k in range(2, f.exp_terms)])
    digits, bias = whole(f.digits), whole(f.bias)
    bottom, top = real(1 - f.bias), real(f.bias + 1)
    least, greatest = (_towards_zero(real, math.log(float(x))) for x in (np.finfo(real).tiny, np.finfo(real).max))
    root_half = whole(np.array(math.sqrt(0.5), real).view(whole))
    # log((1 + s) / (1 - s)) / s - 2, in s**2.
    odd = _polynomial(real, [2 / (2 * k + 3) for k in range(f.log_terms)])
    tiny, lift, lifted = real(np.finfo(real).tiny), real(2.0 ** (f.digits + 2)), real(f.digits + 2)
    series = _polynomial(real, [SERIES[0] - 1, *SERIES[1 : f.erf_terms]])
    tail = _polynomial(real, TAIL[np.dtype(real).name])
    near = _polynomial(real, _TANH[np.dtype(real).name])
    zero, six, edge = real(0), real(6), real(0.55)
    stretch, shift = real(9.6), real(2.2)

    def exp(x):
        n = np.rint(x * inverse)
        r = (x - n * high) - n * low
        p = (rest(r) * r) * r + r + one
        n = where(n > bottom, n, bottom)
        n = where(n < top, n, top)
        y = whole(real(p).view(whole) + (whole(n) << digits)).view(real)
        return where(x <= greatest, where(x < least, zero, y), x * infinity)

    def decay(x):
        n = np.rint(x * inverse)
        r = (x - n * high) - n * low
        p = (rest(r) * r) * r + r + one
        n = where(n > bottom, n, bottom)
        return where(x < least, zero, p * whole((whole(n) + bias) << digits).view(real))

    def log(x):
        small = x < tiny
        scaled = where(small, x * lift, x)
        bits = real(scaled).view(whole) - root_half
        k = bits >> digits
        f = whole(real(scaled).view(whole) - (k << digits)).view(real) - one
        n = real(k) - where(small, lifted, zero)
        s = f / (two + f)
        z = s * s
        square = half * f * f
        y = ((s * (square + z * odd(z)) + n * low) - square) + f + n * high
        y = where(x > zero, y, where(x == zero, -infinity, nan))
        return where(x < infinity, y, x)

    decay_, log_ = njit(**_OPTIONS)(decay), njit(**_OPTIONS)(log)

    def log1p(x):
        u = one + x
        y = log_(u)
        return where((u > zero) & (u < infinity), y + (x - (u - one)) / u, y)

    log1p_ = njit(**_OPTIONS)(log1p)

    def tanh(x):
        size = abs(x)
        e = decay_(-two * size)
        far = one - two * e / (one + e)
        z = x * x
        return where(size < edge, x + x * (z * near(z)), where(x < zero, -far, far))

    def erf(x):
        size = abs(x)
        inside = x + x * series(x * x)
        a = where(size > six, six, size)
        far = one - decay_(-a * a) * tail(stretch / (a + two) - shift)
        return where(size < one, inside, where(x < zero, -far, far))

    def sigmoid(x):
        e = decay_(-abs(x))
        return where(x < zero, e, one) / (one + e)

    def softplus(x):
        return where(x < zero, zero, x) + log1p_(decay_(-abs(x)))

    return {g.__name__: g for g in (exp, decay, log, log1p, tanh, erf, sigmoid, softplus)}


_OF = {types.float32: _functions(_SINGLE), types.float64: _functions(_DOUBLE)}


def _interpreted(name):
    """Return the function as Python calls it, for kernels that are not compiled."""

    def function(x):
        with np.errstate(all="ignore"):
            return _OF[types.float32 if x.dtype == np.float32 else types.float64][name](x)

    function.__name__ = name
    overload(function, jit_options=_OPTIONS, inline="never")(lambda x: _OF[x][name])
    return function


exp, decay, log, log1p, tanh, erf, sigmoid, softplus = map(_interpreted, _OF[types.float32])
"""decay: exp(x) for x <= 0, which is faster."""
