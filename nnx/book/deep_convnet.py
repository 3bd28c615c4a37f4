"""The book's `deep_convnet`, of its chapter 8."""

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
from .layers import *  # noqa: F403  as the book's module gives them on
from .layers import Affine, Convolution, Dropout, Pooling, Relu

__all__ = ["DeepConvNet", "OrderedDict", "np", "os", "pickle", "sys"]
__all__ += _layers.__all__


class DeepConvNet(ConvolutionalNetwork):
    """Six convolutions with ReLU, pooled after every second one, two affine layers, each with dropout; softmax.

    The weights are drawn with the standard deviation sqrt(2 / inputs) (He et al. 2015). The images must be of such a
    size that 4 x 4 pixels are left after the third pooling, and the last convolution must have 64 filters, as with the
    defaults.

    Args:
        input_dim: (channels, height, width).
        conv_param_1: filter_num, filter_size, pad and stride of the first convolution.
        conv_param_2: of the second one.
        conv_param_3: of the third one.
        conv_param_4: of the fourth one.
        conv_param_5: of the fifth one.
        conv_param_6: of the sixth one.
        hidden_size: the outputs of the first affine layer.
        output_size: the number of classes.

    Attributes:
        params: W1, b1, ... W8, b8 as arrays of the backend, the weights drawn from NumPy's global generator; float64,
            or what `NNX_SCRIPT_DTYPE` says.
        layers: a list.
        last_layer: the loss.
    """

    def __init__(
        self,
        input_dim: tuple[int, int, int] = (1, 28, 28),
        conv_param_1: Mapping[str, int] = {"filter_num": 16, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_2: Mapping[str, int] = {"filter_num": 16, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_3: Mapping[str, int] = {"filter_num": 32, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_4: Mapping[str, int] = {"filter_num": 32, "filter_size": 3, "pad": 2, "stride": 1},
        conv_param_5: Mapping[str, int] = {"filter_num": 64, "filter_size": 3, "pad": 1, "stride": 1},
        conv_param_6: Mapping[str, int] = {"filter_num": 64, "filter_size": 3, "pad": 1, "stride": 1},
        hidden_size: int = 50,
        output_size: int = 10,
    ) -> None:
        # The book's numbers of inputs, which are those of the default filters, whatever the filters are.
        inputs = [1 * 3 * 3, 16 * 3 * 3, 16 * 3 * 3, 32 * 3 * 3, 32 * 3 * 3, 64 * 3 * 3, 64 * 4 * 4, hidden_size]
        scales = np.sqrt(2.0 / np.array(inputs))
        settings = conv_param_1, conv_param_2, conv_param_3, conv_param_4, conv_param_5, conv_param_6
        layers, channels = list[Any](), input_dim[0]
        for i, setting in enumerate(settings):
            filters, size = setting["filter_num"], setting["filter_size"]
            weights = normal(scales[i], (filters, channels, size, size))
            layers += [Convolution(weights, zeros(filters), setting["stride"], setting["pad"]), Relu()]
            if i % 2:
                layers.append(Pooling(pool_h=2, pool_w=2, stride=2))
            channels = filters
        hidden = Affine(normal(scales[6], (64 * 4 * 4, hidden_size)), zeros(hidden_size))
        output = Affine(normal(scales[7], (hidden_size, output_size)), zeros(output_size))
        self._start([*layers, hidden, Relu(), Dropout(0.5), output, Dropout(0.5)], input_dim)

    def _sequence(self) -> Iterable[Any]:
        return list(self._layers)

    def _weighted(self) -> list[Any]:
        return [self._layers[i] for i in (0, 2, 5, 7, 10, 12, 15, 18)]

    def _apply(self, layer: Any, x: Array, train_flg: bool) -> Array:
        return layer.forward(x, train_flg) if isinstance(layer, Dropout) else layer.forward(x)

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """Return the scores before the softmax: (n, output_size).

        Args:
            x: (n, channels, height, width).
            train_flg: whether to use dropout.
        """
        return self._scores(x, train_flg)

    def loss(self, x: Array, t: Array) -> Any:
        """Return the cross-entropy error in training, with dropout: a number.

        Args:
            x: (n, channels, height, width).
            t: labels (n,), or one-hot rows.
        """
        return self.last_layer.forward(self.predict(native(active_ops(), x), train_flg=True), t)

    def accuracy(self, x: Array, t: Array, batch_size: int = 100) -> Any:
        """Return how many rows of whole batches have their greatest score at the label, divided by all rows."""
        return self._accuracy(lambda rows: self.predict(rows, train_flg=False), x, t, batch_size)

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients of the training loss by backpropagation, by name, as arrays of the backend."""
        return self._gradient(x, t, True, self.loss)
