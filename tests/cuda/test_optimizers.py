"""The optimizers' kernels, run by the emulator."""

from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend
from nnx_cupy import _launch

import nnx
from nnx.ops import spec

pytestmark = pytest.mark.slow

OPTIMIZERS = [nnx.SGD, nnx.Momentum, nnx.Nesterov, nnx.AdaGrad, nnx.RMSprop, nnx.Adam, nnx.AdamW]
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}

Array = np.ndarray[Any, Any]


class Composed:
    """As much of `Ops` as the compositions of the optimizers need."""

    xp = np


def hyper_of(kind: type[nnx.Optimizer], dtype: str) -> Array:
    """Coefficients, weight decay and gradient scale."""
    own = np.random.default_rng(0).uniform(0.1, 0.9, len(kind.formula().scalars) - 2)
    return np.array([*own, 0.2, 0.5], dtype)


def buffers(kind: type[nnx.Optimizer], size: int, dtype: str, starts: tuple[int, ...] = (0,)) -> list[Array]:
    """p, g and the states, each `start` elements after a multiple of 16 bytes; states are positive."""
    r, made = np.random.default_rng(size), []
    for i in range(2 + len(kind.slots)):
        values = r.normal(size=size)
        memory = np.empty(size + 8, dtype)
        first = -memory.ctypes.data % 16 // memory.itemsize + starts[i % len(starts)]
        made.append(memory[first : first + size])
        made[-1][:] = values if i < 2 else abs(values)
    return made


def expected(kind: type[nnx.Optimizer], given: list[Array], hyper: Array, decay: int) -> list[Array]:
    """What the composition makes of copies in float64."""
    copies = [array.astype(float) for array in given]
    spec.update_(Composed(), kind.formula(), hyper.astype(float), *copies, decay=decay)
    return copies


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("size", "decay"), [(1, 0), (3, 3), (5, 2), (1029, 514), (9001, 4099)])
@pytest.mark.parametrize("starts", [(0,), (1,), (0, 0, 0, 1)])
def test_sizes_and_alignments(
    kind: type[nnx.Optimizer], dtype: str, size: int, decay: int, starts: tuple[int, ...]
) -> None:
    given, hyper = buffers(kind, size, dtype, starts), hyper_of(kind, dtype)
    wanted = expected(kind, given, hyper, decay)
    backend = EmulatedBackend()
    assert backend.update_(kind.formula(), hyper, *given, decay=decay) is None
    assert backend.device.launches == [f"update_{kind.__name__.lower()}"]
    for got, value in zip(given, wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_grids_that_stride(kind: type[nnx.Optimizer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "WAVES", 1)
    given, hyper = buffers(kind, 10_007, "float64"), hyper_of(kind, "float64")
    wanted = expected(kind, given, hyper, 5001)
    EmulatedBackend().update_(kind.formula(), hyper, *given, decay=5001)
    for got, value in zip(given, wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("guard", [np.nan, np.inf, -np.inf])
def test_nothing_is_written_under_a_bad_guard(kind: type[nnx.Optimizer], guard: float) -> None:
    given, hyper = buffers(kind, 37, "float32"), hyper_of(kind, "float32")
    before = [array.copy() for array in given]
    EmulatedBackend().update_(kind.formula(), hyper, *given, decay=9, guard=np.array(guard, "float32"))
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_weight_decay_of_a_parameter_that_is_not_finite_stays_there() -> None:
    p, g, h = np.array([np.inf, np.inf]), np.ones(2), np.ones(2)
    EmulatedBackend().update_(nnx.AdaGrad.formula(), np.array([0.1, 0.01, 0.2, 1.0]), p, g, h, decay=1)
    assert h.tolist() == [np.inf, 2.0]


@pytest.mark.parametrize(("norm", "scale"), [(7.0, 1.5 / 7), (2.0, 0.5), (np.nan, np.nan), (np.inf, 0.0)])
def test_clip(norm: float, scale: float) -> None:
    hyper = np.array([0.1, 0.9, 0.5])
    assert EmulatedBackend().clip_(hyper, np.array(norm), np.array(1.5)) is None
    np.testing.assert_allclose(hyper, [0.1, 0.9, scale], rtol=1e-15)


def test_declined_before_anything_is_written() -> None:
    backend, hyper = EmulatedBackend(), np.array([0.1, 0.2, 1.0])
    p, g, single, sgd = np.ones(6), np.ones(6), np.ones(6, "float32"), nnx.SGD.formula()
    declined = [
        backend.update_(sgd, hyper, p, np.ones(12)[::2]),
        backend.update_(sgd, hyper, p, single),
        backend.update_(sgd, hyper.astype("float32"), p, g),
        backend.update_(sgd, hyper, p, g, guard=np.array(1, "float32")),
        backend.update_(sgd, hyper.astype("float16"), p.astype("float16"), g.astype("float16")),
        backend.clip_(hyper, np.array(1, "float32"), np.array(1.0)),
    ]
    assert all(result is NotImplemented for result in declined)
    assert backend.device.launches == []
    assert (p == 1).all()
