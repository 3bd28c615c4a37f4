"""Activation functions: each is an operation, and its backward another that needs the output alone."""

from typing import ClassVar

from ..backend import Array
from ..checks import check_float
from ._layer import Layer


class Activation(Layer):
    """An elementwise function whose derivative is a function of its value."""

    op: ClassVar[str]

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y = getattr(self.ops, self.op)(check_float(self.ops, "x", x))
        if train_flg:
            self._saved = y
        return y

    def backward(self, dout: Array) -> Array:
        y = self._last()
        self._check_gradient(dout, y.shape)
        return getattr(self.ops, f"{self.op}_backward")(dout, y)


class ReLU(Activation):
    """max(x, 0)."""

    op = "relu"


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    op = "sigmoid"


class Tanh(Activation):
    """The hyperbolic tangent."""

    op = "tanh"
