"""Activation functions and their derivatives, and why there must be any: linear layers collapse into one."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import plots as plotting
from .._support.checks import check_count, check_number, check_seed
from .._support.result import Result, Table
from ..backend import BackendLike, choose
from ..layers import Activation, Affine, Layer, ReLU, Sigmoid, Tanh
from ..model import Sequential
from ..ops import Array, HostArray, Ops

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 400  # even, so that none lies on the step at 0
_INPUTS, _OUTPUTS, _ROWS = 10, 5, 400
_H = 1e-5


@dataclass(frozen=True, eq=False)
class Function:
    """One activation function at the points x: its values and derivatives, (points,) float64 each."""

    y: HostArray
    derivative: HostArray
    """The derivative by nnx's own backward operation."""
    numerical: HostArray
    """The derivative by central differences, (f(x + h) - f(x - h)) / 2h."""

    @property
    def error(self) -> float:
        """The greatest difference of the two derivatives."""
        return float(np.abs(self.derivative - self.numerical).max())


@dataclass(frozen=True, eq=False, repr=False)
class Activations(Result):
    """What `activations` returns: the functions, and the outputs of deep and single-layer networks."""

    x: HostArray
    """(points,) float64, without 0, where the step and ReLU have no derivative."""
    functions: dict[str, Function]
    """step, sigmoid, tanh and relu."""
    depth: int
    """Number of layers of the networks, the last included."""
    units: int
    linear: HostArray
    """(rows, outputs): outputs of the deep network without activation functions."""
    single: HostArray
    """(rows, outputs): outputs of the single layer that is equivalent to it."""
    relu: HostArray
    """(rows, outputs): outputs of the deep network with the same weights and ReLU between the layers."""
    closest: HostArray
    """(rows, outputs): outputs of the single layer that is closest to `relu`, by least squares."""

    name = "activations"

    @property
    def difference(self) -> float:
        """The greatest absolute difference between `linear` and `single`."""
        return float(np.abs(self.linear - self.single).max())

    @property
    def unexplained(self) -> float:
        """The share of the variance of `relu` that the closest single layer leaves."""
        residual = np.sum((self.relu - self.closest) ** 2)
        return float(residual / np.sum((self.relu - self.relu.mean(axis=0)) ** 2))

    def summary(self) -> str:
        lines = [
            f"{name:<8} values {f.y.min():>6.3f} .. {f.y.max():.3f}, greatest derivative {f.derivative.max():.3f}, "
            f"error {f.error:.1e}"
            for name, f in self.functions.items()
        ]
        return "\n".join(
            [
                *lines,
                "(error: the greatest difference from the numerical derivative)",
                f"{self.depth} linear layers of {self.units} units give what one layer gives whose weights are the "
                f"product of theirs: greatest difference {self.difference:.1e} in outputs of standard deviation "
                f"{self.linear.std():.2f}.",
                f"With ReLU between them no single layer does: the closest leaves {self.unexplained:.0%} of the "
                "variance.",
            ]
        )

    def table(self) -> Table:
        rows = [
            (name, *map(float, values))
            for name, f in self.functions.items()
            for values in zip(self.x, f.y, f.derivative, f.numerical, strict=True)
        ]
        return ("function", "x", "y", "derivative", "numerical"), rows

    def tables(self) -> dict[str, Table]:
        parts = (self.linear, self.single, self.relu, self.closest)
        rows = [(*place, *(float(part[place]) for part in parts)) for place in np.ndindex(*self.linear.shape)]
        columns = ("row", "output", "linear", "single", "relu", "closest")
        return {**super().tables(), f"{self.name}-collapse": (columns, rows)}

    def draw(self) -> "Figure":
        figure, ((values, slopes), (linear, relu)) = plotting.panels(
            2, 2, "Activation functions, and why a network needs them", width=5.0, height=3.9
        )
        for i, (name, f) in enumerate(self.functions.items()):
            look = {**plotting.line(i), "markevery": (12 * i, 50)}
            for axes, y in ((values, f.y), (slopes, f.derivative)):
                # Lines that jump are drawn in two pieces.
                jump = np.insert(y, _POINTS // 2, np.nan)
                axes.plot(np.insert(self.x, _POINTS // 2, 0), jump, label=name, **look)
        values.set(title="functions", ylabel="y = f(x)", ylim=(-1.3, 2.3))
        slopes.set(title="derivatives: what the backward pass multiplies by", ylabel="dy/dx", ylim=(-0.25, 1.3))
        values.legend(loc="upper left")
        slopes.text(-self.x[-1], -0.06, "step: 0 everywhere, so nothing to learn from", va="top", fontsize=8)
        slopes.text(0, 0.27, "sigmoid:\nat most 1/4", ha="center", fontsize=8)
        for axes in (values, slopes):
            axes.set_xlabel("x, the unit's weighted sum")
        _scatter(
            linear,
            self.single[:, 0],
            self.linear[:, 0],
            f"{self.depth} layers without activation functions collapse into one",
            "first output of the one layer with the product of the weights",
            f"on the diagonal:\ngreatest difference {self.difference:.0e}",
        )
        _scatter(
            relu,
            self.closest[:, 0],
            self.relu[:, 0],
            "with ReLU between them they do not",
            "first output of the closest single layer (least squares)",
            f"off the diagonal: {self.unexplained:.0%} of the\nvariance is beyond any single layer",
        )
        return figure


def _scatter(axes: Any, x: HostArray, y: HostArray, title: str, label: str, note: str) -> None:
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=plotting.FAINT, linewidth=1)
    axes.plot(x, y, ".", color=plotting.COLOURS[0], markersize=4, alpha=0.6)
    axes.set(title=title, xlabel=label, ylabel="first output of the deep network")
    axes.text(0.04, 0.95, note, transform=axes.transAxes, va="top", fontsize=9)


def activations(
    *, limit: float = 5.0, depth: int = 5, units: int = 100, seed: int = 0, backend: BackendLike = None
) -> Activations:
    """Measure step, sigmoid, tanh and ReLU with their derivatives, and show how linear layers collapse into one.

    The functions and derivatives are the backend's own operations in float64, at 400 points between -limit and limit.
    The deep network has normal inputs, 5 outputs and random weights and biases; because x @ W1 @ W2 ... is x @ (W1 @ W2
    ...), one layer does the same without activation functions.

    Args:
        limit: The greatest |x|, more than 0.
        depth: Number of Affine layers, the last included; at least 2.
        units: Number of units in each layer but the last.
        seed: Seed of weights, biases and inputs.
        backend: Name of a backend, or a backend; None for the one in force.

    Returns:
        The measurements, in float64.

    Raises:
        InputError: For values out of their range.
    """
    limit = check_number("limit", limit, 0, above=True)
    depth, units, seed = check_count("depth", depth, 2), check_count("units", units), check_seed(seed)
    ops = Ops(choose(backend).backend)
    x = np.linspace(-limit, limit, _POINTS)
    functions = {name: _measure(ops, f, derivative, x) for name, (f, derivative) in _functions(ops).items()}
    return Activations(x, functions, depth, units, *_collapse(ops, depth, units, seed))


def _functions(ops: Ops) -> dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]]:
    """Return, by name, each function with its derivative at x."""

    def step(x: Array) -> Array:
        return ops.xp.astype(x > 0, x.dtype)

    def learned(layer: Activation) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        def value(x: Array) -> Array:
            return ops.activation(layer.formula, x)

        def slope(x: Array) -> Array:
            return ops.activation_backward(layer.formula_backward, ops.xp.ones_like(x), x, value(x))

        return value, slope

    layers = {"sigmoid": Sigmoid(), "tanh": Tanh(), "relu": ReLU()}
    return {"step": (step, ops.xp.zeros_like)} | {name: learned(layer) for name, layer in layers.items()}


def _measure(ops: Ops, f: Callable[[Array], Array], derivative: Callable[[Array], Array], x: HostArray) -> Function:
    def at(points: HostArray, function: Callable[[Array], Array] = f) -> HostArray:
        return np.array(ops.to_host(function(ops.to_device(points))))

    return Function(at(x), at(x, derivative), (at(x + _H) - at(x - _H)) / (2 * _H))


def _collapse(ops: Ops, depth: int, units: int, seed: int) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    rng = np.random.default_rng(seed)
    sizes = [_INPUTS, *[units] * (depth - 1), _OUTPUTS]
    layers = [(rng.standard_normal((i, o)) * np.sqrt(2 / i), rng.standard_normal(o) * 0.5) for i, o in pairwise(sizes)]
    x = rng.standard_normal((_ROWS, _INPUTS))

    def outputs(*parts: Layer) -> HostArray:
        return Sequential(*parts).build(_INPUTS, backend=ops.backend, dtype="float64").predict(x)

    def affine() -> list[Layer]:
        return [Affine(w, b) for w, b in layers]

    weights, bias = layers[0]
    for w, b in layers[1:]:
        weights, bias = weights @ w, bias @ w + b
    between: list[Layer] = [layer for part in affine() for layer in (part, ReLU())]
    relu = outputs(*between[:-1])
    extended = np.column_stack([x, np.ones(_ROWS)])
    closest = extended @ np.linalg.lstsq(extended, relu, rcond=None)[0]
    return outputs(*affine()), outputs(Affine(weights, bias)), relu, closest
