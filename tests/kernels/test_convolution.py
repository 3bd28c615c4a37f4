"""Convolution and pooling in vectors: what is special about processors and numbers; the kit has the shapes."""

import numpy as np
import processors
import pytest

import nnx
from nnx.ops import Ops

kernels = pytest.importorskip("nnx_kernels.cpu.convolution")
_tables = pytest.importorskip("nnx_numba._tables")

if kernels.convolve.interpreted:
    pytest.skip("the tiles are LLVM's, not the interpreter's", allow_module_level=True)

NARROW = """
from unittest.mock import patch
import nnx.testing
from nnx_kernels.cpu import _jit, flush
from numba.core.registry import cpu_target
cpu_target.target_context  # Numba asks for the features, too, and once
with patch("llvmlite.binding.get_host_cpu_features", return_value={features}):
    from nnx_kernels.cpu import product
assert (product.BYTES, product.REGISTERS) == {expected}
from nnx_numba import NumbaBackend
backend = NumbaBackend()
backend._own_products = True
report = nnx.testing.run(backend, ["convolution", "convolution_backward", "max_pooling", "max_pooling_backward",
    "average_pooling", "average_pooling_backward", "swap_axes"])
assert report.ok, report
"""


@pytest.mark.long
@processors.narrower_vectors
def test_processors_with_narrower_vectors(features, expected, tmp_path):
    processors.run(NARROW, features, expected, tmp_path)


def test_denormals_are_flushed_and_the_mode_is_put_back():
    ops = Ops(nnx.get_backend("numba"))
    x, w = np.full((1, 3, 3, 2), 1e-20, np.float32), np.full((4, 2, 2, 2), 1e-20, np.float32)
    assert not ops.convolution(x, w).any()
    assert (np.full(4, 1e-38, np.float32) * np.float32(0.1) > 0).all()


@pytest.mark.parametrize("read_only", ["x", "w", "b", "dy", "index"])
def test_read_only_arrays(read_only):
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 6, 6, 3), "w": (4, 3, 3, 3), "b": (4,), "dy": (2, 6, 6, 4)}
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    x, w, b, dy = arrays.values()
    arrays["index"] = rng.integers(0, 4, (2, 3, 3, 3)).astype(np.uint8)
    arrays[read_only].flags.writeable = False

    def results(name):
        ops, dx, dw, db = Ops(nnx.get_backend(name)), np.empty_like(x), np.empty_like(w), np.empty_like(b)
        ops.convolution_backward(dy, x, w, pad=(1, 1), dx=dx, dw=dw, db=db)
        pooled = ops.max_pooling(x, size=(2, 2), stride=(2, 2))
        back = ops.max_pooling_backward(pooled, arrays["index"], shape=(6, 6), size=(2, 2), stride=(2, 2))
        return ops.convolution(x, w, b, pad=(1, 1)), dx, dw, db, pooled, back

    for got, expected in zip(results("numba"), results("numpy"), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "filters"),
    [
        ((2**15, 2**15, 1), (1, 1, 1, 1)),  # the pictures
        ((2**14, 2**10, 2**6), (1, 2**6, 1, 1)),  # their channels
        ((2**14, 2**14, 1), (4, 1, 1, 1)),  # the results
        ((2**10, 1, 2**10), (2**10, 2**10, 2**10, 1)),  # high filters
        ((1, 1, 2**15), (2**15, 2**15, 1, 1)),  # the filters
        ((2**14, 2**14, 1), (1, 1, 2**14, 2**14)),  # the results, padded for the pictures' gradient
    ],
)
def test_no_tables_where_32_bits_are_too_few(shape, filters):
    assert _tables.tables(shape, filters, (1, 1), (0, 0), 4) is None
    assert _tables.windows((2**15, 2**15, 2), (2, 2), (2, 2), (0, 0)).forward is None
    assert _tables.windows((2**17, 2**13, 2), (2, 2), (2, 2), (0, 0)).forward is None


def test_without_tables_an_operation_declines(monkeypatch):
    monkeypatch.setattr(_tables, "_REACH", 10)
    backend = nnx.get_backend("numba")
    x, w, windows = (
        np.ones((1, 4, 5, 3), np.float32),
        np.ones((2, 3, 2, 2), np.float32),
        {"size": (3, 2), "stride": (2, 1)},
    )
    dy, y = np.ones((1, 3, 4, 2), np.float32), np.ones((1, 1, 4, 3), np.float32)
    for cached in (_tables.tables, _tables.windows):
        cached.cache_clear()
    try:
        assert backend.convolution(x, w) is NotImplemented
        assert backend.convolution_backward(dy, x, w, dx=np.empty_like(x)) is NotImplemented
        assert backend.max_pooling(x, **windows) is NotImplemented
        assert backend.max_pooling_backward(y, y.astype(np.uint8), shape=(4, 5), **windows) is NotImplemented
        assert backend.average_pooling(x, **windows) is NotImplemented
        assert backend.average_pooling_backward(y, shape=(4, 5), **windows) is NotImplemented
    finally:
        for cached in (_tables.tables, _tables.windows):
            cached.cache_clear()


def test_the_cost_of_a_product_counts_latency_and_panels():
    one = kernels.cycles(1, 16, 100, 4)
    assert kernels.cycles(2, 16, 100, 4) <= 2 * one  # a row alone waits for its own sums
    wide = max(kernels.TILES) * kernels.BYTES // 4
    assert kernels.cycles(12, 2 * wide, 100, 4) == 2 * kernels.cycles(12, wide, 100, 4)
    assert kernels.cycles(0, 16, 100, 4) == 0
