"""The passes of fully connected layers for batches of one size, as steps that a backend may capture.

What the layers would allocate anew at every pass lies in buffers here, and an affine layer and the activation behind it
are one operation. Parameters, masks and running statistics are inputs: a step holds nothing of a network.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from .. import layers as own
from ..formula import Formula, where
from ..ops import Array, Ops
from ..plan import Captured
from .layers import Affine, BatchNormalization, Dropout, Relu, Sigmoid

_BACKWARD = {
    # It selects, as the book does: in a network that diverges, infinity times 0 would be NaN.
    Relu: Formula("relu_gradient", lambda dy, x, y: where(y <= 0.0, 0.0, dy), ["dy", "x", "y"], ["dx"]),
    Sigmoid: own.Sigmoid().formula_backward,
}


class _Stage:
    """A layer as operations.

    Args:
        ops: the bound operations.
        dtype: of all numbers but the network's inputs.
        place: of the layer in the network.
        layer: gives sizes and settings; it is not kept.
        shape: of the input, (n, inputs).
        outputs: for each row.

    Attributes:
        y: the output of the last forward pass.
        dx: the gradient of the input, of the last backward pass; None below all others, where nobody wants it.
    """

    def __init__(
        self, ops: Ops, dtype: Any, place: int, layer: Any, shape: tuple[int, int], outputs: int | None = None
    ) -> None:
        self.ops, self.dtype, self.place = ops, dtype, place
        self.y, self.dx = self.empty(shape[0], outputs or shape[1]), self.empty(*shape) if place else None

    def empty(self, *shape: int) -> Array:
        return np.empty(shape, self.dtype)

    def inputs(self, layer: Any, training: bool) -> list[Array]:
        """Return what a step is given of the layer."""
        return []

    def forward(self, x: Array, given: list[Array], training: bool) -> Array:
        """Write y, and return it."""
        raise NotImplementedError

    def backward(self, dy: Array, x: Array, given: list[Array]) -> Array | None:
        """Write the gradients, and return dx."""
        raise NotImplementedError

    def before(self, layer: Any) -> None:
        """Draw what a forward pass in training draws."""

    def after(self, layer: Any) -> None:
        """Keep what a forward pass in training leaves for later ones."""

    def settle(self, layers: Sequence[Any], x: Array, training: bool) -> None:
        """Bring the layer to the state that the last forward pass would have left it in."""

    def give_gradients(self, layer: Any) -> None:
        """Give the layer its parameters' gradients."""


class _Affine(_Stage):
    """An affine layer, and the activation behind it or None."""

    def __init__(self, ops: Ops, dtype: Any, place: int, layer: Any, shape: tuple[int, int], activation: Any) -> None:
        super().__init__(ops, dtype, place, layer, shape, layer.W.shape[1])
        self._activation = None if activation is None else activation.formula
        self._backward = None if activation is None else _BACKWARD[type(activation)]
        self._dz, self._dw, self._db = self.empty(*self.y.shape), self.empty(*layer.W.shape), self.empty(*layer.b.shape)

    def inputs(self, layer: Any, training: bool) -> list[Array]:
        return [layer.W, layer.b]

    def forward(self, x: Array, given: list[Array], training: bool) -> Array:
        return self.ops.affine(x, *given, activation=self._activation, out=self.y)

    def backward(self, dy: Array, x: Array, given: list[Array]) -> Array | None:
        db: Array | None = self._db
        if self._backward is not None:
            dy = self.ops.activation_backward(self._backward, dy, None, self.y, out=self._dz, db=db)
            db = None
        self.ops.affine_backward(dy, x, given[0], dx=self.dx, dw=self._dw, db=db)
        return self.dx

    def settle(self, layers: Sequence[Any], x: Array, training: bool) -> None:
        layers[self.place].take(x)
        if self._activation is not None:
            layers[self.place + 1].take(self.y.copy())

    def give_gradients(self, layer: Any) -> None:
        layer.dW, layer.db = self._dw.copy(), self._db.copy()


class _Activation(_Stage):
    def __init__(self, ops: Ops, dtype: Any, place: int, layer: Any, shape: tuple[int, int]) -> None:
        super().__init__(ops, dtype, place, layer, shape)
        self._formula, self._backward = layer.formula, _BACKWARD[type(layer)]

    def forward(self, x: Array, given: list[Array], training: bool) -> Array:
        return self.ops.activation(self._formula, x, out=self.y)

    def backward(self, dy: Array, x: Array, given: list[Array]) -> Array | None:
        return self.ops.activation_backward(self._backward, dy, None, self.y, out=self.dx)

    def settle(self, layers: Sequence[Any], x: Array, training: bool) -> None:
        layers[self.place].take(self.y.copy())


class _Dropout(_Stage):
    def __init__(self, ops: Ops, dtype: Any, place: int, layer: Any, shape: tuple[int, int]) -> None:
        super().__init__(ops, dtype, place, layer, shape)
        self._every = np.ones(shape, bool)
        self._one, self._share = np.array(1.0, dtype), np.array(1.0 - layer.dropout_ratio, dtype)

    def before(self, layer: Any) -> None:
        layer.draw(self.y.shape)

    def inputs(self, layer: Any, training: bool) -> list[Array]:
        return [layer.mask] if training else []

    def forward(self, x: Array, given: list[Array], training: bool) -> Array:
        mask, factor = (given[0], self._one) if training else (self._every, self._share)
        return self.ops.dropout_backward(x, mask, factor, out=self.y)

    def backward(self, dy: Array, x: Array, given: list[Array]) -> Array | None:
        return self.ops.dropout_backward(dy, given[0], self._one, out=self.dx)


class _BatchNorm(_Stage):
    def __init__(self, ops: Ops, dtype: Any, place: int, layer: Any, shape: tuple[int, int]) -> None:
        super().__init__(ops, dtype, place, layer, shape)
        self._hyper = layer.hyper(dtype)
        self._mean, self._var, self._dgamma, self._dbeta = (self.empty(shape[1]) for _ in range(4))

    def inputs(self, layer: Any, training: bool) -> list[Array]:
        layer.start(layer.gamma)
        return [layer.gamma, layer.beta, *([] if training else [layer.running_mean, layer.running_var])]

    def forward(self, x: Array, given: list[Array], training: bool) -> Array:
        gamma, beta, *running = given
        if training:
            return self.ops.batch_norm(x, gamma, beta, self._hyper, out=self.y, mean=self._mean, var=self._var)
        mean, var = running
        return self.ops.batch_norm_inference(x, gamma, beta, mean, var, self._hyper, out=self.y)

    def backward(self, dy: Array, x: Array, given: list[Array]) -> Array | None:
        batch, gradients = (self._mean, self._var), {"dgamma": self._dgamma, "dbeta": self._dbeta}
        return self.ops.batch_norm_backward(dy, x, given[0], *batch, self._hyper, out=self.dx, **gradients)

    def after(self, layer: Any) -> None:
        layer.take_statistics(len(self.y), self._mean, self._var)

    def settle(self, layers: Sequence[Any], x: Array, training: bool) -> None:
        layers[self.place].take(x, (self._mean.copy(), self._var.copy()) if training else None)

    def give_gradients(self, layer: Any) -> None:
        layer.dgamma, layer.dbeta = self._dgamma.copy(), self._dbeta.copy()


_ALONE: dict[type, Any] = {Relu: _Activation, Sigmoid: _Activation, Dropout: _Dropout, BatchNormalization: _BatchNorm}


def _stages(ops: Ops, layers: Sequence[Any], n: int) -> Iterator[_Stage]:
    dtype, shape, fused = layers[0].W.dtype, (n, layers[0].W.shape[0]), None
    for i, (layer, after) in enumerate(zip(layers, [*layers[1:], None], strict=True)):
        if layer is fused:
            continue
        stage: _Stage
        if type(layer) is Affine:
            fused = after if type(after) in _BACKWARD else None
            stage = _Affine(ops, dtype, i, layer, shape, fused)
        else:
            stage = _ALONE[type(layer)](ops, dtype, i, layer, shape)
        yield stage
        shape = stage.y.shape


def has_two_passes(layers: Sequence[Any]) -> bool:
    """Return whether training and prediction are two passes."""
    return any(type(layer) in (BatchNormalization, Dropout) for layer in layers)


class Passes:
    """The passes of some layers for n rows, in training or in prediction.

    Args:
        ops: the operations of a backend whose arrays are NumPy's.
        layers: of which the first one is affine.
        n: the rows.
        training: whether the passes are those of a training, where that makes a difference.

    Attributes:
        dtype: of the output.
        output_shape: its shape.
        training: as given.
    """

    def __init__(self, ops: Ops, layers: Sequence[Any], n: int, *, training: bool) -> None:
        self._ops, self._stages, self.training = ops, list(_stages(ops, layers, n)), training
        self.dtype, self.output_shape = self._stages[-1].dtype, self._stages[-1].y.shape
        self._captured: dict[Any, Captured] = {}

    def forward(self, layers: Sequence[Any], x: Array) -> Array:
        """Return the output for rows x, of the parameters' dtype or of float32."""
        if self.training:
            for stage in self._stages:
                stage.before(layers[stage.place])
        self._run(self._forward, layers, x)
        if self.training:
            for stage in self._stages:
                stage.after(layers[stage.place])
        return self._stages[-1].y.copy()

    def backward(self, layers: Sequence[Any], x: Array, dout: Array) -> None:
        """Give the layers the gradients of their parameters.

        Args:
            layers: those of the last forward pass.
            x: its rows.
            dout: the gradient of its output.
        """
        self._run(self._backward, layers, dout, x)
        for stage in self._stages:
            stage.give_gradients(layers[stage.place])

    def settle(self, layers: Sequence[Any], x: Array) -> None:
        """Bring the layers to the state that the last forward pass, of rows x, would have left them in."""
        for stage in self._stages:
            stage.settle(layers, x, self.training)
            x = stage.y.copy()

    def _run(self, make: Callable[..., Any], layers: Sequence[Any], *arrays: Array) -> None:
        inputs = [stage.inputs(layers[stage.place], self.training) for stage in self._stages]
        key = make, arrays[-1].dtype
        if key not in self._captured:
            self._captured[key] = Captured(self._ops, make([len(given) for given in inputs]))
        self._captured[key](*arrays, *(array for given in inputs for array in given))

    def _forward(self, counts: list[int]) -> Callable[..., Array]:
        def step(x: Array, *given: Array) -> Array:
            left = iter(given)
            for stage, count in zip(self._stages, counts, strict=True):
                x = stage.forward(x, list(islice(left, count)), self.training)
            return self._ops.sum_squares(x[:1])  # a step returns a number

        return step

    def _backward(self, counts: list[int]) -> Callable[..., Array]:
        def step(dy: Array, x: Array, *given: Array) -> Array:
            left = iter(given)
            inputs = [list(islice(left, count)) for count in counts]
            below, dx = [x, *(stage.y for stage in self._stages)], dy
            for i in range(len(self._stages) - 1, -1, -1):
                dx = self._stages[i].backward(dx, below[i], inputs[i])
            return self._ops.sum_squares(dy[:1])

        return step
