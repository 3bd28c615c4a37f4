"""Checks beside the table: the required members of a backend, and `capture`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops import Array, HostArray, Ops, missing_members
from ..optimizers import SGD
from ._arrays import mismatch, same_bits
from ._case import SUMS


def require(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)


def require_near(got: HostArray, expected: HostArray, tolerance: float, what: str) -> None:
    require(got.shape == expected.shape, f"{what} has shape {got.shape}, expected {expected.shape}")
    problem = mismatch(got, expected, tolerance)
    require(problem is None, f"{what}: {problem}")


def round_trip(ops: Ops, dtype: str) -> None:
    """Check that `to_host(to_device(x))` has x's values, shape and dtype, and that `to_device` leaves x alone."""
    for shape in ((), (1,), (7,), (5, 3), (2, 3, 5), (0, 4)):
        host = np.asarray(np.random.default_rng(0).random(shape) * 200).astype(dtype)
        layouts = {"contiguous": host, "transposed": host.T, "reversed": host[::-1] if shape else host}
        for layout, given in layouts.items():
            before = given.copy()
            back = np.array(ops.to_host(ops.to_device(given)))
            what = f"required[{dtype}-round-trip]: a {layout} array of shape {given.shape}"
            require(back.dtype == given.dtype, f"{what} came back as {back.dtype}")
            require(back.shape == given.shape, f"{what} came back with shape {back.shape}")
            require(same_bits(back, before), f"{what} came back with other values")
            require(same_bits(given, before), f"{what} was changed by to_device")


def matmul(ops: Ops, dtype: str) -> None:
    """Check products of matrices and transposed views, returned or written to `out`."""
    r = np.random.default_rng(0)
    tolerance = SUMS[dtype == "float64"]
    for n, k, m in ((37, 13, 5), (1, 130, 9), (6, 1, 11), (9, 7, 1)):
        a, b = r.normal(size=(n, k)).astype(dtype), r.normal(size=(k, m)).astype(dtype)
        expected = a.astype(np.float64) @ b.astype(np.float64)
        lefts = {"a": ops.to_device(a), "a.T": ops.to_device(np.ascontiguousarray(a.T)).T}
        rights = {"b": ops.to_device(b), "b.T": ops.to_device(np.ascontiguousarray(b.T)).T}
        for left, x in lefts.items():
            for right, y in rights.items():
                what = f"required[{dtype}-matmul]: matmul({left}, {right}) of ({n}, {k}) and ({k}, {m})"
                product = np.array(ops.to_host(ops.matmul(x, y)))
                require(product.dtype == np.dtype(dtype), f"{what} has dtype {product.dtype}")
                require_near(product, expected, tolerance, what)
                out = ops.to_device(np.full((n, m), np.nan, dtype))
                require(ops.matmul(x, y, out=out) is out, f"{what} with out= does not return out")
                require_near(np.array(ops.to_host(out)), expected, tolerance, f"{what} with out=")


def views(ops: Ops, dtype: str) -> None:
    """Check that a reshaped slice of a buffer is a view, and that two buffers share nothing.

    A model's parameters are named views on one buffer.
    """
    where = f"required[{dtype}-views]"
    buffer, other = ops.allocate(12, dtype), ops.allocate(12, dtype)
    view = ops.xp.reshape(buffer[4:10], (2, 3))
    view[...] = ops.to_device(np.array([[1, 2, 3], [4, 5, 6]], dtype))
    expected = np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0], dtype)
    require(
        same_bits(np.array(ops.to_host(buffer)), expected),
        f"{where}: writing to a reshaped slice of a buffer does not show in the buffer: is it a copy?",
    )
    buffer[...] = ops.to_device(np.ones(12, dtype))
    require(
        same_bits(np.array(ops.to_host(view)), np.ones((2, 3), dtype)),
        f"{where}: writing to a buffer does not show in a reshaped slice of it: is it a copy?",
    )
    require(not np.array(ops.to_host(other)).any(), f"{where}: two allocated buffers share memory")


def descriptions(ops: Ops) -> None:
    """Check that name, unavailable(), device_info() and synchronize() give what the contract says."""
    where, backend = "required[descriptions]", ops.backend
    missing = missing_members(backend)
    require(not missing, f"{where}: the backend lacks {', '.join(missing)}; nnx.Backend says what they do")
    name: Any = backend.name
    require(isinstance(name, str) and bool(name), f"{where}: name is {name!r}, expected a string")
    reason: Any = type(backend).unavailable()
    require(
        reason is None or (isinstance(reason, str) and bool(reason)),
        f"{where}: unavailable() gave {reason!r}, expected None or a sentence",
    )
    info: Any = backend.device_info()
    strings = isinstance(info, dict) and all(isinstance(s, str) for item in info.items() for s in item)
    require(strings and bool(info), f"{where}: device_info() gave {info!r}, expected a dictionary of strings")
    done: Any = backend.synchronize()  # type: ignore[func-returns-value]
    require(done is None, f"{where}: synchronize() gave {done!r}, expected None")


def capture(ops: Ops, dtype: str) -> None:
    """Check that a captured step does what the step does: once per call from the first on, on each call's inputs."""
    where, tolerance, p = f"capture[{dtype}-step]", SUMS[dtype == "float64"], ops.allocate(5, dtype)

    def step(g: Array, hyper: Array) -> Array:
        ops.update_(SGD.formula(), hyper, p, g)
        return ops.sum_squares(p)

    gradients = np.random.default_rng(0).normal(size=(6, 5)).astype(dtype)
    rates = np.linspace(0.5, 1.0, 6).astype(dtype)
    inputs = [
        (ops.to_device(g.copy()), ops.to_device(np.array([rate, 0.0, 1.0], dtype)))
        for g, rate in zip(gradients, rates, strict=True)
    ]
    captured = ops.capture(step, inputs[0])
    returned = [captured(*given) for given in inputs]
    path = -np.cumsum(rates[:, np.newaxis].astype(np.float64) * gradients, axis=0)
    require_near(np.array(ops.to_host(p)), path[-1], tolerance, f"{where}: what the step updates")
    for i, loss in enumerate(returned):
        expected = np.asarray(np.sum(path[i] ** 2))
        require_near(np.array(ops.to_host(loss)), expected, tolerance, f"{where}: the result of call {i + 1}")
        unchanged = same_bits(np.array(ops.to_host(inputs[i][0])), gradients[i])
        require(unchanged, f"{where}: the input of call {i + 1} was modified")


def capture_several(ops: Ops, dtype: str) -> None:
    """Check three steps that are captured as one and return a list of losses.

    The losses come back as one array, which no later call changes; `to_host_all` reads all results together.
    """
    where, tolerance, p = f"capture[{dtype}-several]", SUMS[dtype == "float64"], ops.allocate(5, dtype)

    def steps(gradients: Array, hyper: Array) -> list[Array]:
        losses = []
        for i in range(3):
            ops.update_(SGD.formula(), hyper[i, ...], p, gradients[i, ...])
            losses.append(ops.sum_squares(p))
        return losses

    gradients = np.random.default_rng(1).normal(size=(4, 3, 5)).astype(dtype)
    hyper = ops.to_device(np.array([[0.5, 0.0, 1.0]] * 3, dtype))
    inputs = [(ops.to_device(g.copy()), hyper) for g in gradients]
    captured = ops.capture(steps, inputs[0])
    returned = [captured(*given) for given in inputs]
    path = -0.5 * np.cumsum(gradients.reshape(12, 5).astype(np.float64), axis=0)
    expected = np.sum(path**2, axis=1).reshape(4, 3)
    read = ops.to_host_all(returned)
    require(len(read) == 4, f"{where}: to_host_all of 4 arrays gave {len(read)}")
    for i, (one, many) in enumerate(zip(returned, read, strict=True)):
        require_near(np.array(ops.to_host(one)), expected[i], tolerance, f"{where}: the results of call {i + 1}")
        require_near(np.array(many), expected[i], tolerance, f"{where}: to_host_all, array {i + 1}")


REQUIRED: dict[str, tuple[Callable[[Ops, str], None], tuple[str, ...]]] = {
    "round-trip": (round_trip, ("float32", "float64", "bool", "uint8", "uint32", "int64")),
    "matmul": (matmul, ("float32", "float64")),
    "views": (views, ("float32", "float64", "bool")),
}
