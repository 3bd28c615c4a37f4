"""The kernels of softmax and the losses, run by the emulator."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from arrays import Array, close, placed
from emulator import EmulatedBackend
from orders import ORDERS

import nnx

pytestmark = pytest.mark.slow

DTYPES = ("float32", pytest.param("float64", marks=pytest.mark.long))
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}
SMALL = [(1, 1), (9, 1), (1, 7), (100, 10), (64, 256)]
"""One block does all."""
FEW = [(9000, 2), (600, 33), (140, 128)]
MANY = [(5, 257), (2, 1000), (3, 6015), (2, 11_000), (3, 12_029)]
"""A block for each row, in shared memory."""
LONG = [(4, 13_001), pytest.param((1, 100_000), marks=pytest.mark.long)]
"""Rows beyond shared memory."""
SHAPES = [*SMALL, *FEW, *MANY, *LONG]


@pytest.fixture
def r() -> np.random.Generator:
    return np.random.default_rng(3)


def problem(r: np.random.Generator, shape: tuple[int, int], dtype: str, kind: str, start: int = 0) -> dict[str, Array]:
    n, c = shape
    t = {
        "labels": r.integers(0, c, n),
        "rows": r.dirichlet(np.ones(c), n),
        "numbers": r.normal(size=shape),
        "shares": r.choice([0.0, 0.3, 1.0], shape),
        "counts": r.poisson(1.0, shape),
    }[kind]
    return {
        "z": placed(r.normal(size=shape) * (1 if kind == "counts" else 3), dtype, start),
        "t": t if kind == "labels" else placed(t, dtype, start),
        "bias": placed(r.normal(size=c), dtype, start),
    }


def cross_entropy(z: Array, t: Array, bias: Array | float = 0.0) -> tuple[Any, Array]:
    """Loss and gradient, in float64."""
    shifted = z.astype(float) + bias
    shifted -= shifted.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    target = np.float64(np.arange(z.shape[1]) == t[:, None]) if t.ndim == 1 else t
    loss = np.where(target == 0, 0, target * (np.log(total) - shifted)).sum() / len(z)
    return loss, (e / total - target) / len(z)


def squared_error(z: Array, t: Array, bias: Array | float = 0.0) -> tuple[Any, Array]:
    difference = z.astype(float) + bias - t
    return (difference**2).sum() / (2 * len(z)), difference / len(z)


def sigmoid_cross_entropy(z: Array, t: Array, bias: Array | float = 0.0) -> tuple[Any, Array]:
    z = z.astype(float) + bias
    return (np.logaddexp(0, z) - t * z).sum() / len(z), (1 / (1 + np.exp(-z)) - t) / len(z)


def poisson_deviance(z: Array, t: Array, bias: Array | float = 0.0) -> tuple[Any, Array]:
    mean = np.exp(z.astype(float) + bias)
    logs = np.log(np.where(t > 0, t, 1)) - np.log(mean)
    return (t * logs - t + mean).sum() / len(z), (mean - t) / len(z)


ELEMENTWISE = {
    "mean_squared_error": nnx.MeanSquaredError().formula,
    "sigmoid_cross_entropy": nnx.SigmoidCrossEntropy().formula,
    "poisson_deviance": nnx.PoissonDeviance().formula,
}


def loss_of(backend: EmulatedBackend, op: str) -> Any:
    """The loss as a function of z and t."""
    return partial(backend.loss, ELEMENTWISE[op]) if op in ELEMENTWISE else getattr(backend, op)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("start", [0, 1])
def test_softmax(shape: tuple[int, int], dtype: str, start: int, r: np.random.Generator) -> None:
    x = placed(r.normal(size=shape) * 3, dtype, start)
    e = np.exp(x.astype(float))
    close(EmulatedBackend().softmax(x), e / e.sum(axis=1, keepdims=True), TOLERANCE[dtype])


LOSSES = [
    ("softmax_cross_entropy", "labels", cross_entropy),
    ("softmax_cross_entropy", "rows", cross_entropy),
    ("mean_squared_error", "numbers", squared_error),
    ("sigmoid_cross_entropy", "shares", sigmoid_cross_entropy),
    ("poisson_deviance", "counts", poisson_deviance),
]


@pytest.mark.parametrize(("op", "kind", "reference"), LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("start", [0, 1])
def test_losses(
    op: str, kind: str, reference: Any, shape: tuple[int, int], dtype: str, start: int, r: np.random.Generator
) -> None:
    inputs = problem(r, shape, dtype, kind, start)
    dz, db = (placed(np.full(s, np.nan), dtype, start) for s in (shape, shape[1]))
    loss = loss_of(EmulatedBackend(), op)(**inputs, dz=dz, db=db)
    expected, gradient = reference(**inputs)
    assert loss.shape == ()
    assert loss.dtype == dtype
    tolerance = TOLERANCE[dtype]
    close(loss, expected, 4 * tolerance)
    close(dz, gradient, tolerance)
    close(db, gradient.sum(axis=0), 4 * tolerance)


def test_wide_rows_of_arrays_that_are_aligned_differently(r: np.random.Generator) -> None:
    """A GPU, and the traps of tests/mutants, see to it that no vectors are read where an array is not aligned."""
    shape = (3, 515)
    z, t, bias = r.normal(size=shape), r.dirichlet(np.ones(515), 3), r.normal(size=515)
    z, t, bias, dz = (placed(a, "float32", start) for start, a in enumerate([z, t, bias, np.full(shape, np.nan)]))
    loss = EmulatedBackend().softmax_cross_entropy(z, t, bias=bias, dz=dz)
    expected, gradient = cross_entropy(z, t, bias)
    close(loss, expected, 1e-5)
    close(dz, gradient, 2e-6)


@pytest.mark.parametrize(("op", "kind", "reference"), LOSSES)
@pytest.mark.parametrize("shape", [(100, 10), (600, 33), (1030, 33), (3, 500), (2, 13_001)])
def test_weights_of_rows(op: str, kind: str, reference: Any, shape: tuple[int, int], r: np.random.Generator) -> None:
    """Whole weights are repetitions of the row."""
    inputs, times = problem(r, shape, "float64", kind), r.integers(1, 4, shape[0])
    dz, db = np.full(shape, np.nan), np.full(shape[1], np.nan)
    loss = loss_of(EmulatedBackend(), op)(**inputs, weight=times.astype(float), dz=dz, db=db)
    repeated = {name: a if name == "bias" else np.repeat(a, times, axis=0) for name, a in inputs.items()}
    many = times.sum() / shape[0]
    expected = reference(**repeated)[0] * many
    gradient = reference(**inputs)[1] * times[:, None]
    close(loss, expected, 1e-12)
    close(dz, gradient, 1e-13)
    close(db, gradient.sum(axis=0), 1e-12)


@pytest.mark.long
@pytest.mark.parametrize(("op", "kind", "reference"), LOSSES)
@pytest.mark.parametrize("shape", [(100, 10), (600, 33), (3, 500), (1, 13_001)])
def test_the_same_bits_in_any_order(
    op: str, kind: str, reference: Any, shape: tuple[int, int], r: np.random.Generator
) -> None:
    inputs, found = problem(r, shape, "float32", kind), set()
    for order in ORDERS:
        dz, db = np.full(shape, np.nan, "float32"), np.full(shape[1], np.nan, "float32")
        loss = loss_of(EmulatedBackend(order), op)(**inputs, dz=dz, db=db)
        found.add((loss.tobytes(), dz.tobytes(), db.tobytes()))
    assert len(found) == 1


def _all_but_one(n: int, c: int) -> Array:
    """The others underflow."""
    return np.where(np.arange(c) == 3, 1e4, -1e4) * np.ones((n, 1))


def _left_out(n: int, c: int) -> Array:
    """Every third class, the first too."""
    return np.where(np.arange(c) % 3 == 0, -np.inf, 1.5) * np.ones((n, 1))


EXTREMES = {
    "large": lambda n, c: np.random.default_rng(4).choice([-1e4, 0.0, 1e4], (n, c)),
    "all-but-one": _all_but_one,
    "far-below": lambda n, c: np.full((n, c), -1e30),
    "left-out": _left_out,
}


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("shape", [(4, 10), (4, 300), (2, 13_001)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits(extreme: str, shape: tuple[int, int], dtype: str) -> None:
    z, t, dz = EXTREMES[extreme](*shape).astype(dtype), np.array([1, 4, 7, 8])[: shape[0]], np.empty(shape, dtype)
    loss = EmulatedBackend().softmax_cross_entropy(z, t, dz=dz)
    with np.errstate(invalid="ignore"):
        expected, gradient = cross_entropy(z, t)
    assert np.isfinite(loss)
    close(loss, expected, TOLERANCE[dtype])
    close(dz, gradient, TOLERANCE[dtype])


@pytest.mark.parametrize(("op", "kind", "reference"), LOSSES)
@pytest.mark.parametrize(
    "shape", [(100, 10), *(pytest.param(s, marks=pytest.mark.long) for s in [(600, 33), (3, 500)]), (1, 13_001)]
)
@pytest.mark.parametrize("bad", [np.nan, pytest.param(np.inf, marks=pytest.mark.long)])
def test_what_is_not_finite_reaches_the_loss(
    op: str, kind: str, reference: Any, shape: tuple[int, int], bad: float, r: np.random.Generator
) -> None:
    for at in (0, shape[0] * shape[1] // 2, -1):
        inputs = problem(r, shape, "float32", kind)
        inputs["z"].reshape(-1)[at] = bad
        assert not np.isfinite(loss_of(EmulatedBackend(), op)(**inputs))


def test_nothing_but_infinities_is_nan() -> None:
    for c in (10, 500):
        assert np.isnan(EmulatedBackend().softmax(np.full((1, c), -np.inf, "float32"))).all()


@pytest.mark.parametrize("label", [-1, -(2**62), 2**32, 2**62, "c"])
@pytest.mark.parametrize("shape", [(100, 10), (600, 33), (3, 500), (2, 13_001)])
def test_labels_out_of_range(label: Any, shape: tuple[int, int], r: np.random.Generator) -> None:
    n, c = shape
    z, t = r.normal(size=shape).astype("float32"), r.integers(0, c, n)
    t[n // 2] = c if label == "c" else label
    memory = np.full(n * c + 200, np.nan, "float32")
    loss = EmulatedBackend().softmax_cross_entropy(z, t, dz=memory[100:-100].reshape(shape))
    assert np.isnan(loss)
    assert np.isnan(memory[:100]).all()
    assert np.isnan(memory[-100:]).all()


@pytest.mark.parametrize(
    ("op", "kind", "shape", "launches"),
    [
        ("softmax_cross_entropy", "labels", (100, 10), ["softmax_few"]),
        ("softmax_cross_entropy", "rows", (256, 64), ["softmax_few"]),
        ("softmax_cross_entropy", "labels", (600, 64), ["softmax_few", "column_sums", "total"]),
        ("softmax_cross_entropy", "labels", (3, 1000), ["softmax_many", "column_sums", "total"]),
        ("mean_squared_error", "numbers", (100, 10), ["loss_meansquarederror"]),
        ("mean_squared_error", "numbers", (256, 64), ["loss_meansquarederror", "total"]),
        ("mean_squared_error", "numbers", (2000, 64), ["loss_meansquarederror", "column_sums", "total"]),
    ],
)
def test_launches(op: str, kind: str, shape: tuple[int, int], launches: list[str], r: np.random.Generator) -> None:
    backend, db = EmulatedBackend(), np.empty(shape[1], "float32")
    backend.device.launches.clear()
    loss_of(backend, op)(**problem(r, shape, "float32", kind), db=db)
    assert backend.device.launches == launches


def test_what_is_declined(r: np.random.Generator) -> None:
    backend, z, t = EmulatedBackend(), r.normal(size=(4, 3)).astype("float32"), np.arange(4) % 3
    backend.device.launches.clear()
    assert backend.softmax(z.T) is NotImplemented
    assert backend.softmax(z[:0]) is NotImplemented
    assert backend.softmax(z.astype("float16")) is NotImplemented
    assert backend.softmax_cross_entropy(z, t.astype("int32")) is NotImplemented
    assert backend.softmax_cross_entropy(z, (np.arange(8) % 3)[::2]) is NotImplemented
    assert backend.softmax_cross_entropy(z, z.astype("float64")) is NotImplemented
    assert backend.loss(ELEMENTWISE["mean_squared_error"], z, z, db=np.empty(6, "float32")[::2]) is NotImplemented
    assert not backend.device.launches
