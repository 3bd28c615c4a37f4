"""Swapped axes: matrices and pictures, squares of eight and what is left beside them."""

import numpy as np
import pytest

import nnx

kernels = pytest.importorskip("nnx_kernels.cpu.axes")
_backend = pytest.importorskip("nnx_numba._backend")


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (7, 30), (33, 8), (17, 100), (0, 3)])
def test_transpose(shape):
    a, out = np.random.default_rng(0).random(shape), np.full((shape[1], shape[0] + 5), np.nan)
    kernels.transpose(a, out, 3)
    np.testing.assert_array_equal(out[:, 3 : 3 + shape[0]], a.T)
    assert np.isnan(out[:, :3]).all()
    assert np.isnan(out[:, 3 + shape[0] :]).all()


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(100, 80, 90), (40, 200, 300)])
def test_transposed_factors_and_results_in_parts(rows, inputs, outputs, monkeypatch):
    monkeypatch.setattr(_backend, "_LARGE", 0)
    rng = np.random.default_rng(0)
    dy, w = rng.standard_normal((rows, outputs)), rng.standard_normal((inputs, outputs))
    dx = np.full((rows, inputs), np.nan)
    nnx.get_backend("numba").affine_backward(dy, np.zeros((rows, inputs)), w, dx=dx)
    np.testing.assert_allclose(dx, dy @ w.T, rtol=1e-10, atol=1e-10)
