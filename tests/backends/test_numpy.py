"""What only the NumPy backend promises: the kit knows results, not how they are made."""

import math
import tracemalloc

import numpy as np
import pytest
from nnx_numpy import _formula, _pictures
from nnx_numpy._erf import erf

import nnx
from nnx import formula as f
from nnx import testing
from nnx.formula import Formula, where
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


def many_terms(z, t):
    total = z * t
    for k in range(1, 6):
        total = total + f.exp(-k * z * z)
    return total


LOSSES = {  # and what stands for a gradient; s is a number
    "a number over an array": lambda z, t, s: (2.0 / (1.0 + z * z), t),
    "a number less an array": lambda z, t, s: (2.0 - z, t),
    "a product of arrays": lambda z, t, s: (z * t, t),
    "twice a product": lambda z, t, s: (2.0 * (z * t), 2.0 * t),
    "a product by a number": lambda z, t, s: (z * t * 2.0, t * s),
    "a number times a sum": lambda z, t, s: (0.5 * (z + t), t),
    "a number times a number less an array": lambda z, t, s: (2.0 * (1.0 - z * t), t),
    "no loss": lambda z, t, s: (0.0 * (z * t), 0.0 * z),
    "an input": lambda z, t, s: (z, t),
    "a number": lambda z, t, s: (2.0, z),
    "a setting": lambda z, t, s: (s * s, s),
    "what the gradient does not use": lambda z, t, s: (f.exp(z) * f.exp(z), z * 3.0 + t * 2.0),
    "many terms": lambda z, t, s: (many_terms(z, t), t),
    "a number times many terms": lambda z, t, s: (0.5 * many_terms(z, t), t),
}


@pytest.mark.parametrize("blocks", [16, 4096])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_any_form_is_summed(name, blocks, monkeypatch):
    monkeypatch.setattr(_formula, "BLOCK", blocks)
    backend, made = nnx.get_backend("numpy"), Formula("own", LOSSES[name], ["z", "t"], ["loss", "dz"], ["s"])
    z, t = np.random.default_rng(0).normal(size=(2, 37, 13))
    hyper = np.array([0.75])
    losses, gradient = made.on_arrays(np, z=z, t=t, s=0.75)
    for dz in (None, np.empty_like(z)):
        assert backend.loss(made, z, t, hyper, dz=dz) == pytest.approx(losses.sum() / 37)
    np.testing.assert_allclose(dz, gradient / 37, rtol=1e-12, atol=1e-15)
    bias, shifted = np.zeros(13), np.empty_like(z)  # the gradient goes into the very array of z + bias
    assert backend.loss(made, z, t, hyper, bias=bias, db=bias, dz=shifted) == pytest.approx(losses.sum() / 37)
    np.testing.assert_allclose(shifted, gradient / 37, rtol=1e-12, atol=1e-15)


UPDATES = {  # of p, q, r by a, of all and of numbers s above 0 and below 1
    "exchanged": lambda p, q, r, a, s: (q, r, p),
    "as they were": lambda p, q, r, a, s: (p, q, r),
    "numbers": lambda p, q, r, a, s: (2.5, s, math.inf),
    "infinities and none": lambda p, q, r, a, s: (
        where(p > 0, math.inf, -math.inf), where(q > 0, q, math.nan), where(r > 0, r, -math.inf)
    ),
    "the same": lambda p, q, r, a, s: (f.exp(a), f.exp(a), a),
    "wanted to the end": lambda p, q, r, a, s: (p + a, p * f.exp(q) + f.exp(a) * q, f.exp(p) * q + r * p),
    "chosen by a number": lambda p, q, r, a, s: (
        where(s > 0, p * 2, a), where(s > 0, a, q * 3), where(s > 0, p, a)
    ),
    "not chosen by a number": lambda p, q, r, a, s: (
        where(s > 1, p * 2, a), where(s > 1, a, q * 3), where(s > 1, p, a)
    ),
    "a choice of itself": lambda p, q, r, a, s: (
        where(s > 0, p, q * 2), where(s > 1, p, q), where(a > 0, r, where(p > 0, r * 2, r))
    ),
    "numbers for a choice": lambda p, q, r, a, s: (
        where(p > 0, 1, 1) + where(a > 0, 0, 0), where(q > 0, 1, -1), where(r > p, 1, 0) + where(f.exp(r) > 1, 1, 0)
    ),
    "one comparison for several": lambda p, q, r, a, s: (
        where(p > a, 1, 0) + a, where(p > a, p, q), where(p > a, 1, 0) * r
    ),
    "functions": lambda p, q, r, a, s: (f.sigmoid(p) + f.erf(q), f.softplus(-q) * s, f.tanh(r) / (1 + f.abs(p))),
    "functions of numbers": lambda p, q, r, a, s: (
        p * f.sigmoid(s) + f.erf(s), q * f.softplus(s), r + where(s < 1, f.sqrt(s), s) - f.maximum(s, 0.5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("blocks", [16, 4096])
@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_any_form_is_that_of_new_arrays(name, blocks, monkeypatch):
    monkeypatch.setattr(_formula, "BLOCK", blocks)
    made = Formula("own", UPDATES[name], ["p", "q", "r", "a"], ["p", "q", "r"], ["s"])
    arrays = dict(zip(made.inputs, np.random.default_rng(0).normal(size=(4, 481)), strict=True))
    expected = [np.array(e) for e in made.on_arrays(np, **arrays, s=np.full(481, 0.7))]
    nnx.get_backend("numpy").update_(made, np.array([0.7]), *arrays.values())
    for got, wanted in zip(arrays.values(), expected, strict=False):
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("into", [0, 1, 2, None])
def test_a_result_may_take_the_place_of_any_input(into):
    made = Formula("own", lambda x, y, z: f.exp(x) * y - z * x, ["x", "y", "z"], ["out"])
    inputs = list(np.random.default_rng(0).normal(size=(3, 37)))
    before, out = [a.copy() for a in inputs], np.empty(37) if into is None else inputs[into]
    _formula.elementwise(made, inputs, [out])
    for i, (array, was) in enumerate(zip(inputs, before, strict=True)):
        expected = np.exp(before[0]) * before[1] - before[2] * before[0] if i == into else was
        np.testing.assert_allclose(array, expected, rtol=1e-14)
    np.testing.assert_allclose(out, np.exp(before[0]) * before[1] - before[2] * before[0], rtol=1e-14)


def test_the_sigmoid_of_huge_numbers_does_not_overflow():
    huge, slope = np.array([[-1e4, 1e4]]), Formula("own", lambda x: f.sigmoid(x) * 2, ["x"], ["y"])
    with np.errstate(over="raise"):
        for made in (nnx.Sigmoid().formula, slope):
            assert np.isin(nnx.get_backend("numpy").activation(made, huge), [0, 1, 2]).all()


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
