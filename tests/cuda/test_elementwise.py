"""The kernels of activations, biases, dropout and gather, run by the emulator."""

from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend, EmulatedDevice
from nnx_cupy import _gather, _launch

import nnx
from nnx.layers import RELU
from nnx.ops import Ops
from nnx.testing._formulas import activated, evaluate

pytestmark = pytest.mark.slow

LAYERS = (nnx.ReLU(), nnx.Sigmoid(), nnx.Tanh())
DTYPES = ("float32", pytest.param("float64", marks=pytest.mark.long))
SHAPES = ((1, 1), (1, 7), (9, 1), (40, 33), (257, 10), (1025, 3), (5000, 40), (3, 100_000))
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}

Array = np.ndarray[Any, Any]


@pytest.fixture
def r() -> np.random.Generator:
    return np.random.default_rng(3)


def normal(r: np.random.Generator, shape: int | tuple[int, ...], dtype: str, start: int = 0) -> Array:
    """Standard normal, `start` elements after a multiple of 16 bytes."""
    size = int(np.prod(shape))
    memory = r.normal(size=size + 16).astype(dtype)
    first = -memory.ctypes.data % 16 // memory.itemsize + start
    return memory[first : first + size].reshape(shape)


def guarded(size: int, dtype: str, start: int) -> tuple[Array, Array]:
    """NaNs to write to, `start` elements after a multiple of 16 bytes, and the memory around them."""
    memory = np.full(size + 32, np.nan, dtype)
    first = 8 + -memory.ctypes.data % 16 // memory.itemsize + start
    return memory[first : first + size], memory


def close(got: Array, expected: Array, dtype: str, terms: int = 1) -> None:
    tolerance = TOLERANCE[dtype] * np.sqrt(terms)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1023, 9001])
@pytest.mark.parametrize("starts", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_sizes_and_alignments(
    layer: nnx.Activation, dtype: str, size: int, starts: tuple[int, int], r: np.random.Generator
) -> None:
    x, (y, memory) = normal(r, size, dtype, starts[0]), guarded(size, dtype, starts[1])
    assert EmulatedBackend().activation(layer.formula, x, out=y) is y
    close(y, activated(layer.formula, x.astype(float)), dtype)
    assert np.isnan(memory).sum() == memory.size - size


@pytest.mark.parametrize("starts", [(0, 1), (1, 0)])
def test_sizes_and_alignments_of_two_inputs(starts: tuple[int, int], r: np.random.Generator) -> None:
    """The sanitizers, and a GPU, see to it that no vectors are read where one of them is not aligned."""
    dy, y = (normal(r, 1023, "float32", start) for start in starts)
    formula = nnx.Sigmoid().formula_backward
    dx = EmulatedBackend().activation_backward(formula, dy, None, y)
    (expected,) = evaluate(formula, {"dy": dy.astype(float), "x": np.zeros(1), "y": y.astype(float)})
    close(dx, expected, "float32")


@pytest.mark.parametrize("op", ["activation", "dropout", "philox"])
def test_grids_that_stride(op: str, r: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x, backend = normal(r, 10_007, "float32"), EmulatedBackend()
    rng = np.arange(7, dtype=np.uint32) << 29
    given = {"activation": (RELU, x), "dropout": (x, rng, np.array(2, "float32")), "philox": (rng, x.size)}[op]
    expected = getattr(backend, op)(*given)
    monkeypatch.setattr(_launch, "WAVES", 1)
    assert backend.packs(x) == (EmulatedDevice.processors,)
    np.testing.assert_array_equal(getattr(backend, op)(*given), expected)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_with_bias_gradient(
    layer: nnx.Activation, dtype: str, shape: tuple[int, int], r: np.random.Generator
) -> None:
    dy, x, db = normal(r, shape, dtype), normal(r, shape, dtype), np.full(shape[1], np.nan, dtype)
    y, formula = activated(layer.formula, x).astype(dtype), layer.formula_backward
    dx = EmulatedBackend().activation_backward(formula, dy, x, y, db=db)
    (expected,) = evaluate(formula, {"dy": dy.astype(float), "x": x.astype(float), "y": y.astype(float)})
    close(dx, expected, dtype)
    close(db, expected.sum(axis=0), dtype, terms=shape[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (0, 5), (3, 0), (20_000, 1), (513, 517)])
def test_column_sums_and_biases(dtype: str, shape: tuple[int, int], r: np.random.Generator) -> None:
    x, b, sums = normal(r, shape, dtype), normal(r, shape[1], dtype), np.full(shape[1], np.nan, dtype)
    backend = EmulatedBackend()
    backend._column_sums(x, sums)
    close(sums, x.astype(float).sum(axis=0), dtype, terms=max(1, shape[0]))
    for activation, expected in ((None, x + b), (RELU, np.maximum(x + b, 0))):
        y = x.copy()
        backend._add_bias(y, b, activation)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("rows", "launches"), [(1, 1), (256, 1), (1024, 1), (1025, 2), (300_000, 2)])
def test_launches_of_column_sums(rows: int, launches: int) -> None:
    backend = EmulatedBackend()
    backend._column_sums(np.ones((rows, 2), "float32"), np.empty(2, "float32"))
    assert backend.device.launches == ["column_sums"] * launches


def test_column_sums_have_the_same_bits_on_every_gpu(r: np.random.Generator) -> None:
    x, sums = normal(r, (5000, 40), "float32"), []
    for order, processors in ((0, 2), (1, 132), (7, 16)):
        backend = EmulatedBackend(order)
        backend.device.processors = processors
        sums.append(np.empty(40, "float32"))
        backend._column_sums(x, sums[-1])
    np.testing.assert_array_equal(sums[0], sums[1])
    np.testing.assert_array_equal(sums[0], sums[2])


def test_a_nan_reaches_its_bias_gradient_alone(r: np.random.Generator) -> None:
    dy, y, db = normal(r, (2000, 5), "float32"), np.zeros((2000, 5), "float32"), np.empty(5, "float32")
    dy[1999, 2] = np.nan
    EmulatedBackend().activation_backward(nnx.ReLU().formula_backward, dy, None, y, db=db)
    assert np.isnan(db).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("given", [True, False])
def test_dropout_and_its_backward(dtype: str, start: int, given: bool, r: np.random.Generator) -> None:
    shape = (7, 13)
    rng = r.integers(0, 2**32, 7, np.uint32)
    backend, factor = EmulatedBackend(), np.array(2, dtype)
    x, mask = normal(r, shape, dtype, start), np.full(93, 2, np.uint8).view(bool)[start : start + 91].reshape(shape)
    y = backend.dropout(x, rng, factor, mask=mask if given else None)
    kept = backend.philox(rng, 91, 13).reshape(shape) >= rng[5]
    np.testing.assert_array_equal(y, np.where(kept, 2 * x, 0))
    if given:
        np.testing.assert_array_equal(mask, kept)
        db = np.empty(13, dtype)
        np.testing.assert_array_equal(backend.dropout_backward(x, mask, factor), y)
        np.testing.assert_array_equal(backend.dropout_backward(x, mask, factor, db=db), y)
        close(db, y.astype(float).sum(axis=0), dtype, terms=7)


def test_what_is_dropped_stays_nan_where_it_was() -> None:
    backend, factor, x = EmulatedBackend(), np.array(2, "float32"), np.full((3, 5), np.nan, "float32")
    y, mask = backend.dropout(x, np.array([1, 2, 3, 4, 5, 2**32 - 1, 0], np.uint32), factor), np.zeros((3, 5), bool)
    assert np.isnan(y).all()
    assert np.isnan(backend.dropout_backward(x, mask, factor)).all()


def test_streams_of_no_length() -> None:
    rng = np.zeros(7, np.uint32)
    assert EmulatedBackend().philox(rng, 0).shape == (0,)


@pytest.mark.parametrize("row", [(), (1,), (3,), (4,), (8,), (12,), (16,), (48,), (2, 40), (70_001,), (1100, 64)])
@pytest.mark.parametrize("start", [0, 1, 4, 8])
def test_take_of_bytes(row: tuple[int, ...], start: int, r: np.random.Generator) -> None:
    length = int(np.prod(row, dtype=int))
    memory = r.integers(0, 256, 11 * length + 32, np.uint8)
    first = -memory.ctypes.data % 16 + start
    data, index = memory[first : first + 11 * length].reshape(11, *row), np.array([10, 0, 3, 3, 7])
    np.testing.assert_array_equal(EmulatedBackend().take(data, index), data[index])
    for dtype in TOLERANCE:
        rows = EmulatedBackend().take(data, index, np.array(0.25, dtype))
        assert rows.dtype == dtype
        np.testing.assert_array_equal(rows, data[index] * 0.25)


def test_rows_that_the_grid_strides_over_are_taken(r: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gather, "_LARGEST_GRID", 2)
    data, index = r.integers(0, 256, (11, 1999), np.uint8), np.array([10, 0, 3])
    np.testing.assert_array_equal(EmulatedBackend().take(data, index), data[index])


@pytest.mark.parametrize("dtype", ["bool", "int16", "int64", "float16", "float32", "float64", "complex128"])
def test_take_of_any_dtype(dtype: str, r: np.random.Generator) -> None:
    data = r.integers(0, 2, (50, 7)).astype(dtype)
    index = r.integers(0, 50, 300)
    out = np.empty((300, 7), dtype)
    assert EmulatedBackend().take(data, index, out=out) is out
    np.testing.assert_array_equal(out, data[index])
    assert EmulatedBackend().take(data, index[:0]).shape == (0, 7)


def test_declined_before_anything_is_written() -> None:
    backend = EmulatedBackend()
    x, wide, one = np.ones((4, 6), "float32"), np.ones((4, 12), "float32"), np.array(1, "float32")
    double, out, index = np.ones((4, 6)), np.ones((4, 6), "float32"), np.array([1, 2])
    rng, mask, backward = np.zeros(7, np.uint32), np.zeros((4, 6), bool), nnx.Tanh().formula_backward
    declined = [
        backend.activation(RELU, wide[:, ::2], out=out),
        backend.activation(RELU, x.astype("float16")),
        backend.activation(RELU, x.astype("int64")),
        backend.activation(RELU, x, out=double),
        backend.activation_backward(backward, x, None, double, out=out),
        backend.activation_backward(backward, x, None, x, out=out, db=np.ones(6)),
        backend.philox(rng.astype("int64"), 4),
        backend.dropout(x, rng, np.array(2.0), out=out),
        backend.dropout(x, rng, one, out=out, mask=mask.T),
        backend.dropout_backward(x, np.zeros((4, 12), bool)[:, ::2], one, out=out),
        backend.take(x, index.astype("int32"), out=out[:2]),
        backend.take(wide[:, ::2], index, out=out[:2]),
        backend.take(x, index, out=double[:2]),
        backend.take(x.astype("int16"), index, one, out=out[:2]),
        backend.take(double, index, one, out=out[:2]),
    ]
    assert all(result is NotImplemented for result in declined)
    assert backend.device.launches == []
    assert (out == 1).all()


def test_a_constant_activation_is_declined() -> None:
    backend, x, formula = EmulatedBackend(), np.ones((4, 4), "float32"), nnx.Activation(lambda x: 0.5).formula
    assert backend.activation(formula, x) is NotImplemented
    assert backend.affine(x, x, activation=formula) is NotImplemented
    np.testing.assert_array_equal(Ops(backend).affine(x, x, activation=formula), np.full((4, 4), 0.5))
