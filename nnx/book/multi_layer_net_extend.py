"""The book's `common.multi_layer_net_extend`."""

import os
import sys
from collections import OrderedDict
from typing import Any

import numpy as np

from ..backend import active_ops
from ..ops import Array
from . import layers as _layers
from ._arrays import native, network_dtype
from .gradient import numerical_gradient
from .layers import *  # noqa: F403  as the book's module gives them on
from .layers import BatchNormalization, Dropout
from .multi_layer_net import MultiLayerNet

__all__ = ["MultiLayerNetExtend", "OrderedDict", "numerical_gradient", "os", "sys"]
__all__ += _layers.__all__


class MultiLayerNetExtend(MultiLayerNet):
    """`MultiLayerNet` with batch normalization before each activation and dropout after it.

    The other arguments are those of `MultiLayerNet`.

    Args:
        use_dropout: whether there are layers Dropout1, ...
        dropout_ration: the share of elements that dropout sets to 0.
        use_batchnorm: whether there are layers BatchNorm1, ..., with gamma1, beta1, ... among the parameters.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size_list: list[int],
        output_size: int,
        activation: str = "relu",
        weight_init_std: "float | str" = "relu",
        weight_decay_lambda: float = 0,
        use_dropout: bool = False,
        dropout_ration: float = 0.5,
        use_batchnorm: bool = False,
    ) -> None:
        self.use_dropout, self.use_batchnorm = use_dropout, use_batchnorm
        self._dropout_ratio = dropout_ration
        super().__init__(input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda)

    def _add_normalization(self, i: int) -> None:
        if self.use_batchnorm:
            size, dtype, to_device = self.hidden_size_list[i - 1], network_dtype(), active_ops().to_device
            gamma, beta = to_device(np.ones(size, dtype)), to_device(np.zeros(size, dtype))
            self.params[f"gamma{i}"], self.params[f"beta{i}"] = gamma, beta
            self._layers[f"BatchNorm{i}"] = BatchNormalization(gamma, beta)

    def _add_dropout(self, i: int) -> None:
        if self.use_dropout:
            self._layers[f"Dropout{i}"] = Dropout(self._dropout_ratio)

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """Return the scores before the softmax: (n, output_size).

        Args:
            x: (n, ...).
            train_flg: whether to use the batch's statistics and dropout.
        """
        return self._forward(x, train_flg)

    def loss(self, x: Array, t: Array, train_flg: bool = False) -> Any:
        """Return the cross-entropy error with the penalty, a number.

        Args:
            x: (n, ...).
            t: labels (n,), or one-hot rows.
            train_flg: whether to use the batch's statistics and dropout.
        """
        return self._error(x, t, train_flg) + self._penalty()

    def _error(self, x: Array, t: Array, train_flg: bool = False) -> Any:
        return self.last_layer.forward(self.predict(native(active_ops(), x), train_flg), t)

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients of the training loss by central differences, by name."""
        return self._numerical_gradient(lambda _: self.loss(x, t, train_flg=True))

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """Return the gradients of the training loss by backpropagation, by name, as arrays of the backend."""
        (self._error if self._is_ours("loss") else self.loss)(x, t, train_flg=True)
        return self._backward()
