"""What stands for those published states that do not compute quite what nnx's function or class of that name does.

Each is given the script's module and the definition in it, and returns what takes the definition's place.
"""

import functools
import os
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import book
from ..backend import active_ops
from ..book import multi_layer_net
from ..book.planned import Plan, Planned

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
    """Stand for chapter 5's network: its layers as `MultiLayerNet`'s, a few images at a time for an accuracy."""

    @functools.wraps(theirs.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  the class's own
        theirs.__init__(self, *args, **kwargs)
        self._start(self.layers)

    def predict(self: Any, x: Any) -> Any:
        return self._propagate(x)

    def accuracy(self: Any, x: Any, t: Any) -> Any:
        by_rows = type(self).predict is predict and all(type(layer) in _OF_ROWS for layer in self._layers.values())
        return _accuracy(self, theirs, x, t, by_rows=by_rows)

    def gradient(self: Any, x: Any, t: Any) -> Any:
        self.loss(x, t)
        self._backpropagate(self.lastLayer.backward(1))
        return _gradients(*(self._layers[f"Affine{i}"] for i in (1, 2)))

    return _derived(module, (Planned, theirs), __init__, predict, accuracy, gradient)


def network_without_layers(module: ModuleType, theirs: Any) -> Any:
    """Stand for chapter 4's network, which computes with its parameters: by layers, too."""
    plans: WeakKeyDictionary[Any, Plan] = WeakKeyDictionary()

    def passed(self: Any, x: Any) -> tuple[Any, Plan, dict[str, Any]]:
        p, plan = self.params, plans.get(self) or plans.setdefault(self, Plan())
        layers = {
            "Affine1": book.layers.Affine(p["W1"], p["b1"]),
            "Sigmoid": book.layers.Sigmoid(),
            "Affine2": book.layers.Affine(p["W2"], p["b2"]),
        }
        return book.functions.softmax(plan.forward(layers, x, training=True)), plan, layers

    def predict(self: Any, x: Any) -> Any:
        return passed(self, x)[0] if _is_batch(x) else theirs.predict(self, x)

    def accuracy(self: Any, x: Any, t: Any) -> Any:
        return _accuracy(self, theirs, x, t, by_rows=type(self).predict is predict and np.ndim(t) == 2)

    def gradient(self: Any, x: Any, t: Any) -> Any:
        if not _is_batch(x):
            return theirs.gradient(self, x, t)
        y, plan, layers = passed(self, x)
        plan.backward(layers, (y - t) / x.shape[0])
        return _gradients(layers["Affine1"], layers["Affine2"])

    return _derived(module, (theirs,), predict, accuracy, gradient)


def _is_batch(x: Any) -> bool:
    return type(x) is np.ndarray and x.ndim == 2


def _accuracy(network: Any, theirs: Any, x: Any, t: Any, *, by_rows: bool) -> Any:
    ops = active_ops()
    if not (by_rows and ops.on_host and type(x) is type(t) is np.ndarray and x.size):
        return theirs.accuracy(network, x, t)
    return multi_layer_net.accuracy(ops, network.predict, x, t, rows=multi_layer_net.ROWS)


def _gradients(*layers: Any) -> dict[str, Any]:
    grads = {}
    for i, layer in enumerate(layers, 1):
        grads[f"W{i}"], grads[f"b{i}"] = layer.dW, layer.db
    return grads


def _derived(module: ModuleType, bases: tuple[type, ...], *methods: Any) -> type:
    """Return a class of the same name with some methods of its own."""
    return _named(type(bases[-1].__name__, bases, {method.__name__: method for method in methods}), module)


def _named(cls: type, module: ModuleType) -> type:
    """Give a class the name that pickle finds it by, in the script's module."""
    cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
    return cls
