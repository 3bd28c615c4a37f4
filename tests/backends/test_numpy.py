"""What only the NumPy backend promises: the kit knows results, not how they are made."""

import numpy as np
import pytest

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
