"""Kernels whose own tests have few shapes: one row, one column, odd sizes, 100,000 columns, arrays that start anywhere,
and several orders of the warps, against the NumPy backend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend
from ml_dtypes import bfloat16
from test_losses import placed

import nnx
from nnx.layers import RELU, RUNNING_AVERAGE
from nnx.ops._bind import Ops

pytestmark = pytest.mark.slow

Array = np.ndarray[Any, Any]
ORDERS_AND_STARTS = [
    (0, 0),
    (7, 1),
    pytest.param(1, 1, marks=pytest.mark.long),
    pytest.param(11, 0, marks=pytest.mark.long),
]
"""Of the warps, and elements after a multiple of 16 bytes."""
SHAPES = [(1, 1), (1, 7), (9, 1), (40, 33), (1025, 3), (1, 100_000)]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


class Draw:
    """Arrays of one test, of a dtype and a start."""

    def __init__(self, dtype: str, start: int) -> None:
        self._r, self.dtype, self._start = np.random.default_rng(5), dtype, start

    def normal(self, *shape: int) -> Array:
        return placed(self._r.normal(size=shape), self.dtype, self._start)

    def empty(self, *shape: int) -> Array:
        return placed(np.full(shape, np.nan), self.dtype, self._start)

    def number(self, value: float) -> Array:
        return np.array(value, self.dtype)

    def kept(self, *shape: int) -> Array:
        memory = self._r.random(int(np.prod(shape)) + 1) < 0.5
        return memory[self._start : memory.size - 1 + self._start].reshape(shape)

    def index(self, n: int) -> Array:
        return self._r.integers(0, n, 2 * n)


def backward(layer: nnx.Activation) -> Callable[[Any, Draw, int, int], list[Array]]:
    def run(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
        dy, x = draw.normal(n, c), draw.normal(n, c)
        return [ops.activation_backward(layer.formula_backward, dy, x, np.tanh(x))]

    return run


def dropout(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
    mask = np.empty((n, c), bool)
    rng = np.array([1, 2, 3, 4, 5, 1 << 30, 0], np.uint32)
    return [ops.dropout(draw.normal(n, c), rng, draw.number(1.25), out=draw.empty(n, c), mask=mask), mask]


def dropout_backward(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
    db = draw.empty(c)
    arrays = draw.normal(n, c), draw.kept(n, c), draw.number(2)
    return [ops.dropout_backward(*arrays), ops.dropout_backward(*arrays, db=db), db / np.sqrt(n)]


def rescale(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
    x = draw.normal(n, c)
    ops.rescale_(x, np.array([8, 0, 2000], draw.dtype))
    return [x]


def running_average(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
    running = draw.normal(n * c)
    hyper = np.array([1e-5, 0.9, 0.1], draw.dtype)
    ops.update_(RUNNING_AVERAGE, hyper, running, draw.normal(n * c), guard=draw.number(1))
    return [running]


def take_scaled(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
    return [ops.take(draw.normal(n, c), draw.index(n), draw.number(0.5), out=draw.empty(2 * n, c))]


def products(ops: Any, draw: Draw, n: int, c: int) -> list[Array]:
    """Of matrices with a side of one, which cuBLASLt does not take."""
    column, row, b = draw.normal(n, 1), draw.normal(1, c), draw.normal(1)
    inner = ops.affine(draw.normal(n, c), draw.normal(c, 1), b) / np.sqrt(c)
    outer = [ops.affine(column, row, draw.normal(c), activation=f) for f in (None, RELU)] if c < 100 else []
    return [inner, *outer]


CASES = {
    **{f"{layer.name}_backward": backward(layer) for layer in (nnx.ReLU(), nnx.Sigmoid(), nnx.Tanh())},
    **{f.__name__: f for f in (dropout, dropout_backward, rescale, running_average, take_scaled, products)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.long)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("order", "start"), ORDERS_AND_STARTS)
def test_as_the_numpy_backend(case: str, dtype: str, shape: tuple[int, int], order: int, start: int) -> None:
    ops = Ops(EmulatedBackend(order))
    results = CASES[case](ops, Draw(dtype, start), *shape)
    expected = CASES[case](Ops(nnx.get_backend("numpy")), Draw(dtype, start), *shape)
    assert ops.explain().declined == {}
    for got, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("kind", [bfloat16, np.float16])
@pytest.mark.parametrize("columns", [1, 7, 1025, 100_000])
@pytest.mark.parametrize(("order", "start"), ORDERS_AND_STARTS)
def test_products_of_16_bits(kind: Any, columns: int, order: int, start: int) -> None:
    r, name = np.random.default_rng(5), np.dtype(kind).name
    memory = r.normal(size=2 * columns + 8).astype(np.float32)
    backend = EmulatedBackend(order)
    row, column = (backend.narrow(memory[s : s + columns], name) for s in (start, columns + start))
    np.testing.assert_array_equal(row, memory[start : start + columns].astype(kind))
    for narrow in (row.reshape(1, -1), np.concatenate([row[:1], row])[1:].reshape(1, -1)):  # the second is not aligned
        product = backend.affine(narrow, column.reshape(-1, 1))
        exact = row.astype(float) @ column.astype(float)
        np.testing.assert_allclose(product / np.sqrt(columns), [[exact / np.sqrt(columns)]], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("order", [pytest.param(0, marks=pytest.mark.long), 7])
def test_products_with_many_columns(order: int) -> None:
    r = np.random.default_rng(5)
    x, w, b = r.normal(size=(1, 2)), r.normal(size=(2, 100_000)), r.normal(size=100_000)
    np.testing.assert_allclose(EmulatedBackend(order).affine(x, w, b), x @ w + b, rtol=1e-13, atol=1e-13)
