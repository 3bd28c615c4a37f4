"""Convolution and pooling in vectors: what is special about processors and numbers; the kit has the shapes."""

import os
import subprocess
import sys

import numpy as np
import pytest

import nnx
from nnx.ops import Ops

kernels = pytest.importorskip("nnx_kernels.cpu.convolution")

if kernels.convolve.interpreted:
    pytest.skip("the tiles are LLVM's, not the interpreter's", allow_module_level=True)

NARROW = """
from unittest.mock import patch
import nnx.testing
from nnx_kernels.cpu import _jit, flush
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
@pytest.mark.parametrize(
    ("features", "expected"),
    [({"avx2": True, "fma": True}, (32, 16)), ({}, (16, 16)), ({"neon": True}, (16, 32))],
    ids=str,
)
def test_processors_with_narrower_vectors(features, expected, tmp_path):
    code = NARROW.format(features=features, expected=expected)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr


def test_denormals_are_flushed_and_the_mode_is_put_back():
    ops = Ops(nnx.get_backend("numba"))
    x, w = np.full((1, 3, 3, 2), 1e-20, np.float32), np.full((4, 2, 2, 2), 1e-20, np.float32)
    assert not ops.convolution(x, w).any()
    assert (np.full(4, 1e-38, np.float32) * np.float32(0.1) > 0).all()


def test_the_cost_of_a_product_counts_latency_and_panels():
    one = kernels.cycles(1, 16, 100, 4)
    assert kernels.cycles(2, 16, 100, 4) <= 2 * one  # a row alone waits for its own sums
    wide = max(kernels.TILES) * kernels.BYTES // 4
    assert kernels.cycles(12, 2 * wide, 100, 4) == 2 * kernels.cycles(12, wide, 100, 4)
    assert kernels.cycles(0, 16, 100, 4) == 0
