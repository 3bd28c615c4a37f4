"""Swapped axes: matrices and pictures, squares of eight and what is left beside them."""

import numpy as np
import pytest

kernels = pytest.importorskip("nnx_kernels.cpu.axes")


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (7, 30), (33, 8), (17, 100), (0, 3)])
def test_transpose(shape):
    a, out = np.random.default_rng(0).random(shape), np.full((shape[1], shape[0] + 5), np.nan)
    kernels.transpose(a, out, 3)
    np.testing.assert_array_equal(out[:, 3 : 3 + shape[0]], a.T)
    assert np.isnan(out[:, :3]).all()
    assert np.isnan(out[:, 3 + shape[0] :]).all()
