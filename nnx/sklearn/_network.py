"""An estimator's parameters: as an nnx model with its fused training step, and as plain arrays for predictions."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._support.checks import as_host
from ..backend import BackendLike
from ..errors import InputError, unknown
from ..layers import Activation, Affine, BatchNorm, Dropout, Layer, ReLU, Sigmoid, Tanh
from ..losses import Loss, MeanSquaredError
from ..model import Sequential
from ..ops import Array, HostArray, Ops
from ..optimizers import Optimizer
from ..plan import Plan
from ..training import DeviceData

ACTIVATIONS: dict[str, type[Activation] | None] = {"identity": None, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}
OUTPUTS = ("softmax", "exp", *ACTIVATIONS)
"""What `out_activation_` may be; a user may have changed it, as to "identity" for the scores."""
_NORM = BatchNorm()
_CHUNK = 1024  # rows predicted at once


@dataclass
class Weights:
    """The parameters in their order, on the host or native.

    Args:
        coefs: the weights, (i, o) each.
        intercepts: the biases, (o,) each.
        norms: the four arrays (o,) of each hidden layer's batch normalization, if there is one.
    """

    coefs: list[Any]
    intercepts: list[Any]
    norms: "list[dict[str, Any]] | None" = None

    def __iter__(self) -> Iterator[Any]:
        yield from self.coefs
        yield from self.intercepts
        for norm in self.norms or ():
            yield from norm.values()

    @classmethod
    def of(
        cls,
        coefs: Iterable[Any],
        intercepts: Iterable[Any],
        norms: "list[dict[str, Any]] | None",
        inputs: int | None = None,
        outputs: int | None = None,
    ) -> "Weights":
        """Check arrays that a user may have set: that they are numbers, and that each layer fits the next.

        Args:
            coefs: the weights, (i, o) each: arrays, or what NumPy makes an array of.
            intercepts: the biases, (o,) each, or what broadcasts to that.
            norms: the four arrays of each hidden layer's batch normalization, or None.
            inputs: the width of the rows, or None.
            outputs: the width of the targets, or None.

        Raises:
            InputError: a shape does not fit, or there are not as many biases as weights.
            InputTypeError: an array has no numbers.
        """
        weights = [as_host(f"coefs_[{i}]", w) for i, w in enumerate(coefs)]
        biases = [as_host(f"intercepts_[{i}]", b) for i, b in enumerate(intercepts)]
        if len(weights) != len(biases) or not weights:
            raise InputError(
                f"coefs_, intercepts_: got {len(weights)} and {len(biases)} arrays, expected one of each for a layer."
            )
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            last = outputs if i == len(weights) - 1 else None
            if w.ndim != 2 or inputs not in (None, w.shape[0]) or last not in (None, w.shape[1]):
                rows, columns = ("any" if size is None else size for size in (inputs, last))
                raise InputError(f"coefs_[{i}]: got an array of shape {w.shape}, expected ({rows}, {columns}).")
            inputs = w.shape[1]
            if b.shape != (inputs,):
                try:
                    biases[i] = np.broadcast_to(b, (1, inputs))[0]
                except ValueError:
                    raise InputError(
                        f"intercepts_[{i}]: got an array of shape {b.shape}, expected ({inputs},) for coefs_[{i}]."
                    ) from None
        return cls(weights, biases, norms)

    @property
    def dtype(self) -> str:
        """The common dtype of weights and biases."""
        return str(np.result_type(*self.coefs, *self.intercepts))

    def map(self, convert: Callable[[Any], Any]) -> "Weights":
        """Return the same with each array converted."""
        norms = None
        if self.norms is not None:
            norms = [{name: convert(array) for name, array in norm.items()} for norm in self.norms]
        return type(self)([convert(w) for w in self.coefs], [convert(b) for b in self.intercepts], norms)


def forward(ops: Ops, weights: Weights, activation: str, out_activation: str, dtype: str, x: Any) -> Array:
    """Compute the outputs (n, outputs) by fused inference.

    Args:
        ops: the operations to compute with.
        weights: native arrays.
        activation: of the hidden layers.
        out_activation: one of `OUTPUTS`.
        dtype: that of the weights and of x.
        x: (n, features), native, or sparse on the host.
    """
    if out_activation not in OUTPUTS:
        raise unknown("out_activation_", out_activation, OUTPUTS)
    last, layer = len(weights.coefs) - 1, ACTIVATIONS[activation]
    kind = None if layer is None else layer().formula
    for i, (w, b) in enumerate(zip(weights.coefs, weights.intercepts, strict=True)):
        hidden = i < last
        if not isinstance(x, ops.array_type):
            x = np.asarray(x @ w)
            x += b
        elif hidden and kind is not None and weights.norms is None:
            x = ops.affine(x, w, b, activation=kind)
            continue
        else:
            x = ops.affine(x, w, b)
        if hidden and weights.norms is not None:
            norm = weights.norms[i]
            hyper = ops.to_device(np.array([_NORM.eps, _NORM.momentum, 1 - _NORM.momentum], dtype))
            gamma, beta, mean, var = (norm[name] for name in ("gamma", "beta", "running_mean", "running_var"))
            x = ops.batch_norm_inference(x, gamma, beta, mean, var, hyper)
        if hidden and kind is not None:
            x = ops.activation(kind, x)
    return activated(ops, out_activation, x)


def activated(ops: Ops, out_activation: str, scores: Array) -> Array:
    """Compute the outputs from the scores (n, outputs); see `forward`."""
    match out_activation:
        case "softmax":
            return ops.softmax(scores)
        case "exp":
            return ops.xp.exp(scores)
    layer = ACTIVATIONS[out_activation]
    return scores if layer is None else ops.activation(layer().formula, scores)


def predict(ops: Ops, weights: Weights, activation: str, out_activation: str, dtype: str, x: Any) -> HostArray:
    """Compute `forward` for rows on the host, dense or CSR, block by block."""
    parts = []
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, x.shape[0], _CHUNK):
            rows = native_rows(ops, x[start : start + _CHUNK], dtype)
            parts.append(ops.to_host(forward(ops, weights, activation, out_activation, dtype, rows)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def native_rows(ops: Ops, rows: Any, dtype: str) -> Any:
    """Return rows of the host as `forward` takes them: sparse ones stay so where the host computes."""
    if isinstance(rows, np.ndarray):
        return ops.to_device(np.ascontiguousarray(rows, dtype))
    return rows.astype(dtype, copy=False) if ops.on_host else ops.to_device(rows.astype(dtype, copy=False).toarray())


class SparseAffine(Affine):
    """`Affine` whose x may be a SciPy matrix (n, i) in CSR: on the host, as the first layer of a model."""

    def forward(self, x: Any, train_flg: bool = True) -> Array:
        if train_flg:
            self._saved = x
        y = np.asarray(x @ self.params["W"])
        y += self.params["b"]
        return y

    def backward(self, dout: Array) -> Any:
        self.grads["W"][...] = self._last().T @ dout
        np.add.reduce(dout, axis=0, out=self.grads["b"])
        return None  # nothing lies below


class SparseData:
    """The counterpart of `DeviceData` for inputs in CSR, which stay on the host: a batch's rows are gathered there."""

    gathers_on_host = True

    def __init__(self, ops: Ops, x: Any, t: HostArray, dtype: str) -> None:
        self._ops, self._dtype = ops, dtype
        self._x, self._t = x.astype(dtype, copy=False), t

    def gather(self, index: HostArray) -> tuple[Any, Array]:
        """Return the rows and targets of an index (n,) on the host."""
        return native_rows(self._ops, self._x[index], self._dtype), self._ops.to_device(self._t[index])


class Network:
    """A built model with the weights of an estimator, and its training step."""

    def __init__(
        self,
        weights: Weights,
        *,
        dtype: str,
        activation: str,
        loss: Loss,
        optimizer: Optimizer,
        dropout: float,
        sparse: bool,
        backend: BackendLike,
    ) -> None:
        """Build the model.

        Args:
            weights: on the host; their values are copied.
            dtype: of the model, "float32" or "float64".
            activation: of the hidden layers.
            loss: the loss.
            optimizer: the optimizer.
            dropout: the probability of setting an activation to 0.
            sparse: whether x may be in CSR.
            backend: where to compute.
        """
        self.settings = {"activation": activation, "dropout": dropout, "sparse": sparse}
        weights = weights.map(lambda array: np.asarray(array, dtype))
        kind, layers = ACTIVATIONS[activation], list[Layer]()
        for i, (w, b) in enumerate(zip(weights.coefs, weights.intercepts, strict=True)):
            layers.append((SparseAffine if sparse and i == 0 else Affine)(w, b))
            if i == len(weights.coefs) - 1:
                break
            if weights.norms is not None:
                layers.append(BatchNorm(weights.norms[i]["gamma"], weights.norms[i]["beta"]))
            if kind is not None:
                layers.append(kind())
            if dropout > 0:
                layers.append(Dropout(dropout, inverted=True))
        self.model = Sequential(*layers).build(weights.coefs[0].shape[0], backend=backend, dtype=dtype)
        self.ops, self.loss = self.model.ops, loss
        self.plan = Plan(self.model.arena, self.model.stages, loss, optimizer, guarded=False, report=self.objective)
        affines = {i: layer.params for i, layer in enumerate(layers) if isinstance(layer, Affine)}
        norms = {i: layer for i, layer in enumerate(layers) if isinstance(layer, BatchNorm)}
        self.weights = Weights(
            [p["W"] for p in affines.values()],
            [p["b"] for p in affines.values()],
            [{**layer.params, **layer.running} for layer in norms.values()] or None,
        )
        """The model's own arrays."""
        self._trained = [f"{i}.W" for i in affines] + [f"{i}.b" for i in affines]
        self._trained += [f"{i}.{name}" for i in norms for name in ("gamma", "beta")]
        self.load(weights)
        # scikit-learn averages squares over the outputs, too, in the loss but not in its gradient.
        outputs = self.weights.coefs[-1].shape[1]
        self.share = 1 / outputs if isinstance(loss, MeanSquaredError) else 1.0
        self._share = self.plan.constant(self.share) if self.share < 1 else None
        self._half = self.plan.constant(0.5)

    def host(self) -> Weights:
        """Return the weights as NumPy arrays: on the host the model's own, else copies."""
        return self.weights.map(self.ops.to_host)

    def copies(self) -> Weights:
        """Copy the weights to NumPy arrays."""
        return self.weights.map(lambda array: np.array(self.ops.to_host(array)))

    def load(self, weights: Weights) -> None:
        """Take over the values of arrays on the host; arrays that are the model's own already cost nothing."""
        for own, new in zip(self.weights, weights, strict=True):
            if new is own:
                continue
            host = np.asarray(new)
            if host.shape != tuple(own.shape):
                raise ValueError(f"coefs_, intercepts_: got an array of shape {host.shape}, expected {own.shape}.")
            own[...] = self.ops.to_device(np.array(host, self.model.dtype))

    def slots(self) -> dict[str, list[HostArray]]:
        """Copy the optimizer's state: by slot, an array for each of weights, biases, and gamma and beta by layer."""
        return {
            slot: [np.array(self.ops.to_host(views[name])) for name in self._trained]
            for slot, views in self.plan.state.items()
        }

    def load_slots(self, slots: dict[str, list[Any]]) -> None:
        """Take over what `slots` gave."""
        for slot, views in self.plan.state.items():
            for name, array in zip(self._trained, slots.get(slot, ()), strict=False):
                views[name] = np.asarray(array)

    def data(self, x: Any, t: HostArray) -> "DeviceData | SparseData":
        """Check the training rows, and put them on the device unless they are sparse."""
        t = self.loss.check_targets("y", t, self.model.output_shape, self.model.dtype)
        if isinstance(x, np.ndarray):
            return DeviceData(self.model, self.loss, x, t, name="X", target="y", finite=False)
        return SparseData(self.ops, x, t, self.model.dtype)

    def objective(self, loss: Array, hyper: Array) -> Array:
        """Return what scikit-learn reports: the loss with the penalty, hyper[-2] / 2 * sum(W**2)."""
        loss = loss if self._share is None else loss * self._share
        return loss + self._half * hyper[-2] * self.plan.sum_squares()

    def differentiate(self, x: Any, t: Array, hyper: Array, weight: Array | None) -> Array:
        """Return the objective, and leave its gradients, without the penalty's, in the arena."""
        return self.objective(self.plan.program(x.shape[0]).differentiate(x, t, None, weight), hyper)
