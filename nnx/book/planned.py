"""Networks whose layers compute by a plan until a script looks at them."""

import threading
import weakref
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from ..backend import active_ops
from ..ops import Array
from ..plan import Captured
from ._arrays import number
from ._passes import Passes, has_two_passes
from .layers import Affine, BatchNormalization, Dropout, Relu, Sigmoid, backpropagate, propagate

LEAST_OF_A_PLAN = 300_000
"""How many multiplications of a forward pass are worth a plan."""
_MOST = 1024
"""Rows up to which there is one: it has buffers for them."""
_SIZES = 8
"""Numbers of rows that a plan has buffers for; where they change all the time, the oldest go."""
_METHODS = [
    (kind, name, vars(kind)[name])
    for kind in (Affine, BatchNormalization, Dropout, Relu, Sigmoid)
    for name in ("forward", "backward")
]
"""What a plan stands for."""


class _Last(NamedTuple):
    """A forward pass by the plan, which nobody has made up for in the layers."""

    passes: Passes
    x: Array


class Plan:
    """Passes of layers by steps that the backend may capture, where that is faster; else by the layers themselves.

    The numbers are the same within rounding. Gradients are in the layers after a backward pass; what else they would
    keep is there after `settle`.
    """

    def __init__(self) -> None:
        self._sizes: dict[Any, Passes] = {}
        self._sums: dict[Any, Captured] = {}
        self._known: tuple[list[Any], tuple[Any, ...] | None] | None = None
        self._last: _Last | None = None
        self._trained: _Last | None = None
        """The last one in training: batch normalization keeps its batch."""
        self._lock = threading.Lock()
        """Threads that predict at once take turns in the buffers."""
        weakref.finalize(self, _leave, self._sizes).atexit = False

    def forward(self, layers: Mapping[str, Any], x: Array, training: bool) -> Array:
        """Return the last layer's output for a batch."""
        sequence, rows = list(layers.values()), _rows(x)
        with self._lock:
            passes = None if rows is None else self._passes(sequence, rows, training)
            if rows is not None and passes is not None:
                y = passes.forward(sequence, rows)
                self._last = _Last(passes, x)
                self._trained = self._last if passes.training else self._trained
                return y
            self._settle(sequence)
        return propagate(layers.items(), x, training)

    def backward(self, layers: Mapping[str, Any], dout: Array) -> None:
        """Give the layers the gradients of their parameters, after a forward pass in training."""
        sequence, takes = list(layers.values()), type(dout) is np.ndarray
        with self._lock:
            last = self._last
            if last is not None and takes and last.passes.training == has_two_passes(sequence):
                passes, x = last
                if dout.dtype == passes.dtype and dout.shape == passes.output_shape:
                    passes.backward(sequence, x.reshape(len(x), -1), dout)
                    return
            self._settle(sequence)
        backpropagate(sequence, dout)

    def sum_squares(self, arrays: Sequence[Array]) -> Array:
        """Return the sum of each array's squares, (len(arrays),)."""
        ops = active_ops()
        key = ops.backend, tuple((a.shape, a.dtype) for a in arrays)
        with self._lock:
            if key not in self._sums:
                self._sums = {key: Captured(ops, lambda *given: [ops.sum_squares(a) for a in given])}
            return self._sums[key](*arrays)

    def settle(self, layers: Mapping[str, Any]) -> None:
        """Bring the layers to the state that the last forward pass would have left them in."""
        with self._lock:
            self._settle(list(layers.values()))

    def _settle(self, sequence: Sequence[Any]) -> None:
        for last in (self._trained, self._last):
            if last is not None:
                last.passes.settle(sequence, last.x)
        self._trained = self._last = None

    def _passes(self, layers: Sequence[Any], x: Array, training: bool) -> Passes | None:
        ops = active_ops()
        if not ops.on_host or any(vars(kind).get(name) is not method for kind, name, method in _METHODS):
            return None
        structure = self._looked_up(layers)
        if structure is None or not _suits(layers, x):
            return None
        training = training and has_two_passes(layers)
        key = ops.backend, structure, len(x), training
        if key not in self._sizes:
            if len(self._sizes) >= _SIZES:
                del self._sizes[next(iter(self._sizes))]
            left = _left.pop(key, None)
            self._sizes[key] = Passes(ops, layers, len(x), training=training) if left is None else left
        return self._sizes[key]

    def _looked_up(self, layers: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the layers' structure, found anew if a parameter is another array than before."""
        arrays = [getattr(layer, name, None) for layer in layers for name in ("W", "b", "gamma", "beta")]
        if self._known is None or not all(map(is_, arrays, self._known[0])):
            self._known = arrays, _structure(layers)
        return self._known[1]


_left: dict[Any, Passes] = {}
"""Passes that no network uses any longer."""


def _leave(sizes: dict[Any, Passes]) -> None:
    """Leave passes to the next network like theirs: to capture steps takes as long as to do twenty."""
    for key, passes in sizes.items():
        if len(_left) >= _SIZES:
            _left.clear()
        _left[key] = passes


def _rows(x: Any) -> Array | None:
    """Return x as rows, if it is a batch of NumPy's floats."""
    if type(x) is not np.ndarray or x.ndim < 2 or not 0 < len(x) <= _MOST or x.dtype.kind != "f":
        return None
    return x if x.ndim == 2 else x.reshape(len(x), -1)


def _suits(layers: Sequence[Any], x: Array) -> bool:
    """Return whether a plan of the layers takes these rows, and it pays."""
    first, work = layers[0].W, sum(layer.W.size for layer in layers if type(layer) is Affine)
    dtypes = (first.dtype, np.dtype("float32"))  # products take float32 as it is
    return x.shape[1] == first.shape[0] and x.dtype in dtypes and len(x) * work >= LEAST_OF_A_PLAN


def _structure(layers: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return what a plan is made of; None if the layers do not fit each other, or nothing is known of one."""
    if not layers or type(layers[0]) is not Affine:
        return None
    dtype, width = getattr(layers[0].W, "dtype", None), None
    if dtype not in (np.dtype("float32"), np.dtype("float64")):
        return None
    result: list[Any] = [dtype]
    for layer in layers:
        kind = type(layer)
        if not getattr(layer, "__dict__", {}).keys().isdisjoint(("forward", "backward")):  # a script's own, for one
            return None
        if kind is Affine:
            w, b = layer.W, layer.b
            if not _are_arrays(dtype, (w, 2), (b, 1)) or w.shape[1:] != b.shape or width not in (None, len(w)):
                return None
            width = len(b)
            result.append(w.shape)
        elif kind is BatchNormalization:
            gamma, beta = layer.gamma, layer.beta
            if not _are_arrays(dtype, (gamma, 1), (beta, 1)) or gamma.shape != (width,) or beta.shape != (width,):
                return None
            running = [] if layer.running_mean is None else [(layer.running_mean, 1), (layer.running_var, 1)]
            if not _are_arrays(dtype, *running):
                return None
            result.append(kind)
        elif kind is Dropout:
            result.append(layer.dropout_ratio)
        elif kind in (Relu, Sigmoid):
            result.append(kind)
        else:
            return None
    return tuple(result)


def _are_arrays(dtype: Any, *given: tuple[Any, int]) -> bool:
    return all(type(a) is np.ndarray and a.dtype == dtype and a.ndim == n and a.flags.c_contiguous for a, n in given)


class Planned:
    """A network with layers by name, which compute by a plan.

    They compute themselves once a script has looked at `layers`, which are first brought to the state that the last
    pass would have left them in.
    """

    _layers: Any
    _plan: Plan | None = None

    def _start(self, layers: Any) -> None:
        """Take the layers, which nobody else has."""
        self._layers, self._plan = layers, Plan()

    @property
    def layers(self) -> Any:
        """The layers by name. From the first time that they are looked at they do all computing themselves."""
        if self._plan is not None:
            self._plan.settle(self._layers)
            self._plan = None
        return self._layers

    @layers.setter
    def layers(self, layers: Any) -> None:
        self._layers, self._plan = layers, None

    def _propagate(self, x: Array, train_flg: bool = False) -> Array:
        """Return the last layer's output, in training or in prediction."""
        if self._plan is None:
            return propagate(self._layers.items(), x, train_flg)
        return self._plan.forward(self._layers, x, train_flg)

    def _backpropagate(self, dout: Array) -> None:
        """Give the layers the gradients of their parameters, after a forward pass in training."""
        if self._plan is None:
            backpropagate(self._layers.values(), dout)
        else:
            self._plan.backward(self._layers, dout)

    def _sum_squares(self, arrays: Sequence[Array]) -> Sequence[Any]:
        """Return the sum of each array's squares."""
        ops = active_ops()
        if self._plan is not None and ops.on_host and all(type(a) is np.ndarray and a.flags.forc for a in arrays):
            return list(self._plan.sum_squares(arrays))
        return [number(ops, ops.sum_squares(a)) for a in arrays]

    def __getstate__(self) -> dict[str, Any]:
        """Return what `deepcopy` and `pickle` keep: what a network of the book's has, and whether it has no plan."""
        if self._plan is not None:
            self._plan.settle(self._layers)
        state = {**self.__dict__, "layers": self._layers}
        gone = ("_layers",) if self._plan is None else ("_layers", "_plan")
        return {name: value for name, value in state.items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        layers = self.__dict__.pop("layers")
        if "_plan" in state:  # who has copied the network may have copied a layer that is in other hands
            self._layers = layers
        else:
            self._start(layers)

    def __copy__(self) -> Any:
        """Share the layers: they compute themselves, for neither network's plan would see the other's passes."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.layers = self.layers
        return other
