"""What stands for those published states that do not compute quite what nnx's function or class of that name does.

Each is given the script's module and the definition in it, and returns what takes the definition's place.
"""

import functools
import os
from types import ModuleType
from typing import Any

import numpy as np

from .. import book
from ..backend import active_ops
from ..book import multi_layer_net

_OF_ROWS = book.layers.Affine, book.layers.Relu, book.layers.Sigmoid
"""Layers whose output for an image depends on that image alone."""


def sum_squared_error(module: ModuleType, theirs: Any) -> Any:
    """Stand for the same function under its first name, `mean_squared_error`."""
    return book.functions.sum_squared_error


def softmax_of_rows(module: ModuleType, theirs: Any) -> Any:
    """Stand for a softmax that takes arrays of more than two axes for one row."""

    @functools.wraps(theirs)
    def softmax(x: Any) -> Any:
        return book.functions.softmax(x) if x.ndim <= 2 else theirs(x)

    return softmax


def numerical_gradient(module: ModuleType, theirs: Any) -> Any:
    """Leave NumPy's arrays to the script's own: nothing is faster, and its states round float32 differently."""

    @functools.wraps(theirs)
    def numerical_gradient(f: Any, x: Any) -> Any:
        return theirs(f, x) if isinstance(x, np.ndarray) else book.gradient.numerical_gradient(f, x)

    return numerical_gradient


def pooling_of_stride_1(module: ModuleType, theirs: Any) -> Any:
    """Stand for a `Pooling` whose default stride is 1."""

    class Pooling(book.layers.Pooling):
        def __init__(self, pool_h: int, pool_w: int, stride: int = 1, pad: int = 0) -> None:
            super().__init__(pool_h, pool_w, stride, pad)

    return _named(Pooling, module)


def multi_layer_net_extend_of_capitals(module: ModuleType, theirs: Any) -> Any:
    """Stand for a network two of whose methods have capitals for arguments."""

    class MultiLayerNetExtend(book.multi_layer_net_extend.MultiLayerNetExtend):
        def accuracy(self, X: Any, T: Any) -> Any:
            return super().accuracy(X, T)

        def numerical_gradient(self, X: Any, T: Any) -> Any:
            return super().numerical_gradient(X, T)

    return _named(MultiLayerNetExtend, module)


def network_beside_its_parameters(module: ModuleType, theirs: Any) -> Any:
    """Stand for a convolutional network whose `load_params` takes a name in the folder of its module."""
    ours: Any = getattr(book, theirs.__name__)
    folder = os.path.dirname(module.__file__ or "")

    def load_params(self: Any, file_name: str = "params.pkl") -> None:
        ours.load_params(self, folder + "/" + file_name)

    return _named(type(theirs.__name__, (ours,), {"load_params": load_params}), module)


def network_of_two_layers(module: ModuleType, theirs: Any) -> Any:
    """Stand for chapter 5's network: predict a few images at a time for an accuracy, leave out their gradient."""

    def accuracy(self: Any, x: Any, t: Any) -> Any:
        by_rows = type(self).predict is theirs.predict and all(
            type(layer) in _OF_ROWS for layer in self.layers.values()
        )
        ops = active_ops()
        if not (by_rows and ops.on_host and type(x) is type(t) is np.ndarray and x.size):
            return theirs.accuracy(self, x, t)
        return multi_layer_net.accuracy(ops, self.predict, x, t, rows=multi_layer_net.ROWS)

    def gradient(self: Any, x: Any, t: Any) -> Any:
        self.loss(x, t)
        book.layers.backpropagate(self.layers.values(), self.lastLayer.backward(1))
        affines = [(i, self.layers[f"Affine{i}"]) for i in (1, 2)]
        return {f"{name}{i}": grad for i, layer in affines for name, grad in (("W", layer.dW), ("b", layer.db))}

    return _named(type(theirs.__name__, (theirs,), {"accuracy": accuracy, "gradient": gradient}), module)


def _named(cls: type, module: ModuleType) -> type:
    """Give a class the name that pickle finds it by, in the script's module."""
    cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
    return cls
