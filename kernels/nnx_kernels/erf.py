"""The error function's coefficients: a series around 0 up to 1, and a polynomial for what is left of 1 beyond.

erf(x) = x * sum(SERIES[k] * x**(2 * k)) for |x| < 1: Taylor's coefficients, of which float32 needs ten. For x of 1 to 6
erf(x) = 1 - exp(-x**2) * sum(TAIL[k] * u**k), u = 9.6 / (x + 2) - 2.2 between -1 and 1: a Chebyshev interpolant of the
scaled complementary error function (in the manner of Cody 1969). Beyond 6 it is 1.
"""

import math

SERIES = tuple(2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(18))
TAIL = {
    "float32": (
        *(0.22142953896942177, 0.1618935702886036, 0.03856061080237595, 0.00558878613989338),
        *(0.00019693696658454747, -8.068263967698511e-05, -7.016015735719548e-06, 1.8306333605554929e-06),
    ),
    "float64": (
        *(0.2214295402299319, 0.1618935680410253, 0.03856057042517978, 0.005588816281831772, 0.00019713917780791941),
        *(-8.079220417869687e-05, -7.340518565833709e-06, 1.9795613896581875e-06, 1.6350171910508552e-07),
        *(-7.005211330007554e-08, -5.934714271547705e-10, 2.6226937354402052e-09, -2.6295084550340273e-10),
        *(-7.301433509147835e-11, 1.8522432799024714e-11),
    ),
}
