"""The kernels of batch normalization, run by the emulator."""

import numpy as np
import pytest
from arrays import Array, close, placed
from emulator import EmulatedBackend
from orders import ORDERS

pytestmark = pytest.mark.slow

DTYPES = ("float32", pytest.param("float64", marks=pytest.mark.long))
TOLERANCE = {"float32": 4e-6, "float64": 2e-14}
WHOLE = [(1, 1), (1, 7), (2, 3), (9, 1), (100, 10), (256, 300), (1024, 33), (3, 100_000)]
"""A block does whole columns."""
TALL = [(1025, 3), (2048, 100), (40_000, 1), (9000, 31)]
EPS = 1e-5


@pytest.fixture
def r() -> np.random.Generator:
    return np.random.default_rng(3)


def hyper(dtype: str) -> Array:
    return np.array([EPS, 0.9, 0.1], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*WHOLE, *TALL])
@pytest.mark.parametrize("start", [0, 1])
def test_forward_and_backward(shape: tuple[int, int], dtype: str, start: int, r: np.random.Generator) -> None:
    n, c = shape
    backend, tolerance = EmulatedBackend(), TOLERANCE[dtype]
    x, dy = (placed(r.normal(size=shape), dtype, start) for _ in range(2))
    gamma, beta = (placed(r.normal(size=c), dtype, start) for _ in range(2))
    y, dx, mean, var, dgamma, dbeta, db = (
        placed(np.full(s, np.nan), dtype, start) for s in (shape, shape, c, c, c, c, c)
    )
    assert backend.batch_norm(x, gamma, beta, hyper(dtype), out=y, mean=mean, var=var) is y
    exact = x.astype(float)
    close(mean, exact.mean(axis=0), tolerance)
    close(var, exact.var(axis=0), tolerance)
    std = np.sqrt(exact.var(axis=0) + EPS)
    normalised = (exact - exact.mean(axis=0)) / std
    if n > 2:  # with less, a variance near 0 makes much of little
        close(y, gamma * normalised + beta, 4 * tolerance)

    arrays = dy, x, gamma, mean, var, hyper(dtype)
    assert backend.batch_norm_backward(*arrays, out=dx, dgamma=dgamma, dbeta=dbeta, db=db) is dx
    std = np.sqrt(var.astype(float) + EPS)
    normalised = (exact - mean) / std
    sums = dy.astype(float).sum(axis=0), (dy * normalised).sum(axis=0)
    expected = gamma / std * (dy - sums[0] / n - normalised * sums[1] / n)
    magnitude = np.sqrt(n)
    close(dbeta / magnitude, sums[0] / magnitude, tolerance)
    close(dgamma / magnitude, sums[1] / magnitude, tolerance)
    scale = np.maximum(1, np.abs(gamma / std))
    close(dx / scale, expected / scale, tolerance)
    assert not db.any()

    got = backend.batch_norm_inference(x, gamma, beta, mean, var, hyper(dtype))
    np.testing.assert_array_equal(got, y)


@pytest.mark.parametrize("n", [100, 1024, 5000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_variance_beside_a_large_mean(n: int, dtype: str, r: np.random.Generator) -> None:
    x = (r.normal(size=(n, 40)) + 1e4).astype(dtype)
    ones, mean, var = np.ones(40, dtype), np.empty(40, dtype), np.empty(40, dtype)
    y = EmulatedBackend().batch_norm(x, ones, 0 * ones, hyper(dtype), mean=mean, var=var)
    exact = x.astype(np.longdouble)  # float64 would be no more exact than what is tested
    np.testing.assert_allclose(var, exact.var(axis=0), rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=np.finfo(dtype).eps)
    normalised = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    np.testing.assert_allclose(y, normalised, atol=1e4 * np.finfo(dtype).eps + EPS, rtol=TOLERANCE[dtype] + EPS)


@pytest.mark.parametrize("n", [100, 1024, 5000])
@pytest.mark.parametrize("at", [0, 50, -1])
def test_variance_with_an_outlier(n: int, at: int, r: np.random.Generator) -> None:
    x = r.normal(size=(n, 3)).astype("float32")
    x[at] = 1e5
    var = np.empty(3, "float32")
    EmulatedBackend().batch_norm(x, var, var, hyper("float32"), var=var)
    np.testing.assert_allclose(var, x.astype(float).var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("n", [2, 1000, 3000])
def test_a_constant_column_has_no_variance(n: int) -> None:
    x, one, mean, var = (np.full(s, v, "float32") for s, v in (((n, 2), 0.1), (2, 1), (2, 0), (2, 1)))
    y = EmulatedBackend().batch_norm(x, one, one, hyper("float32"), mean=mean, var=var)
    assert (y == 1).all()
    assert (var == 0).all()
    assert (mean == x[0]).all()


@pytest.mark.parametrize("shape", [(100, 10), (3000, 40)])
def test_the_same_bits_in_any_order(shape: tuple[int, int], r: np.random.Generator) -> None:
    x, dy = (r.normal(size=shape).astype("float32") for _ in range(2))
    gamma, found = np.ones(shape[1], "float32"), set()
    for order in ORDERS:
        backend, mean, var = EmulatedBackend(order), np.empty_like(gamma), np.empty_like(gamma)
        y = backend.batch_norm(x, gamma, gamma, hyper("float32"), mean=mean, var=var)
        dx = backend.batch_norm_backward(dy, x, gamma, mean, var, hyper("float32"))
        found.add((y.tobytes(), dx.tobytes(), mean.tobytes(), var.tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize(("n", "launches"), [(1024, 1), (1025, 2)])
def test_launches(n: int, launches: int) -> None:
    backend, c = EmulatedBackend(), np.ones(4, "float32")
    x = np.ones((n, 4), "float32")
    backend.device.launches.clear()
    backend.batch_norm(x, c, c, hyper("float32"))
    assert len(backend.device.launches) == launches
    backend.batch_norm_backward(x, x, c, c, c, hyper("float32"))
    assert len(backend.device.launches) == 2 * launches


def test_what_is_declined() -> None:
    backend, x, c = EmulatedBackend(), np.ones((4, 4), "float32"), np.ones(4, "float32")
    backend.device.launches.clear()
    assert backend.batch_norm(x[:0], c, c, hyper("float32")) is NotImplemented
    assert backend.batch_norm(x[:, ::2], c[:2], c[:2], hyper("float32")) is NotImplemented
    assert backend.batch_norm(x, c, c, hyper("float64")) is NotImplemented
    assert backend.batch_norm_backward(x, x.T, c, c, c, hyper("float32")) is NotImplemented
    assert backend.batch_norm_inference(x, c, c, c, c, hyper("float32"), out=np.empty((8, 4))[::2]) is NotImplemented
    assert not backend.device.launches
