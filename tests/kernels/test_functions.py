"""The functions of formulas as Numba compiles them: within two units in the last place, special values, vectorised."""

import math
from functools import cache

import numpy as np
import pytest

pytest.importorskip("numba")
from nnx_kernels.cpu import functions
from numba import njit

L = np.longdouble


def exact_erf(x):
    """By its series of positive terms, in extended precision."""
    a = np.minimum(np.abs(x), L(7))
    term = total = a
    for n in range(1, 300):
        term = term * 2 * a * a / (2 * n + 1)
        total = total + term
    half = np.exp(-a * a) / np.sqrt(L(math.pi) + L(1.2246467991473532e-16))
    return np.sign(x) * np.minimum(2 * total * half, 1)


def exact_softplus(x):
    return np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x)))


EXACT = {
    **{name: getattr(np, name) for name in ("exp", "log", "log1p", "tanh")},
    "decay": np.exp,
    "erf": exact_erf,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": exact_softplus,
}
UNITS = {"sigmoid": 3, "softplus": 3}
SPECIAL = {  # NaN, infinity, -infinity, 0
    "exp": (np.nan, np.inf, 0, 1),
    "log": (np.nan, np.inf, np.nan, -np.inf),
    "log1p": (np.nan, np.inf, np.nan, 0),
    "tanh": (np.nan, 1, -1, 0),
    "erf": (np.nan, 1, -1, 0),
    "sigmoid": (np.nan, 1, 0, 0.5),
    "softplus": (np.nan, np.inf, 0, math.log(2)),
}


DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]  # each function is compiled anew


@cache
def kernel(name, dtype):
    """Return the function over an array, compiled for a dtype."""
    function = getattr(functions, name)

    @njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
    def over_all(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    over_all(np.ones(1, dtype), np.ones(1, dtype))
    return over_all


def points(name, dtype, every):
    r, far, info = np.random.default_rng(0), 88.7 if dtype == "float32" else 709.0, np.finfo(dtype)
    x = np.concatenate([
        np.linspace(-20, 20, 100_001), np.linspace(-far, far, 50_001), r.normal(size=100_000),
        10.0 ** r.uniform(-30, 30, 50_000) * r.choice([-1, 1], 50_000),
    ])[::every].astype(dtype)  # fmt: skip
    ends = np.log(np.array([info.tiny, info.max], "longdouble")).astype(dtype)  # of what exp can be
    x = np.concatenate([x, ends, np.nextafter(ends, dtype(0)), np.nextafter(ends, 2 * ends)])
    if name == "decay":
        x = -np.abs(x)
    if name == "log":
        x = np.abs(np.concatenate([x, info.tiny * r.random(1000, dtype), [info.tiny]]))  # denormal numbers
    if name == "erf":
        x = x[::8].copy()  # its exact value takes 300 terms
    return x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 100])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_within_two_units_in_the_last_place(name, dtype, every):
    x = points(name, np.dtype(dtype).type, every)
    y = np.empty_like(x)
    kernel(name, dtype)(x, y)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(L))
        rounded = exact.astype(dtype)
        units = np.abs(y.astype(L) - exact) / np.spacing(np.abs(rounded)).astype(L)
    normal = np.isfinite(rounded) & (np.abs(rounded) > np.finfo(dtype).tiny)
    assert units[normal].max() <= UNITS.get(name, 2)
    np.testing.assert_array_equal(y[~np.isfinite(rounded)], rounded[~np.isfinite(rounded)])
    assert name not in ("exp", "decay") or not y[exact < np.finfo(dtype).tiny].any()  # no denormal numbers


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXACT)
def test_vectorised(name, dtype):
    (assembly,) = kernel(name, dtype).inspect_asm().values()
    assert any(register in assembly for register in ("zmm", "ymm", "xmm"))
    assert "fmod" not in assembly
    assert not [line for line in assembly.splitlines() if "call" in line and any(f in line for f in ("expf", "erff"))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0], dtype)
    y = np.empty_like(x)
    kernel(name, dtype)(x, y)
    np.testing.assert_allclose(y, np.array(SPECIAL[name], dtype), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_logarithm_of_1_plus_x_ends_at_minus_1(dtype):
    x = np.array([-1, np.nextafter(np.array(-1, dtype), -2, dtype=dtype)], dtype)
    y = np.empty_like(x)
    kernel("log1p", dtype)(x, y)
    np.testing.assert_array_equal(y, [-np.inf, np.nan])


@pytest.mark.parametrize("name", EXACT)
def test_a_function_has_its_own_name(name):
    assert getattr(functions, name).__name__ == name


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_the_greater_and_the_lesser(name):
    function = getattr(functions, name)

    @njit
    def over_all(x, y, z):
        for i in range(x.size):
            z[i] = function(x[i], y[i])

    x, y = np.array([np.nan, 1.0, 2.0, 1.0]), np.array([1.0, 2.0, 1.0, np.nan])
    z = np.empty(4)
    over_all(x, y, z)
    np.testing.assert_array_equal(z, getattr(np, name)(x, y))
    np.testing.assert_array_equal([function(a, b) for a, b in zip(x, y, strict=True)], z)
