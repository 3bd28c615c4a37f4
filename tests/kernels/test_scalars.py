"""Arithmetic on single numbers, which recorded steps alone call."""

import math

import numpy as np
import pytest

pytest.importorskip("numba")
from nnx_kernels.cpu import scalars


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_number_is_computed_from_one_or_two(dtype):
    x, y, total, out = np.array([6.5], dtype), np.array([-2], dtype), np.array([12.25]), np.empty(1, dtype)
    for kernel, arguments, expected in (
        (scalars.add, (x, y), 4.5),
        (scalars.multiply, (x, y), -13),
        (scalars.divide, (total, 7), 1.75),
        (scalars.square_root, (total,), 3.5),
    ):
        assert kernel(*arguments, out) is None
        assert out[0] == expected, kernel.name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic_on_what_is_no_number_gives_none(dtype):
    one, nan, out = np.ones(1, dtype), np.full(1, np.nan, dtype), np.zeros(1, dtype)
    for kernel in (scalars.add, scalars.multiply):
        kernel(one, nan, out)
        assert math.isnan(out[0])
