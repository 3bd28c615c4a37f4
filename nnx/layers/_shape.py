"""Layers that compute nothing."""

import math
from collections.abc import Sequence

from ..arena import Spec
from ..backend import Array
from ._layer import Layer


class Flatten(Layer):
    """(n, ...) to (n, features), without a copy."""

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        return (), (math.prod(shape),)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if train_flg:
            self._saved = x.shape
        return self.ops.xp.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def backward(self, dout: Array) -> Array:
        return self.ops.xp.reshape(dout, self._last())


class Identity(Layer):
    """Passes everything through."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        return x

    def backward(self, dout: Array) -> Array:
        return dout
