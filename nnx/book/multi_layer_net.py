"""The book's `common.multi_layer_net`."""

import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import active_ops
from ..ops import Array, Ops
from . import layers as _layers
from ._arrays import like, native, network_dtype, on_host
from .gradient import numerical_gradient
from .layers import *  # noqa: F403  as the book's module gives them on
from .layers import Affine, BatchNormalization, Relu, Sigmoid, SoftmaxWithLoss
from .planned import Planned

__all__ = ["MultiLayerNet", "OrderedDict", "numerical_gradient", "os", "sys"]
__all__ += _layers.__all__

ROWS = 256
"""Rows predicted at once for `accuracy` on a CPU, by nnx's `predict`: what they become fits the second-level cache."""


def accuracy(ops: Ops, predict: Callable[[Array], Array], x: Array, t: Array, *, rows: int) -> Any:
    """Return the share of x's rows whose greatest score is at the label in t, or in a one-hot row.

    rows: how many are predicted at once.
    """
    labels, n = on_host(ops, t), x.shape[0]
    if labels.ndim != 1:
        labels = np.argmax(labels, axis=1)

    def correct(part: slice) -> Any:
        return np.sum(np.argmax(on_host(ops, predict(x[part])), axis=1) == labels[part])

    return sum(correct(slice(i, i + rows)) for i in range(0, n, rows)) / float(n)


class MultiLayerNet(Planned):
    """Fully connected layers with ReLU or sigmoid between them, and a softmax: a classifier.

    Args:
        input_size: the number of inputs.
        hidden_size_list: the sizes of the hidden layers.
        output_size: the number of classes.
        activation: "relu" or "sigmoid".
        weight_init_std: the standard deviation of the first weights, or "relu" / "he" for sqrt(2 / inputs), "sigmoid" /
            "xavier" for sqrt(1 / inputs).
        weight_decay_lambda: the factor of the penalty sum(W**2) / 2.

    Attributes:
        params: W1, b1, W2, ... as arrays of the backend, the weights drawn from NumPy's global generator; float64, or
            what `NNX_SCRIPT_DTYPE` says.
        layers: Affine1, Activation_function1, Affine2, ... From the first time that a script looks at them they compute
            one by one; until then by a plan, which is faster.
        last_layer: the loss.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size_list: list[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: "float | str" = "relu",
        weight_decay_lambda: float = 0,
    ) -> None:
        self.input_size, self.output_size = input_size, output_size
        self.hidden_size_list, self.hidden_layer_num = hidden_size_list, len(hidden_size_list)
        self.weight_decay_lambda = weight_decay_lambda
        self.params: dict[str, Array] = {}
        self._init_weight(weight_init_std)
        self._layers: OrderedDict[str, Any] = OrderedDict()
        make_activation = {"sigmoid": Sigmoid, "relu": Relu}[activation]
        for i in range(1, self.hidden_layer_num + 1):
            self._layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
            self._add_normalization(i)
            self._layers[f"Activation_function{i}"] = make_activation()
            self._add_dropout(i)
        i = self.hidden_layer_num + 1
        self._layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
        self.last_layer = SoftmaxWithLoss()
        self._start(self._layers)

    def _add_normalization(self, i: int) -> None:
        """Do nothing: the extended network adds batch normalization here."""

    def _add_dropout(self, i: int) -> None:
        """Do nothing: the extended network adds dropout here."""

    def _init_weight(self, weight_init_std: "float | str") -> None:
        to_device, dtype = active_ops().to_device, network_dtype()
        sizes = [self.input_size, *self.hidden_size_list, self.output_size]
        for i in range(1, len(sizes)):
            scale: Any = weight_init_std
            if str(scale).lower() in ("relu", "he"):
                scale = np.sqrt(2.0 / sizes[i - 1])
            elif str(scale).lower() in ("sigmoid", "xavier"):
                scale = np.sqrt(1.0 / sizes[i - 1])
            weights = scale * np.random.standard_normal((sizes[i - 1], sizes[i]))
            self.params[f"W{i}"] = to_device(weights.astype(dtype))
            self.params[f"b{i}"] = to_device(np.zeros(sizes[i], dtype))

    def predict(self, x: Array) -> Array:
        """Return the scores before the softmax: (n, output_size)."""
        return self._forward(x, False)

    def _forward(self, x: Array, train_flg: bool) -> Array:
        ops = active_ops()
        return like(ops, self._propagate(native(ops, x), train_flg), x)

    def loss(self, x: Array, t: Array) -> Any:
        """Return the cross-entropy error with the penalty, a number.

        Args:
            x: (n, ...).
            t: labels (n,), or one-hot rows.
        """
        return self._error(x, t) + self._penalty()

    def _error(self, x: Array, t: Array) -> Any:
        return self.last_layer.forward(self.predict(native(active_ops(), x)), t)

    def _penalty(self) -> Any:
        if self.weight_decay_lambda == 0:
            return 0
        squares = self._sum_squares([self.params[f"W{i}"] for i in self._numbers()])
        return 0.5 * self.weight_decay_lambda * sum(squares)

    def _is_ours(self, method: str) -> bool:
        """Return whether a method is written here, and not by a script, which may do more in it."""
        function = getattr(getattr(self, method), "__func__", None)
        return function is not None and function.__module__.startswith(__name__)

    def _numbers(self) -> range:
        return range(1, self.hidden_layer_num + 2)

    def accuracy(self, x: Array, t: Array) -> Any:
        """Return the share of rows whose greatest score is at the label."""
        ops = active_ops()
        by_rows = ops.on_host and self._is_ours("predict")
        return accuracy(ops, self.predict, x, t, rows=ROWS if by_rows else x.shape[0])

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients by central differences, by name: very slow, for checking `gradient`."""
        return self._numerical_gradient(lambda _: self.loss(x, t))

    def _numerical_gradient(self, loss: Any) -> dict[str, Array]:
        grads = {}
        for i in self._numbers():
            grads[f"W{i}"] = numerical_gradient(loss, self.params[f"W{i}"])
            grads[f"b{i}"] = numerical_gradient(loss, self.params[f"b{i}"])
            for name in ("gamma", "beta"):
                if f"{name}{i}" in self.params:
                    grads[f"{name}{i}"] = numerical_gradient(loss, self.params[f"{name}{i}"])
        return grads

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients by backpropagation, by name, as arrays of the backend."""
        (self._error if self._is_ours("loss") else self.loss)(x, t)  # nobody gets the penalty
        return self._backward()

    def _backward(self) -> dict[str, Array]:
        self._backpropagate(native(active_ops(), self.last_layer.backward(1)))
        grads = {}
        for i in self._numbers():
            affine = self._layers[f"Affine{i}"]
            grads[f"W{i}"] = affine.dW
            if self.weight_decay_lambda:
                grads[f"W{i}"] = self.weight_decay_lambda * affine.W
                grads[f"W{i}"] += affine.dW
            grads[f"b{i}"] = affine.db
            norm = self._layers.get(f"BatchNorm{i}")
            if isinstance(norm, BatchNormalization):
                grads[f"gamma{i}"], grads[f"beta{i}"] = norm.dgamma, norm.dbeta
        return grads
