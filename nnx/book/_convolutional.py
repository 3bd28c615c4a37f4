"""What the book's two convolutional networks have in common."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import active_ops, script_dtype
from ..errors import NnxError
from ..ops import Array, HostArray, Ops, dtype_name
from . import _parameter_files
from ._arrays import like, native, network_dtype, on_host
from ._fused import Fused
from .layers import Affine, Convolution, Dropout, Pooling, Relu, SoftmaxWithLoss, backpropagate

_ROOM = __name__.rpartition(".")[0]

_LEAST, _MOST = 16, 512
"""For how many rows the plan is used: it pays for batches, and keeps buffers for as many rows as it has seen."""

_LAYERS = [
    (kind, name, vars(kind)[name])
    for kind in (Affine, Convolution, Dropout, Pooling, Relu, SoftmaxWithLoss)
    for name in ("forward", "backward")
]
"""What the plan stands for."""


class _Pass(NamedTuple):
    """What a forward pass on the plan was made of."""

    x: Array
    train_flg: bool
    parameters: list[tuple[Array, Array]]
    random_state: Any


class ConvolutionalNetwork:
    """Convolutions, affine layers and a softmax: W1, b1, W2, ... in `params`, each in a layer.

    Batches go through a plan of the same layers, in which they are fused: the numbers are equal within rounding. The
    layers themselves compute where a script could see a difference: once it has looked at `layers`, which are first
    brought to the state that the last pass would have left; where a subclass has a `predict` or `loss` of its own, or
    a script has replaced a method; with another `last_layer`; on another backend; for labels or images that the plan
    does not take; and where numbers are not finite.
    """

    def _start(self, layers: Any, shape: Sequence[int]) -> None:
        """Take the layers, whose parameters are on the host, and make `params` of theirs."""
        self._layers, self._shape = layers, tuple(shape)
        self._last: _Pass | None = None
        self._fused: Fused | None = None
        self._watched = False
        """Whether a script may have a layer in its hands."""
        self.params: dict[str, Array] = {}
        self.last_layer: Any = SoftmaxWithLoss()
        self._place([(layer.W, layer.b) for layer in self._weighted()])

    def _place(self, values: Sequence[tuple[Array, Array]]) -> None:
        """Give the layers parameters of these values, those of a plan where one can be made of the layers."""
        ops = active_ops()
        weighted = self._weighted()
        for layer, (w, b) in zip(weighted, values, strict=True):
            layer.W, layer.b = w, b
        self._fused = self._planned(ops)
        if self._fused is not None:
            values = self._fused.parameters
        else:
            values = [(native(ops, w), native(ops, b)) for w, b in values]
        for i, (layer, (w, b)) in enumerate(zip(weighted, values, strict=True), 1):
            layer.W, layer.b = self.params[f"W{i}"], self.params[f"b{i}"] = w, b

    def _planned(self, ops: Ops) -> Fused | None:
        if self._watched:
            return None
        try:
            fused = Fused(ops, self._sequence(), self._shape)
        except NnxError:  # the layers do not fit each other, which they say when they are used
            return None
        return fused if fused.dtype == network_dtype() else None  # the book's im2col makes float64 of float32

    # The layers -------------------------------------------------------------------------------------------------------

    def _sequence(self) -> Iterable[Any]:
        """Return the layers in their order."""
        raise NotImplementedError

    def _weighted(self) -> list[Any]:
        """Return the layers with W1, W2, ..."""
        raise NotImplementedError

    def _apply(self, layer: Any, x: Array, train_flg: bool) -> Array:
        """Return a layer's output."""
        return layer.forward(x)

    @property
    def layers(self) -> Any:
        """The layers. From the first time that they are looked at they do all computing themselves."""
        self._settle()
        self._fused, self._watched = None, True
        return self._layers

    @layers.setter
    def layers(self, layers: Any) -> None:
        self._layers, self._fused, self._last, self._watched = layers, None, None, True

    def _settle(self) -> None:
        """Bring the layers to the state that the last pass on the plan would have left them in."""
        if self._last is None:
            return
        (x, train_flg, parameters, state), self._last = self._last, None
        weighted, now = self._weighted(), np.random.get_state()
        present = [(layer.W, layer.b) for layer in weighted]
        _set_parameters(weighted, parameters)
        np.random.set_state(state)
        try:
            self._forward(x, train_flg)
        finally:
            np.random.set_state(now)
            _set_parameters(weighted, present)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the plan: `copy` and `pickle` give a network whose layers compute."""
        self._settle()
        return {**self.__dict__, "_fused": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a copy, or of a network of the book's class: of that the layers compute."""
        self.__dict__.update(state)
        if "layers" in state:
            self.layers, self._shape = self.__dict__.pop("layers"), ()

    def _forward(self, x: Array, train_flg: bool) -> Array:
        ops = active_ops()
        y = native(ops, x)
        for layer in self._sequence():
            y = self._apply(layer, y, train_flg)
        return like(ops, y, x)

    def _backward(self) -> list[tuple[Array, Array]]:
        backpropagate(self._sequence(), native(active_ops(), self.last_layer.backward(1)))
        return [(layer.dW, layer.db) for layer in self._weighted()]

    # The plan ---------------------------------------------------------------------------------------------------------

    def _plan(self, x: Array) -> Fused | None:
        """Return the plan, if it takes these images."""
        fused, ops = self._fused, active_ops()
        if fused is None or fused.ops.backend is not ops.backend or not _LEAST <= len(x) <= _MOST:
            return None
        if any(vars(kind).get(name) is not method for kind, name, method in _LAYERS):
            return None
        if tuple(x.shape[1:]) != fused.shape or str(np.result_type(dtype_name(x), fused.dtype)) != fused.dtype:
            return None
        return fused

    def _pass(self, fused: Fused, x: Array, train_flg: bool) -> _Pass:
        return _Pass(x, train_flg, fused.copied(), np.random.get_state())

    def _scores(self, x: Array, train_flg: bool) -> Array:
        fused, ops = self._plan(x), active_ops()
        if fused is None:
            self._last = None
            return self._forward(x, train_flg)
        self._last = self._pass(fused, x, train_flg)
        return like(ops, fused.scores(fused.native(x), training=train_flg), x)

    def _as_written(self) -> bool:
        """Return whether nobody has overridden what the plan's gradients stand for."""
        kind = type(self)
        return (
            type(self.last_layer) is SoftmaxWithLoss
            and vars(self.last_layer).keys().isdisjoint(("forward", "backward"))
            and all(getattr(kind, name).__module__.rpartition(".")[0] == _ROOM for name in ("predict", "loss"))
            and vars(self).keys().isdisjoint(("predict", "loss"))
        )

    def _gradients_by_plan(self, x: Array, t: Array, train_flg: bool) -> list[tuple[Array, Array]] | None:
        fused, ops = self._plan(x), active_ops()
        if fused is None or not self._as_written():
            return None
        labels = on_host(ops, t)
        if labels.shape != (len(x),) or labels.dtype.kind not in "iu":
            return None
        if labels.min() < 0 or labels.max() >= fused.classes:
            return None
        done = self._pass(fused, x, train_flg)
        found = fused.gradients(fused.native(x), labels.astype(np.int64, copy=False))
        if found is None:
            np.random.set_state(done.random_state)
            return None
        scores, grads = found
        self._last = done
        self.last_layer.forward(scores, t)
        for layer, (dw, db) in zip(self._weighted(), grads, strict=True):
            layer.dW, layer.db = dw, db
        return grads

    # What both have ---------------------------------------------------------------------------------------------------

    def _gradient(self, x: Array, t: Array, train_flg: bool, loss: Callable[[Array, Array], Any]) -> dict[str, Array]:
        grads = self._gradients_by_plan(x, t, train_flg)
        if grads is None:
            fused, self._fused = self._fused, None
            try:
                loss(x, t)
                grads = self._backward()
            finally:
                self._fused = None if self._watched else fused
        return {f"{name}{i}": g for i, pair in enumerate(grads, 1) for name, g in zip("Wb", pair, strict=True)}

    def _accuracy(self, predict: Callable[[Array], Array], x: Array, t: Array, batch_size: int) -> Any:
        ops = active_ops()
        labels = on_host(ops, t)
        if labels.ndim != 1:
            labels = np.argmax(labels, axis=1)
        right: Any = 0.0
        for start in range(0, x.shape[0] // batch_size * batch_size, batch_size):
            rows = slice(start, start + batch_size)
            right += np.sum(np.argmax(on_host(ops, predict(x[rows])), axis=1) == labels[rows])
        return right / x.shape[0]

    def save_params(self, file_name: str = "params.pkl") -> None:
        """Write `params` as NumPy arrays into a file, as the book does: a pickle."""
        ops = active_ops()
        _parameter_files.save(file_name, {key: np.array(on_host(ops, value)) for key, value in self.params.items()})

    def load_params(self, file_name: str = "params.pkl") -> None:
        """Read `params` from a file of `save_params`, the book's or this one; nothing in it is called.

        Raises:
            InputError: it holds anything but arrays by name.
            OSError: it cannot be read.
        """
        loaded, dtype = _parameter_files.load(file_name), script_dtype()
        for key, value in loaded.items():
            self.params[key] = value if dtype is None else value.astype(dtype)
        self._settle()
        self._place([(self.params[f"W{i}"], self.params[f"b{i}"]) for i in range(1, len(self._weighted()) + 1)])


def _set_parameters(layers: Iterable[Any], values: Iterable[tuple[Array, Array]]) -> None:
    for layer, (w, b) in zip(layers, values, strict=True):
        layer.W, layer.b = w, b


def normal(scale: Any, shape: tuple[int, ...]) -> HostArray:
    """Draw weights from NumPy's global generator, in the networks' dtype."""
    weights: HostArray = scale * np.random.standard_normal(shape)
    return weights.astype(network_dtype())


def zeros(size: int) -> HostArray:
    """Return biases of 0, in the networks' dtype."""
    return np.zeros(size, network_dtype())
