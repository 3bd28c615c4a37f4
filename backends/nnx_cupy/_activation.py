"""Activations, and their backwards with the bias gradient of the layer below."""

from typing import Any

from ._bias import BiasOps
from ._launch import Array, takes


class ActivationOps(BiasOps):
    def relu(self, x: Array, *, out: Array | None = None) -> Any:
        return self._activate("relu", (x,), out)

    def sigmoid(self, x: Array, *, out: Array | None = None) -> Any:
        return self._activate("sigmoid", (x,), out)

    def tanh(self, x: Array, *, out: Array | None = None) -> Any:
        return self._activate("hyperbolic_tangent", (x,), out)

    def scale(self, x: Array, factor: Array, *, out: Array | None = None) -> Any:
        return self._activate("scale", (x, factor), out)

    def _activate(self, name: str, inputs: tuple[Array, ...], out: Array | None) -> Any:
        if not takes(*inputs, out):
            return NotImplemented
        return self._map("activation.cu", name, inputs, out)

    def relu_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Any:
        return self._activate_backward("relu_backward", dy, y, out, db)

    def sigmoid_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Any:
        return self._activate_backward("sigmoid_backward", dy, y, out, db)

    def tanh_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Any:
        return self._activate_backward("tanh_backward", dy, y, out, db)

    def _activate_backward(self, name: str, dy: Array, y: Array, out: Array | None, db: Array | None) -> Any:
        if not takes(dy, y, out, db):
            return NotImplemented
        return self._map("activation.cu", name, (dy, y), out, db)
