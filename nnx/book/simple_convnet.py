"""The book's `simple_convnet`, of its chapter 7."""

import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import active_ops
from ..ops import Array
from . import layers as _layers
from ._arrays import native
from ._convolutional import ConvolutionalNetwork, normal, zeros
from .gradient import numerical_gradient
from .layers import *  # noqa: F403  as the book's module gives them on
from .layers import Affine, Convolution, Pooling, Relu

__all__ = ["OrderedDict", "SimpleConvNet", "np", "numerical_gradient", "os", "pickle", "sys"]
__all__ += _layers.__all__


class SimpleConvNet(ConvolutionalNetwork):
    """Convolution, ReLU, pooling, affine layer, ReLU, affine layer, softmax: a classifier of images.

    Args:
        input_dim: (channels, height, width) of square images.
        conv_param: filter_num, filter_size, pad and stride of the convolution.
        hidden_size: the outputs of the first affine layer.
        output_size: the number of classes.
        weight_init_std: the standard deviation of the first weights.

    Attributes:
        params: W1, b1, W2, b2, W3, b3 as arrays of the backend, the weights drawn from NumPy's global generator;
            float64, or what `NNX_SCRIPT_DTYPE` says.
        layers: Conv1, Relu1, Pool1, Affine1, Relu2, Affine2.
        last_layer: the loss.
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        conv_param: Mapping[str, int] = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1},
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float = 0.01,
    ) -> None:
        filters, size = conv_param["filter_num"], conv_param["filter_size"]
        pad, stride = conv_param["pad"], conv_param["stride"]
        half = ((input_dim[1] - size + 2 * pad) / stride + 1) / 2
        std, pooled = weight_init_std, int(filters * half * half)
        convolution = Convolution(normal(std, (filters, input_dim[0], size, size)), zeros(filters), stride, pad)
        hidden = Affine(normal(std, (pooled, hidden_size)), zeros(hidden_size))
        output = Affine(normal(std, (hidden_size, output_size)), zeros(output_size))
        layers = {"Conv1": convolution, "Relu1": Relu(), "Pool1": Pooling(pool_h=2, pool_w=2, stride=2)}
        self._start(OrderedDict({**layers, "Affine1": hidden, "Relu2": Relu(), "Affine2": output}), input_dim)

    def _sequence(self) -> Iterable[Any]:
        return list(self._layers.values())

    def _weighted(self) -> list[Any]:
        return [self._layers[name] for name in ("Conv1", "Affine1", "Affine2")]

    def predict(self, x: Array) -> Array:
        """Return the scores before the softmax, (n, output_size), of images (n, channels, height, width)."""
        return self._scores(x, False)

    def loss(self, x: Array, t: Array) -> Any:
        """Return the cross-entropy error, a number.

        Args:
            x: (n, channels, height, width).
            t: labels (n,), or one-hot rows.
        """
        return self.last_layer.forward(self.predict(native(active_ops(), x)), t)

    def accuracy(self, x: Array, t: Array, batch_size: int = 100) -> Any:
        """Return how many rows of whole batches have their greatest score at the label, divided by all rows."""
        return self._accuracy(self.predict, x, t, batch_size)

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients by central differences, by name: very slow, for checking `gradient`."""
        return {
            f"{name}{i}": numerical_gradient(lambda _: self.loss(x, t), self.params[f"{name}{i}"])
            for i in (1, 2, 3)
            for name in ("W", "b")
        }

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients by backpropagation, by name, as arrays of the backend."""
        return self._gradient(x, t, False, self.loss)
