"""The kernels of norms and counts, run by the emulator."""

from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend
from nnx_cupy import _launch
from orders import ORDERS

pytestmark = pytest.mark.slow

DTYPES = ("float32", pytest.param("float64", marks=pytest.mark.long))
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}

Array = np.ndarray[Any, Any]


@pytest.fixture
def r() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("shape", [1, 2, 3, 4, 5, 4096, 4097, 300_001, (), (7, 1), (37, 13, 5)])
def test_norms(shape: Any, start: int, dtype: str, r: np.random.Generator) -> None:
    count = int(np.prod(shape))
    memory = r.normal(size=count + 8).astype(dtype)
    first = -memory.ctypes.data % 16 // memory.itemsize + start
    x = memory[first : first + count].reshape(shape)
    expected, found = (x.astype(float) ** 2).sum(), set()
    for order in ORDERS[:3]:
        backend = EmulatedBackend(order)
        squares, norm = backend.sum_squares(x), backend.global_norm(x)
        for got, value in ((squares, expected), (norm, np.sqrt(expected))):
            assert got.shape == ()
            assert got.dtype == dtype
            np.testing.assert_allclose(got, value, rtol=TOLERANCE[dtype])
        found.add((squares.tobytes(), norm.tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parts", [1, 1024, 1025, 4096])
def test_as_many_parts_as_there_may_be(parts: int, dtype: str, r: np.random.Generator) -> None:
    x, backend = r.random(parts).astype(dtype), EmulatedBackend()
    expected = x.astype(float).sum()
    np.testing.assert_allclose(backend._by_one_block("total", x), expected, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(backend._by_one_block("root_of_total", x), np.sqrt(expected), rtol=TOLERANCE[dtype])


def test_the_grid_of_a_large_array_depends_on_its_size_only() -> None:
    backend, x = EmulatedBackend(), np.zeros(1, "float32")
    x = np.broadcast_to(x, 1 << 27)  # what would be half a gigabyte
    launched = []
    backend.device.kernel = lambda *_: lambda grid, block, args: launched.append(grid)  # type: ignore[method-assign]
    parts = backend._squares(x)
    assert launched == [(4096,)] == [parts.shape]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (4000, 3), (300, 10), (37, 130), (3, 1025), (2, 100_000)])
@pytest.mark.parametrize("rows", [False, True])
def test_count_correct(shape: tuple[int, int], rows: bool, dtype: str, r: np.random.Generator) -> None:
    n, c = shape
    y = r.integers(0, 3, shape).astype(dtype)  # with many ties
    y[r.random(shape) < 0.5 / c] = np.nan
    y[0, -1] = np.inf
    best = y.argmax(axis=1)
    right = r.random(n) < 0.6
    right[-1] = True
    labels = np.where(right, best, (best + 1) % c)
    t = np.eye(c, dtype=dtype)[labels] if rows and c < 2000 else labels
    for order in ORDERS[:3]:
        count = EmulatedBackend(order).count_correct(y, t)
        assert count.shape == ()
        assert count.dtype == np.int64
        assert count == (labels == best).sum()


@pytest.mark.parametrize("shape", [(4000, 3), (37, 130), (9, 1025)])
def test_grids_that_stride(shape: tuple[int, int], r: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "WAVES", 1)
    y, t = r.normal(size=shape), r.integers(0, shape[1], shape[0])
    t[::2] = y.argmax(axis=1)[::2]
    assert EmulatedBackend().count_correct(y, t) == (y.argmax(axis=1) == t).sum()


def test_a_label_out_of_range_is_never_right() -> None:
    y = np.eye(5, dtype="float32")
    t = np.array([0, -1, 5, 2**32 + 3, 4])
    assert EmulatedBackend().count_correct(y, t) == 2


def test_what_is_declined() -> None:
    backend, y = EmulatedBackend(), np.ones((4, 4), "float32")
    backend.device.launches.clear()
    assert backend.sum_squares(y[:, ::2]) is NotImplemented
    assert backend.sum_squares(y[:0]) is NotImplemented
    assert backend.global_norm(y.astype(int)) is NotImplemented
    assert backend.count_correct(y, np.arange(4, dtype="int32")) is NotImplemented
    assert backend.count_correct(y.T[:2].T, np.arange(4)) is NotImplemented
    assert not backend.device.launches
