"""What only the NumPy backend promises: the kit knows results, not how they are made."""

import math

import numpy as np
import pytest
from nnx_numpy._erf import erf

import nnx
from nnx import testing
from nnx.formula import Formula
from nnx.ops import Ops


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_buffers_begin_on_lines_of_128_bytes(name):
    ops = Ops(nnx.get_backend(name))
    kept = [ops.allocate(size, dtype) for size in range(1, 400, 7) for dtype in ("float32", "float64", "bool")]
    assert {buffer.ctypes.data % 128 for buffer in kept} == {0}


def test_what_it_declines():
    report = testing.run(nnx.get_backend("numpy"), ["activation", "activation_backward", "affine", "loss"])
    assert report.explanation.declined == {}


def test_a_loss_that_depends_on_nothing():
    constant = Formula("constant", lambda z, t: (2.0, 0.0), ["z", "t"], ["loss", "dz"])
    z, dz = np.ones((5, 1), np.float32), np.empty((5, 1), np.float32)
    assert Ops(nnx.get_backend("numpy")).loss(constant, z, z, dz=dz) == 2
    assert not dz.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_function_is_within_two_units_in_the_last_place(dtype):
    r = np.random.default_rng(0)
    tiny = 10.0 ** r.uniform(-30, 0, 2000) * r.choice([-1, 1], 2000)
    edges = np.nextafter([1, 1, 6, 6], [0, 2, 0, 7], dtype=dtype)
    x = np.concatenate([np.linspace(-7, 7, 20001), tiny, [0.0, 1.0, 6.0, 50.0], edges]).astype(dtype)
    exact = np.array([math.erf(v) for v in x])
    y = erf(x, np.empty_like(x))
    assert y.dtype == dtype
    assert (np.abs(y - exact) <= 2 * np.spacing(np.abs(exact).astype(dtype))).all()
    assert erf(x, x) is x
    np.testing.assert_array_equal(x, y)
    with np.errstate(invalid="ignore"):
        special = erf(np.array([np.nan, np.inf, -np.inf, -0.0], dtype), np.empty(4, dtype))
    np.testing.assert_array_equal(special, [np.nan, 1, -1, 0])
    assert np.signbit(special[3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_function_of_huge_numbers_does_not_overflow(dtype):
    huge = np.array([1e30, -np.finfo(dtype).max], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_array_equal(erf(huge, np.empty_like(huge)), [1, -1])
