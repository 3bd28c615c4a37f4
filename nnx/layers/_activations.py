"""Activation functions: each is a formula of one number, and so is its derivative."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

from .._support.checks import check_float, check_number
from .._support.named import by_name, named
from ..errors import InputTypeError
from ..formula import (
    Formula,
    Number,
    Value,
    derivative,
    erf,
    exp,
    maximum,
    minimum,
    replaced,
    sigmoid,
    softplus,
    tanh,
    where,
)
from ..ops import Array
from ._layer import Layer


class Activation(Layer):
    """An elementwise function: `Activation(lambda x: x * sigmoid(x))`, by the functions of `nnx.formula`.

    Inputs and outputs: of any shape (n, ...), float32 or float64. A subclass defines the method `function` and, if it
    wants, `derivative` instead; its own settings are constructor arguments that are named in `fields`.

    Args:
        function: function(x) of one number, traced once; or the name under which it was given to `nnx.register` (which
            a checkpoint needs).
        derivative: derivative(x, y) at x, where the value is y; or a registered name. Default: derived from the
            function. One that uses y alone lets the activation be fused to the product before it.

    Raises:
        InputError: a name is not registered, or the function uses values of another formula.
        InputTypeError: there is no function, or what was given is neither a function nor a name, or no formula.
    """

    init = "xavier"
    """The initial values of an Affine just before, where these are left open."""

    def __init__(
        self,
        function: "Callable[[Number], Number] | str | None" = None,
        derivative: "Callable[[Number, Number], Number] | str | None" = None,
    ) -> None:
        super().__init__()
        self.own = function is not None
        if function is None and type(self) is Activation:
            raise InputTypeError("Activation: got no function; write nnx.Activation(lambda x: ...), or a subclass.")
        for what, given in (("function", function), ("derivative", derivative)):
            if given is not None:
                if not callable(given) and not isinstance(given, str):
                    raise InputTypeError(f"Activation: {what} is {given!r}, expected a function or a registered name.")
                setattr(self, what, by_name(given) if isinstance(given, str) else given)
        if self.own:
            assert self.formula  # tracing refuses a function that is no formula

    def function(self, x: Number) -> Number:
        """Return the value at x."""
        raise NotImplementedError(f"{type(self).__name__} must define function(x)")

    def derivative(self, x: Number, y: Number) -> Number:
        """Return the derivative at x, where the value is y."""
        value = self.function(x)
        return replaced(derivative(value, x), {value: y}) if isinstance(value, Value) else 0.0

    @property
    def name(self) -> str:
        """The name of the formula."""
        if not self.own:
            return type(self).__name__.lower()
        name = getattr(self.function, "__name__", "")
        return name if name.isidentifier() and name.isascii() and name[0] != "_" else "activation"

    def config(self) -> dict[str, Any]:
        if not self.own:
            return super().config()
        config = super().config() | {"function": named(self.function)}
        return config | ({"derivative": named(self.derivative)} if "derivative" in vars(self) else {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})" if self.own else super().__repr__()

    @cached_property
    def formula(self) -> Formula:
        """The formula of the value: y from x."""
        return Formula(self.name, self.function, ["x"], ["y"])

    @cached_property
    def formula_backward(self) -> Formula:
        """The formula of the gradient: dx = dy * derivative(x, y).

        It is a product and not a choice by `where`, so that a NaN in dy reaches dx in any case.
        """
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


class _WithoutSettings(Activation):
    """Base of the functions below that take no argument."""

    def __init__(self) -> None:
        super().__init__()


class ReLU(_WithoutSettings):
    """max(x, 0) (Nair & Hinton 2010). The derivative at 0 is 0."""

    init = "he"

    def function(self, x: Number) -> Number:
        return maximum(x, 0.0)

    def derivative(self, x: Number, y: Number) -> Number:
        return where(y > 0, 1.0, 0.0)


class Sigmoid(_WithoutSettings):
    """1 / (1 + exp(-x)), computed without overflow."""

    def function(self, x: Number) -> Number:
        return sigmoid(x)


class Tanh(_WithoutSettings):
    """The hyperbolic tangent, (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

    def function(self, x: Number) -> Number:
        return tanh(x)


class LeakyReLU(Activation):
    """x where x > 0, else slope * x (Maas, Hannun & Ng 2013).

    Args:
        slope: at least 0.
    """

    init = "he"
    fields = ("slope",)

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = check_number("LeakyReLU: slope", slope, 0)

    def function(self, x: Number) -> Number:
        return where(x > 0, x, self.slope * x)

    def derivative(self, x: Number, y: Number) -> Number:
        return where(y > 0, 1.0, self.slope)


class ELU(Activation):
    """x where x > 0, else alpha * (exp(x) - 1) (Clevert, Unterthiner & Hochreiter 2016).

    Args:
        alpha: at least 0; far below 0 the value approaches -alpha.
    """

    init = "he"
    fields = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = check_number("ELU: alpha", alpha, 0)

    def function(self, x: Number) -> Number:
        return where(x > 0, x, self.alpha * (exp(minimum(x, 0.0)) - 1.0))

    def derivative(self, x: Number, y: Number) -> Number:
        return where(y > 0, 1.0, y + self.alpha)


class GELU(_WithoutSettings):
    """x * (1 + erf(x / sqrt(2))) / 2: x times the normal distribution function at x (Hendrycks & Gimpel 2016)."""

    init = "he"

    def function(self, x: Number) -> Number:
        return 0.5 * x * (1.0 + erf(math.sqrt(0.5) * x))


class SiLU(_WithoutSettings):
    """x * sigmoid(x), also known as swish (Elfwing, Uchibe & Doya 2018)."""

    init = "he"

    def function(self, x: Number) -> Number:
        return x * sigmoid(x)


class Softplus(_WithoutSettings):
    """log(1 + exp(x)), a smooth ReLU (Dugas et al. 2001), computed without overflow."""

    init = "he"

    def function(self, x: Number) -> Number:
        return softplus(x)


RELU, SIGMOID, TANH = ReLU().formula, Sigmoid().formula, Tanh().formula
