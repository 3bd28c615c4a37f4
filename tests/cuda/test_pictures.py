"""The kernels of convolution, pooling and swapped axes, run by the emulator, against the NumPy backend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend, Module
from nnx_cupy import _convolution, _launch, _transpose, _windows
from nnx_cupy._windows import DIVISOR, MOST, Windows, blocks, divisor
from nnx_kernels.cuda import source
from orders import ORDERS
from test_losses import placed

import nnx
from nnx.layers import RELU
from nnx.ops._bind import Ops

Array = np.ndarray[Any, Any]
DTYPES = ("float32", pytest.param("float64", marks=pytest.mark.long))
TOLERANCE = {"float32": 5e-6, "float64": 1e-14}

CONVOLUTIONS = {
    "packs": ((5, 7, 6, 8), (9, 8, 3, 3), {"pad": (1, 1)}),
    "no packs": ((5, 7, 6, 5), (9, 5, 3, 3), {"pad": (1, 1)}),
    "one channel": ((3, 12, 11, 1), (6, 1, 5, 4), {"stride": (2, 1)}),
    "gaps": ((3, 11, 9, 4), (3, 4, 2, 2), {"stride": (4, 3), "pad": (1, 2)}),
    "one pixel": ((3, 5, 4, 33), (34, 33, 1, 1), {}),
    "one pixel with strides": ((3, 5, 4, 8), (5, 8, 1, 1), {"stride": (2, 2)}),
    "one pixel with padding": ((3, 5, 4, 8), (5, 8, 1, 1), {"pad": (1, 0)}),
    "whole pictures": ((70, 3, 4, 5), (2, 5, 3, 4), {}),
    "one filter": ((3, 6, 5, 4), (1, 4, 3, 3), {}),
    "wide": ((1, 3, 700, 4), (5, 4, 2, 3), {"pad": (0, 1)}),
    "a pack of rows": ((3, 3, 2, 1), (2, 1, 2, 1), {}),
    "a pack of columns": ((3, 1, 2, 1), (2, 1, 1, 1), {"pad": (1, 0)}),
    "a pack of pictures": ((5, 3, 1, 1), (2, 1, 1, 1), {"stride": (2, 1)}),
    "a pack of pictures with padding": ((5, 1, 1, 1), (2, 1, 1, 1), {"pad": (1, 0)}),
}
"""Pictures, filters, settings."""
WINDOWS = {
    "packs": ((5, 8, 6, 8), {"size": (2, 2), "stride": (2, 2)}),
    "no packs": ((5, 8, 6, 5), {"size": (2, 2), "stride": (2, 2)}),
    "overlapping": ((3, 9, 8, 12), {"size": (3, 3), "stride": (2, 1), "pad": (1, 2)}),
    "gaps": ((3, 11, 9, 4), {"size": (2, 1), "stride": (4, 3)}),
    "whole pictures": ((70, 7, 6, 4), {"size": (7, 6), "stride": (7, 6)}),
    "256 elements": ((2, 18, 17, 3), {"size": (16, 16), "stride": (1, 1)}),
    "wide": ((1, 3, 700, 4), {"size": (2, 3), "stride": (1, 2), "pad": (1, 1)}),
}
"""Pictures, settings."""
MATRICES = [
    *((1, 1, 1), (3, 31, 33), (2, 32, 32), (1, 64, 65), (3, 3, 341), (2, 3, 342), (2, 342, 3), (1, 1024, 2)),
    *((1, 1025, 1), (5, 2, 2000)),
]
"""At the borders of tiles."""


class Draw:
    """Arrays of one test, of a dtype, some elements after a multiple of 16 bytes."""

    def __init__(self, dtype: str, start: int) -> None:
        self._r, self.dtype, self._start = np.random.default_rng(5), dtype, start

    def normal(self, *shape: int) -> Array:
        return placed(self._r.normal(size=shape), self.dtype, self._start)

    def empty(self, *shape: int, dtype: str = "") -> Array:
        return placed(np.zeros(shape), dtype or self.dtype, self._start)


def convolved(ops: Any, draw: Draw, case: str) -> list[Array]:
    shape, filters, settings = CONVOLUTIONS[case]
    x, w, b = draw.normal(*shape), draw.normal(*filters), draw.normal(filters[0])
    y = ops.convolution(x, w, b, **settings)
    dy, dx, dw = draw.normal(*y.shape), draw.empty(*shape), draw.empty(*filters)
    db, alone = draw.empty(filters[0]), draw.empty(filters[0])
    ops.convolution_backward(dy, x, w, dx=dx, dw=dw, db=db, **settings)
    ops.convolution_backward(dy, x, w, db=alone, **settings)
    terms = np.sqrt(filters[1] * filters[2] * filters[3]), np.sqrt(dy.size / filters[0])
    sums = [y / terms[0], ops.convolution(x, w, activation=RELU, **settings) / terms[0], dx / terms[0]]
    return [*sums, dw / terms[1], db / terms[1], alone / terms[1]]


def pooled(ops: Any, draw: Draw, case: str) -> list[Array]:
    shape, settings = WINDOWS[case]
    x, pixels = draw.normal(*shape), shape[1:3]
    means = ops.average_pooling(x, **settings)
    index = draw.empty(*means.shape, dtype="uint8")
    greatest = ops.max_pooling(x, index=index, **settings)
    dy = draw.normal(*means.shape)
    dx = ops.max_pooling_backward(dy, index, shape=pixels, out=draw.empty(*shape), **settings)
    return [means, greatest, index, dx, ops.average_pooling_backward(dy, shape=pixels, **settings)]


def compare(run: Callable[..., list[Array]], case: str, dtype: str, start: int, backend: EmulatedBackend) -> None:
    ops = Ops(backend)
    results = run(ops, Draw(dtype, start), case)
    expected = run(Ops(nnx.get_backend("numpy")), Draw(dtype, start), case)
    assert ops.explain().declined == {}
    for k, (got, value) in enumerate(zip(results, expected, strict=True)):
        np.testing.assert_allclose(got, value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=str(k))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("order", "start"), [(0, 0), (7, 1)])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case: str, order: int, start: int, dtype: str) -> None:
    compare(convolved, case, dtype, start, EmulatedBackend(order))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("order", "start"), [(0, 0), (7, 1)])
@pytest.mark.parametrize("case", WINDOWS)
def test_pooling(case: str, order: int, start: int, dtype: str) -> None:
    compare(pooled, case, dtype, start, EmulatedBackend(order))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", MATRICES)
def test_swap_axes(shape: tuple[int, int, int], order: int, dtype: str) -> None:
    for start in (0, 1):
        x = Draw(dtype, start).normal(*shape)
        np.testing.assert_array_equal(EmulatedBackend(order).swap_axes(x), x.swapaxes(1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (33, 5, 3, 3), (32, 32, 2, 1), (3, 70, 5, 5), (65, 1, 1, 7)])
def test_packed_filters(shape: tuple[int, ...], order: int) -> None:
    w, backend = Draw("float32", 0).normal(*shape), EmulatedBackend(order)
    packed, back = backend._pack(w), np.full(shape, np.nan, "float32")
    np.testing.assert_array_equal(packed, w.transpose(2, 3, 1, 0).reshape(-1, shape[0]))
    backend._unpack(packed, back)
    np.testing.assert_array_equal(back, w)


# Blocks of pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_blocks_of_pictures(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, settings = CONVOLUTIONS["packs"]
    of_one = Windows(x[1:], w[2:], (1, 1), settings["pad"], np.dtype("float32")).blocks(1)
    assert of_one == [slice(0, 1)]
    monkeypatch.setattr(_convolution, "_ELEMENTS", at_once * 7 * 6 * 3 * 3 * 8 + 7)
    backend = EmulatedBackend()
    compare(convolved, "packs", "float32", 0, backend)
    each = -(-5 // at_once)
    assert backend.device.launches.count("patches") == 3 * each
    assert backend.device.launches.count("patches_backward") == each


@pytest.mark.parametrize("run", [convolved, pooled])
def test_arrays_with_more_elements_than_a_launch_counts(
    run: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_windows, "MOST", 700)  # a padded picture
    backend = EmulatedBackend()
    compare(run, "gaps", "float32", 0, backend)
    wanted = {"patches", "patches_backward"} if run is convolved else {"max_pooling", "average_pooling_backward"}
    assert all(backend.device.launches.count(name) >= 3 for name in wanted)


def test_many_matrices_take_several_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transpose, "MOST", 40)
    x, backend = Draw("float32", 0).normal(19, 33, 40), EmulatedBackend()  # of four tiles
    np.testing.assert_array_equal(backend.swap_axes(x), x.swapaxes(1, 2))
    assert backend.device.launches == ["swap_axes"] * 2


@pytest.mark.parametrize(
    ("n", "at_once", "sizes"),
    [
        (1, 5, [1]),
        (5, 5, [5]),
        (6, 5, [3, 3]),
        (7, 5, [4, 3]),
        (100, 64, [50, 50]),
        (3, 0, [1, 1, 1]),
        (7, 3, [3, 3, 1]),
    ],
)
def test_blocks_are_of_nearly_one_size(n: int, at_once: int, sizes: list[int]) -> None:
    assert [len(range(n)[block]) for block in blocks(n, at_once)] == sizes


def test_the_blocks_of_large_pictures() -> None:
    windows = Windows((224, 224, 64), (3, 3), (1, 1), (1, 1), np.dtype("float32"))
    assert windows.counted
    assert windows.blocks(3, 1 << 24) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert [len(range(256)[block]) for block in windows.blocks(256)] == [64, 64, 64, 64]
    assert not Windows((4096, 4096, 64), (3, 3), (1, 1), (1, 1), np.dtype("float32")).counted
    assert not Windows((2, 2, 1), (1, 1), (2**16, 2**16), (2**15, 2**15), np.dtype("float32")).counted


def test_division_by_a_product() -> None:
    """As struct Divisor does it, in its 64 bits."""
    r = np.random.default_rng(0)
    values = [1, 2, 3, 5, 7, 10, 64, 641, 65_535, 65_536, 2**30, 2**30 + 1, MOST - 1, MOST, *r.integers(1, MOST, 300)]
    for value in map(int, values):
        inverse, kept = divisor(value)
        assert kept == value
        assert inverse < 2**64
        multiples = [k * value + d for k in (1, 2, 3, MOST // value) for d in (-1, 0, 1)]
        for n in (0, 1, MOST - 1, MOST, *(m for m in multiples if m <= MOST), *map(int, r.integers(0, MOST, 30))):
            total = (inverse >> 32) * n + ((inverse & 0xFFFFFFFF) * n >> 32)
            assert total < 2**64
            assert total >> 31 == n // value


def test_the_kernels_divide_large_numbers() -> None:
    kernel = """
extern "C" __global__ void divide(const int *n, int *quotients, Divisor by) {
  quotients[threadIdx.x] = by.under(n[threadIdx.x]);
}"""
    divide = Module(source("transpose.cu") + kernel, ("-DREAL=float",)).get_function("divide")
    for value in (1, 3, 641, 65_537, 2**30 + 1, MOST):
        n = np.array([0, 1, value - 1, value, MOST // value * value - 1, MOST - 1, MOST], np.int32)
        quotients = np.empty_like(n)
        divide((1,), n.shape, (n, quotients, np.array(divisor(value), DIVISOR)[()]))
        assert quotients.tolist() == (n // value).tolist(), value


# Launches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["one pixel", "whole pictures"])
def test_pictures_that_are_rows_already_are_not_copied(case: str) -> None:
    shape, filters, settings = CONVOLUTIONS[case]
    x, w, backend = np.ones(shape, "float32"), np.ones(filters, "float32"), EmulatedBackend()
    y = backend.convolution(x, w, **settings)
    assert backend.device.launches == ["pack_filters", "cublasLtMatmul"]
    backend.device.launches.clear()
    backend.convolution_backward(y, x, w, dx=np.empty_like(x), dw=np.empty_like(w), **settings)
    assert backend.device.launches == ["cublasLtMatmul", "unpack_filters", "pack_filters", "cublasLtMatmul"]


def test_launches_of_a_convolution() -> None:
    x, w, b = np.ones((2, 6, 6, 4), "float32"), np.ones((8, 4, 3, 3), "float32"), np.ones(8, "float32")
    backend = EmulatedBackend()
    y = backend.convolution(x, w, b, activation=RELU)
    assert backend.device.launches == ["pack_filters", "patches", "cublasLtMatmul", "add_bias_relu"]
    backend.device.launches.clear()
    backend.convolution_backward(y, x, w, dx=np.empty_like(x), dw=np.empty_like(w), db=np.empty_like(b))
    of_filters = ["patches", "cublasLtMatmul", "unpack_filters"]
    assert backend.device.launches == [*of_filters, "pack_filters", "cublasLtMatmul", "patches_backward"]


@pytest.mark.slow
@pytest.mark.parametrize(("run", "case"), [(convolved, "no packs"), (pooled, "overlapping")])
def test_grids_that_stride(run: Any, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "WAVES", 1)
    backend = EmulatedBackend()
    backend.device.processors = 1
    compare(run, case, "float32", 0, backend)


@pytest.mark.slow
@pytest.mark.parametrize(("run", "case"), [(convolved, "packs"), (convolved, "wide"), (pooled, "overlapping")])
def test_the_same_bits_on_every_gpu(run: Any, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_convolution, "_ELEMENTS", 3 * 7 * 6 * 3 * 3 * 8)
    results = []
    for order, processors in ((0, 2), (1, 132), (7, 16)):
        backend = EmulatedBackend(order)
        backend.device.processors = processors
        results.append(run(Ops(backend), Draw("float32", 0), case))
    for one, two, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


# Values ---------------------------------------------------------------------------------------------------------------


def test_the_least_numbers_have_a_place_on_the_picture() -> None:
    x = np.full((1, 4, 4, 4), -np.inf, "float32")
    index = np.full((1, 3, 3, 4), 99, np.uint8)
    settings: Any = {"size": (2, 2), "stride": (2, 2), "pad": (1, 1)}
    y = EmulatedBackend().max_pooling(x, index=index, **settings)
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(index[0, :, :, 0], [[3, 2, 2], [1, 0, 0], [1, 0, 0]])


def test_the_first_nan_is_the_greatest_number() -> None:
    x = np.array([1.0, np.nan, np.inf, np.nan], "float32").reshape(1, 2, 2, 1)
    index = np.empty((1, 1, 1, 1), np.uint8)
    y = EmulatedBackend().max_pooling(x, size=(2, 2), stride=(2, 2), index=index)
    assert np.isnan(y).all()
    assert index.item() == 1


def test_the_mean_of_many_pixels() -> None:
    x = np.full((1, 300, 300, 1), 0.1, "float32")
    mean = EmulatedBackend().average_pooling(x, size=(300, 300), stride=(1, 1))
    np.testing.assert_allclose(mean, 0.1, rtol=5e-6)


# What is declined -----------------------------------------------------------------------------------------------------


def test_what_is_declined() -> None:
    backend, x, w = EmulatedBackend(), np.ones((2, 6, 6, 4), "float32"), np.ones((3, 4, 3, 3), "float32")
    index, settings = np.zeros((2, 3, 3, 4), np.uint8), {"size": (2, 2), "stride": (2, 2)}
    dy, pixels = np.ones((2, 3, 3, 4), "float32"), {"shape": (6, 6)}
    none = np.empty((0, 6, 6, 4), "float32")
    calls = [
        *(
            (backend.convolution, (a, w), {})
            for a in (x[:, :, ::2], x.transpose(0, 2, 1, 3), x.astype("float64"), none)
        ),
        (backend.convolution, (x.astype(int), w.astype(int)), {}),
        (backend.convolution, (x, w.transpose(0, 1, 3, 2)), {}),
        (backend.convolution, (x, w, np.ones(3)), {}),
        (backend.convolution, (x, w), {"out": np.empty((2, 4, 4, 6), "float32")[..., ::2]}),
        (backend.convolution_backward, (np.ones((2, 4, 4, 3), "float32"), x, w), {"dx": np.empty((2, 6, 6, 4))}),
        (
            backend.convolution_backward,
            (np.ones((2, 4, 4, 3), "float32"), x, w[..., ::-1]),
            {"db": w[:, 0, 0, 0].copy()},
        ),
        (backend.max_pooling, (x[..., ::2],), settings),
        (backend.max_pooling, (x,), {**settings, "index": index.astype(int)}),
        (backend.max_pooling, (x,), {**settings, "index": index[:, ::-1]}),
        (backend.max_pooling_backward, (dy, index.astype("int32")), settings | pixels),
        (backend.max_pooling_backward, (dy[:, ::-1], index), settings | pixels),
        (backend.average_pooling, (none,), settings),
        (backend.average_pooling, (x,), {**settings, "out": dy.astype("float64")}),
        (backend.average_pooling_backward, (dy.astype(int),), settings | pixels),
        (backend.swap_axes, (x[0, :, :, ::2],), {}),
        (backend.swap_axes, (x[0].astype("uint8"),), {}),
        (backend.swap_axes, (x,), {}),
    ]
    for operation, given, named in calls:
        assert operation(*given, **named) is NotImplemented, operation.__name__
    assert not backend.device.launches


def test_pictures_too_large_to_be_counted_are_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_windows, "MOST", 6 * 6 * 4 - 1)
    backend, x = EmulatedBackend(), np.ones((2, 6, 6, 4), "float32")
    w, dy = np.ones((3, 4, 1, 1), "float32"), np.ones((2, 3, 3, 4), "float32")
    settings: Any = {"size": (2, 2), "stride": (2, 2)}
    assert backend.convolution(x, w) is NotImplemented
    assert backend.convolution_backward(np.ones((2, 6, 6, 3), "float32"), x, w, db=w[:, 0, 0, 0]) is NotImplemented
    assert backend.average_pooling(x, **settings) is NotImplemented
    assert backend.average_pooling_backward(dy, shape=(6, 6), **settings) is NotImplemented
    assert not backend.device.launches
