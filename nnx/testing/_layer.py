"""The check of a user's own layer, in their tests."""

from typing import Any

import numpy as np

from .._support.differences import central_difference
from ..backend import BackendLike
from ..layers import Layer
from ..model import Sequential
from ..ops import HostArray

_H, _TOLERANCE = 1e-6, 1e-5
_ROWS, _SAMPLES = 7, 20


def check_layer(layer: Layer, shape: "int | tuple[int, ...]", *, backend: BackendLike = None) -> None:
    """Check a user's own layer on a backend.

    Checked are the shapes of its output and gradients, the gradients against numerical ones in float64, that prediction
    stores nothing, and that its `fields` make it again. The layer itself stays as it was.

    Args:
        layer: the layer.
        shape: of the inputs without their rows: they are (n, *shape).
        backend: a name or an instance; None: the one in force.

    Raises:
        AssertionError: the layer is wrong; the message says how.
    """
    model = Sequential(layer.bare()).build(shape, backend=backend, dtype="float64", seed=1)
    own, ops = model.layers[0], model.ops
    rng = np.random.default_rng(0)
    for parameter in model.params.values():  # at zeros and ones much would be right by chance
        parameter[...] = ops.to_device(np.array(ops.to_host(parameter)) + rng.normal(size=parameter.shape) / 4)
    x = rng.normal(size=(_ROWS, *model.input_shape))
    weight = rng.normal(size=(_ROWS, *model.output_shape))

    def output(train_flg: bool = True) -> HostArray:
        if own.random and train_flg:  # the same numbers at every call
            own.rng = ops.to_device(own.random_key(3, 0))
        y = own.forward(ops.to_device(x.copy()), train_flg)
        own.rng = None
        return np.array(ops.to_host(own.check_output("forward", y, weight.shape, "declare said")))

    def value() -> float:
        return float(np.sum(output() * weight))

    def gradients() -> dict[str, HostArray]:
        dx = own.backward(ops.to_device(weight.copy()))
        found = {"x": np.array(ops.to_host(own.check_output("backward", dx, x.shape, "its input was")))}
        return found | {name.partition(".")[2]: np.array(ops.to_host(g)) for name, g in model.grads.items()}

    output()
    analytic = gradients()
    output()
    predicted = output(train_flg=False)
    _same(predicted, output(train_flg=False), f"{layer!r}: two predictions for the same x differ")
    after = gradients()
    for name, gradient in analytic.items():
        _same(
            gradient,
            after[name],
            f"{layer!r}: a prediction between forward and backward changes the gradient of {name}",
        )
    _near(analytic["x"], x, value, rng, f"{layer!r}: the gradient of x")
    for full, parameter in model.params.items():
        name = full.partition(".")[2]
        host = np.array(ops.to_host(parameter))

        def at(host: HostArray = host, parameter: Any = parameter) -> float:
            parameter[...] = ops.to_device(host.copy())
            return value()

        _near(analytic[name], host, at, rng, f"{layer!r}: the gradient of {name}")
    again = type(layer)(**{name: getattr(layer, name) for name in layer.fields})
    if repr(again) != repr(layer):
        raise AssertionError(f"{layer!r}: made again of its fields {layer.fields} it is {again!r}")


def _same(got: HostArray, expected: HostArray, what: str) -> None:
    if not np.array_equal(got, expected):
        raise AssertionError(f"{what}, by at most {np.abs(got - expected).max():.3g}")


def _near(analytic: HostArray, place: HostArray, value: Any, rng: np.random.Generator, what: str) -> None:
    """Compare the gradient at some elements of `place`, of which `value()` is a function, with differences."""
    flat = place.reshape(-1)
    for i in rng.permutation(flat.size)[:_SAMPLES]:
        numerical, own = central_difference(value, flat, i, _H), float(analytic.reshape(-1)[i])
        if abs(own - numerical) > _TOLERANCE * max(1.0, abs(own), abs(numerical)):
            index = tuple(map(int, np.unravel_index(i, place.shape)))
            raise AssertionError(f"{what} at {index} is {own:.6g}, numerically {numerical:.6g}")
    value()
