"""Activation functions: each is a formula of one number, and its derivative another."""

from functools import cached_property

from .._support.checks import check_float
from ..formula import Formula, Number, Value, derivative, maximum, replaced, sigmoid, tanh, where
from ..ops import Array
from ._layer import Layer


class Activation(Layer):
    """An elementwise function. A subclass defines `function`, by the functions of `nnx.formula`.

    The derivative follows from it. Where another form of that is better, such as one of the value alone, which lets the
    function be fused to the product before it, the subclass defines `derivative`, too.
    """

    def function(self, x: Number) -> Number:
        """The value at x."""
        raise NotImplementedError(f"{type(self).__name__} must define function(x)")

    def derivative(self, x: Number, y: Number) -> Number:
        """The derivative at x, where the value is y."""
        value = self.function(x)
        return replaced(derivative(value, x), {value: y}) if isinstance(value, Value) else 0.0

    @property
    def name(self) -> str:
        """The name of the formula."""
        return type(self).__name__.lower()

    @cached_property
    def formula(self) -> Formula:
        """Of x: y."""
        return Formula(self.name, self.function, ["x"], ["y"])

    @cached_property
    def formula_backward(self) -> Formula:
        """Of dy, x and y: dx. A product, not a choice: the gradient's NaN must come through in any case."""
        return Formula(self.name, lambda dy, x, y: dy * self.derivative(x, y), ["dy", "x", "y"], ["dx"])

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y = self.ops.activation(self.formula, check_float(self.ops, "x", x))
        if train_flg:
            self._saved = x, y
        return y

    def backward(self, dout: Array) -> Array:
        x, y = self._last()
        self._check_gradient(dout, y.shape)
        return self.ops.activation_backward(self.formula_backward, dout, x, y)


class ReLU(Activation):
    """max(x, 0)."""

    def function(self, x: Number) -> Number:
        return maximum(x, 0.0)

    def derivative(self, x: Number, y: Number) -> Number:
        return where(y > 0, 1.0, 0.0)


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    def function(self, x: Number) -> Number:
        return sigmoid(x)


class Tanh(Activation):
    """The hyperbolic tangent."""

    def function(self, x: Number) -> Number:
        return tanh(x)


RELU, SIGMOID, TANH = ReLU().formula, Sigmoid().formula, Tanh().formula
