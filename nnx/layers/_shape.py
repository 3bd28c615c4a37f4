"""Layers that compute nothing: they change the shape or pass arrays through."""

import math
from collections.abc import Sequence

from .._support.arena import Spec
from .._support.checks import check_float
from ..errors import InputError
from ..ops import Array
from ._layer import Layer


class Flatten(Layer):
    """Reshapes (n, ...) to (n, features), without a copy where the array is contiguous."""

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        return (), (math.prod(shape),)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        check_float(self.ops, "x", x)
        if len(x.shape) < 1:
            raise InputError(f"{self!r}: got inputs of shape (), expected (n, ...).")
        if train_flg:
            self._saved = x.shape
        return self.ops.xp.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def backward(self, dout: Array) -> Array:
        shape = self._last()
        self._check_gradient(dout, (shape[0], math.prod(shape[1:])))
        return self.ops.xp.reshape(dout, shape)


class Identity(Layer):
    """Passes arrays of any shape through unchanged."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        return x

    def backward(self, dout: Array) -> Array:
        return dout
