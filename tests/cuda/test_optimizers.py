"""The optimizers' kernels, run by the emulator."""

from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend
from nnx_cupy import _launch

from nnx import compose, testing

ORDERS = (0, 1, 7, 11)
"""Of warps: ascending, descending, and two random ones."""
HYPER = {
    "sgd_": [0.1],
    "momentum_": [0.1, 0.9],
    "nesterov_": [0.1, 0.9],
    "adagrad_": [0.1, 0.01],
    "rmsprop_": [0.1, 0.01, 0.3],
    "adam_": [0.1, 0.9, 0.01, 0.1, 0.3],
    "adamw_": [0.1, 0.9, 0.01, 0.1, 0.3],
}
"""What precedes weight decay and gradient scale."""
STATES = {"sgd_": 0, "momentum_": 1, "nesterov_": 1, "adagrad_": 1, "rmsprop_": 1, "adam_": 2, "adamw_": 2}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}

Array = np.ndarray[Any, Any]


class Composed:
    """As much of `Ops` as the compositions of the optimizers need."""

    xp = np


def buffers(op: str, size: int, dtype: str, starts: tuple[int, ...] = (0,)) -> list[Array]:
    """p, g and the states, each `start` elements after a multiple of 16 bytes; states are positive."""
    r, made = np.random.default_rng(size), []
    for i in range(2 + STATES[op]):
        values = r.normal(size=size)
        memory = np.empty(size + 8, dtype)
        first = -memory.ctypes.data % 16 // memory.itemsize + starts[i % len(starts)]
        made.append(memory[first : first + size])
        made[-1][:] = values if i < 2 else abs(values)
    return made


def expected(op: str, given: list[Array], hyper: Array, decay: int) -> list[Array]:
    """What the composition makes of copies in float64."""
    copies = [array.astype(float) for array in given]
    getattr(compose, op)(Composed(), *copies, hyper.astype(float), decay=decay)
    return copies


@pytest.mark.parametrize("op", [*HYPER, "running_average_", "clip_"])
@pytest.mark.parametrize("order", ORDERS)
def test_conformance(op: str, order: int) -> None:
    report = testing.run(EmulatedBackend(order), [op])
    assert report.ok, str(report)
    assert op in report.explanation.fused


@pytest.mark.parametrize("op", HYPER)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("size", "decay"), [(1, 0), (3, 3), (5, 2), (1029, 514), (9001, 4099)])
@pytest.mark.parametrize("starts", [(0,), (1,), (0, 0, 0, 1)])
def test_sizes_and_alignments(op: str, dtype: str, size: int, decay: int, starts: tuple[int, ...]) -> None:
    given, hyper = buffers(op, size, dtype, starts), np.array([*HYPER[op], 0.2, 0.5], dtype)
    wanted = expected(op, given, hyper, decay)
    backend = EmulatedBackend()
    assert getattr(backend, op)(*given, hyper, decay=decay) is None
    assert backend.device.launches == [op[:-1]]
    for got, value in zip(given, wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("op", HYPER)
def test_grids_that_stride(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "WAVES", 1)
    given, hyper = buffers(op, 10_007, "float64"), np.array([*HYPER[op], 0.2, 0.5])
    wanted = expected(op, given, hyper, 5001)
    getattr(EmulatedBackend(), op)(*given, hyper, decay=5001)
    for got, value in zip(given, wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("op", HYPER)
@pytest.mark.parametrize("guard", [np.nan, np.inf, -np.inf])
def test_nothing_is_written_under_a_bad_guard(op: str, guard: float) -> None:
    given, hyper = buffers(op, 37, "float32"), np.array([*HYPER[op], 0.2, 0.5], "float32")
    before = [array.copy() for array in given]
    getattr(EmulatedBackend(), op)(*given, hyper, decay=9, guard=np.array(guard, "float32"))
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_weight_decay_of_a_parameter_that_is_not_finite_stays_there() -> None:
    p, g, h = np.array([np.inf, np.inf]), np.ones(2), np.ones(2)
    EmulatedBackend().adagrad_(p, g, h, np.array([0.1, 0.01, 0.2, 1.0]), decay=1)
    assert h.tolist() == [np.inf, 2.0]


@pytest.mark.parametrize(("norm", "scale"), [(7.0, 1.5 / 7), (2.0, 0.5), (np.nan, np.nan), (np.inf, 0.0)])
def test_clip(norm: float, scale: float) -> None:
    hyper = np.array([0.1, 0.9, 0.5])
    assert EmulatedBackend().clip_(hyper, np.array(norm), np.array(1.5)) is None
    np.testing.assert_allclose(hyper, [0.1, 0.9, scale], rtol=1e-15)


def test_declined_before_anything_is_written() -> None:
    backend, hyper = EmulatedBackend(), np.array([0.1, 0.2, 1.0])
    p, g, single = np.ones(6), np.ones(6), np.ones(6, "float32")
    declined = [
        backend.sgd_(p, np.ones(12)[::2], hyper),
        backend.sgd_(p, single, hyper),
        backend.sgd_(p, g, hyper.astype("float32")),
        backend.sgd_(p, g, hyper, guard=np.array(1, "float32")),
        backend.sgd_(p.astype("float16"), g.astype("float16"), hyper.astype("float16")),
        backend.running_average_(p, single, hyper),
        backend.clip_(hyper, np.array(1, "float32"), np.array(1.0)),
    ]
    assert all(result is NotImplemented for result in declined)
    assert backend.device.launches == []
    assert (p == 1).all()
