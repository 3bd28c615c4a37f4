"""What only the NumPy backend promises: the kit knows results, not how they are made."""

import math
import tracemalloc

import numpy as np
import pytest
from nnx_numpy import _pictures
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


# Pictures -------------------------------------------------------------------------------------------------------------

PICTURES = ("convolution", "convolution_backward", "max_pooling", "max_pooling_backward", "average_pooling",
            "average_pooling_backward")  # fmt: skip


@pytest.mark.parametrize("block", [1, 500, 4000])
def test_blocks_of_any_size_give_the_same(monkeypatch, block):
    """Some pictures, one, or some lines of one at a time; the last block may have fewer."""
    monkeypatch.setattr(_pictures, "BLOCK", block)
    ops = Ops(nnx.get_backend("numpy"))
    for check in testing.checks(PICTURES):
        if check.id.startswith("float64"):
            check.run(ops)


def pictures(n=40, side=20, channels=6, filters=8):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, side, side, channels), np.float32)
    w = rng.standard_normal((filters, channels, 3, 3), np.float32)
    return x, w, rng.standard_normal(filters, np.float32)


def test_no_buffer_is_as_large_as_the_columns_of_all_pictures(monkeypatch):
    monkeypatch.setattr(_pictures, "BLOCK", 2**16)
    ops, (x, w, b) = Ops(nnx.get_backend("numpy")), pictures()
    y, dx, dw, db = np.empty((40, 18, 18, 8), np.float32), np.empty_like(x), np.empty_like(w), np.empty_like(b)
    pooled, index = np.empty((40, 10, 10, 6), np.float32), np.empty((40, 10, 10, 6), np.uint8)
    settings = {"size": (2, 2), "stride": (2, 2)}

    def work():
        ops.convolution(x, w, b, out=y)
        ops.convolution_backward(y, x, w, dx=dx, dw=dw, db=db)
        ops.max_pooling(x, **settings, out=pooled, index=index)
        ops.max_pooling_backward(pooled, index, shape=(20, 20), **settings, out=dx)
        ops.average_pooling(x, **settings, out=pooled)
        ops.average_pooling_backward(pooled, shape=(20, 20), **settings, out=dx)

    work()
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**16  # and the columns of all have 43 * 2**16
    assert ops.explain().declined == {}


def test_a_convolution_is_declined_before_anything_is_written():
    ops, (x, w, b) = Ops(nnx.get_backend("numpy")), pictures(5)
    memory = np.full((5, 18, 18, 16), 7, np.float32)
    backend = nnx.get_backend("numpy")
    assert backend.convolution(x, w, b, out=memory[..., ::2]) is NotImplemented
    assert (memory == 7).all()
    np.testing.assert_allclose(ops.convolution(x, w, b, out=memory[..., ::2]), ops.convolution(x, w, b), atol=1e-4)
    assert ops.explain().declined == {"convolution": 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_which_buffers_are_given(dtype):
    ops, arrays = Ops(nnx.get_backend("numpy")), pictures(9)
    x, w, b = (a.astype(dtype) for a in arrays)
    settings = {"stride": (2, 1), "pad": (1, 2)}
    y = ops.convolution(x, w, b, **settings)
    np.testing.assert_array_equal(ops.convolution(x, w, b, **settings, out=np.empty_like(y)), y)
    together, alone = ([np.empty_like(x), np.empty_like(w)] for _ in range(2))
    ops.convolution_backward(y, x, w, **settings, dx=together[0], dw=together[1])
    ops.convolution_backward(y, x, w, **settings, dx=alone[0])
    ops.convolution_backward(y, x, w, **settings, dw=alone[1])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)
