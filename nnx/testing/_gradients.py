"""Backward operations against central differences of the forward operations on the same backend, in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..layers import Activation
from ..losses import ElementwiseLoss
from ..ops import Array, HostArray, Ops
from ._cases.formulas import ACTIVATIONS, ELEMENTWISE

STEP, TOLERANCE = 1e-6, 1e-7

Point: TypeAlias = "dict[str, HostArray]"


class Problem(NamedTuple):
    """A scalar function of host arrays, where to differentiate it, and the gradients to test, by argument."""

    value: Callable[..., float]
    point: Point
    gradients: Point


def _central_difference(value: Callable[..., float], point: Point, name: str, direction: HostArray) -> float:
    """Return how fast `value` changes along a direction of one argument."""
    up, down = ({**point, name: point[name] + sign * STEP * direction} for sign in (1, -1))
    return (value(**up) - value(**down)) / (2 * STEP)


def check_gradients(ops: Ops, op: str, problem: "Maker") -> None:
    """Compare every gradient that `op` gives with central differences along three random directions."""
    generator = np.random.default_rng(1)
    value, point, gradients = problem(_Device(ops), generator)
    for name, gradient in gradients.items():
        for _ in range(3):
            direction = generator.normal(size=point[name].shape)
            numeric = _central_difference(value, point, name, direction)
            got = float(np.sum(gradient * direction))
            if not abs(numeric - got) <= TOLERANCE * (1 + abs(numeric)):
                raise AssertionError(
                    f"{op}[float64-numerical-gradient]: the derivative by {name} along a random direction is {got!r}, "
                    f"central differences of the forward operation give {numeric!r}"
                )


class _Device:
    """Calls operations with host arrays: `device.affine(x, w)` takes and returns NumPy arrays."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops

    def native(self, value: Any) -> Array:
        return self._ops.to_device(np.array(value)) if isinstance(value, np.ndarray) else value

    def host(self, array: Array) -> HostArray:
        return np.array(self._ops.to_host(array))

    def __getattr__(self, op: str) -> Callable[..., HostArray]:
        def call(*args: Any, **kwargs: Any) -> HostArray:
            return self.host(getattr(self._ops, op)(*map(self.native, args), **kwargs))

        return call

    def written(self, op: str, *args: Any, buffers: dict[str, tuple[int, ...]], **kwargs: Any) -> Point:
        """Return what `op` writes to buffers of the given shapes."""
        native = {name: self.native(np.full(shape, np.nan)) for name, shape in buffers.items()}
        getattr(self._ops, op)(*map(self.native, args), **{k: self.native(v) for k, v in kwargs.items()}, **native)
        return {name: self.host(array) for name, array in native.items()}


def _affine(device: _Device, r: np.random.Generator) -> Problem:
    x, w, b, dy = r.normal(size=(5, 4)), r.normal(size=(4, 3)), r.normal(size=3), r.normal(size=(5, 3))
    written = device.written("affine_backward", dy, x, w, buffers={"dx": x.shape, "dw": w.shape, "db": b.shape})
    return Problem(
        lambda x, w, b: float(np.sum(device.affine(x, w, b) * dy)),
        {"x": x, "w": w, "b": b},
        {"x": written["dx"], "w": written["dw"], "b": written["db"]},
    )


def activation(layer: Activation) -> "Maker":
    """Make the problem of an activation's backward."""

    def problem(device: _Device, r: np.random.Generator) -> Problem:
        def forward(x: HostArray) -> HostArray:
            return device.activation(layer.formula, x)

        # Not near a kink at 0.
        x, dy = r.uniform(0.1, 2, (5, 3)) * r.choice([-1, 1], (5, 3)), r.normal(size=(5, 3))
        arguments = layer.formula_backward, dy, x, forward(x)
        written = device.written("activation_backward", *arguments, buffers={"out": x.shape, "db": (3,)})
        return Problem(
            lambda x, bias: float(np.sum(forward(x + bias) * dy)),
            {"x": x, "bias": np.zeros(3)},
            {"x": written["out"], "bias": written["db"]},
        )

    return problem


def _batch_norm(device: _Device, r: np.random.Generator) -> Problem:
    x, gamma, beta, dy = r.normal(size=(5, 3)), r.normal(size=3), r.normal(size=3), r.normal(size=(5, 3))
    hyper = np.array([0.1, 0.9, 0.1])
    columns = dict.fromkeys(("dgamma", "dbeta", "db"), (3,))
    statistics = x.mean(axis=0), x.var(axis=0)
    written = device.written(
        "batch_norm_backward", dy, x, gamma, *statistics, hyper, buffers={"out": x.shape, **columns}
    )
    return Problem(
        lambda x, gamma, beta, bias: float(np.sum(device.batch_norm(x + bias, gamma, beta, hyper) * dy)),
        {"x": x, "gamma": gamma, "beta": beta, "bias": np.zeros(3)},
        {"x": written["out"], "gamma": written["dgamma"], "beta": written["dbeta"], "bias": written["db"]},
    )


def _dropout(device: _Device, r: np.random.Generator) -> Problem:
    x, dy, factor = r.normal(size=(5, 3)), r.normal(size=(5, 3)), np.array(2.0)
    rng = np.array([1, 2, 3, 4, 5, 2**31, 0], np.uint32)
    mask = device.native(np.zeros((5, 3), np.bool_))
    device.dropout(x, rng, factor, mask=mask)
    written = device.written("dropout_backward", dy, device.host(mask), factor, buffers={"out": x.shape, "db": (3,)})
    return Problem(
        lambda x, bias: float(np.sum(device.dropout(x + bias, rng, factor) * dy)),
        {"x": x, "bias": np.zeros(3)},
        {"x": written["out"], "bias": written["db"]},
    )


def _convolution(device: _Device, r: np.random.Generator) -> Problem:
    x, w, b = r.normal(size=(3, 6, 5, 2)), r.normal(size=(4, 2, 3, 2)), r.normal(size=4)
    settings = {"stride": (2, 1), "pad": (1, 1)}

    def forward(x: HostArray, w: HostArray, b: HostArray) -> HostArray:
        return device.convolution(x, w, b, **settings)

    dy = r.normal(size=forward(x, w, b).shape)
    shapes = {"dx": x.shape, "dw": w.shape, "db": b.shape}
    written = device.written("convolution_backward", dy, x, w, buffers=shapes, **settings)
    return Problem(
        lambda x, w, b: float(np.sum(forward(x, w, b) * dy)),
        {"x": x, "w": w, "b": b},
        {"x": written["dx"], "w": written["dw"], "b": written["db"]},
    )


def _pooling(op: str) -> "Maker":
    """Make the problem of a pooling's backward."""

    def problem(device: _Device, r: np.random.Generator) -> Problem:
        # No two numbers so near that a step could change which one is the greatest.
        x = r.permutation(3 * 7 * 6 * 2).reshape(3, 7, 6, 2) / 100.0
        settings = {"size": (3, 2), "stride": (2, 2), "pad": (1, 0)}
        index = device.native(np.zeros((3, 4, 3, 2), np.uint8))
        more = {"index": index} if op == "max_pooling" else {}
        y = getattr(device, op)(x, **settings, **more)
        dy, given = r.normal(size=y.shape), [device.host(i) for i in more.values()]
        gradient = getattr(device, f"{op}_backward")(dy, *given, shape=(7, 6), **settings)
        return Problem(lambda x: float(np.sum(getattr(device, op)(x, **settings) * dy)), {"x": x}, {"x": gradient})

    return problem


def loss(op: str, *first: Any, hyper: HostArray | None = None) -> "Maker":
    """Make the problem of a loss; first: the formula, where the operation takes one."""

    def problem(device: _Device, r: np.random.Generator) -> Problem:
        z, bias, t = r.normal(size=(5, 3)), r.normal(size=3), r.dirichlet(np.ones(3), 5)
        more = () if hyper is None else (hyper,)
        written = device.written(op, *first, z, t, *more, bias=bias, buffers={"dz": z.shape, "db": (3,)})
        return Problem(
            lambda z, bias: float(getattr(device, op)(*first, z, t, *more, bias=device.native(bias))),
            {"z": z, "bias": bias},
            {"z": written["dz"], "bias": written["db"]},
        )

    return problem


def elementwise(kind: ElementwiseLoss) -> "Maker":
    """Make the problem of a loss by a formula."""
    numbers = [getattr(kind, name) for name in kind.settings]
    return loss("loss", kind.formula, hyper=np.array(numbers) if numbers else None)


Maker: TypeAlias = "Callable[[_Device, np.random.Generator], Problem]"
PROBLEMS: list[tuple[str, str, Maker]] = [
    ("affine_backward", "", _affine),
    ("batch_norm_backward", "", _batch_norm),
    ("dropout_backward", "", _dropout),
    ("convolution_backward", "", _convolution),
    ("max_pooling_backward", "", _pooling("max_pooling")),
    ("average_pooling_backward", "", _pooling("average_pooling")),
    ("softmax_cross_entropy", "", loss("softmax_cross_entropy")),
    *(("activation_backward", f"{layer.name}-", activation(layer)) for layer in ACTIVATIONS),
    *(("loss", f"{kind.formula.name}-", elementwise(kind)) for kind in ELEMENTWISE),
]
"""The operation, what precedes "numerical-gradient" in the check's name, and the problem."""
