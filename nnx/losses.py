"""Losses: each is one operation that gives the value and the gradient, by a formula of one output and its target."""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from . import formula
from ._support.checks import as_floats, as_host, check_labels, check_native, check_number
from .backend import get_backend
from .errors import InputError, InputTypeError, look_up, unknown
from .formula import Formula, Number, Value, derivative, exp, log, maximum, minimum, sigmoid, softplus, where
from .ops import FLOATS, Array, HostArray, Ops, dtype_name


class Loss:
    """Base of the losses. Used without a `Trainer`, a loss is called like a layer: `forward(y, t)`, then `backward()`.

    A subclass defines these two, on arrays of the backend; it then runs in `Trainer` as it is, outside the compiled
    kernels, and cannot weight rows. For a loss that is a formula see `ElementwiseLoss`.
    """

    metric: ClassVar[str | None] = None
    """The score that goes with it: "accuracy", for which it defines `count_right` (and `labels`, to predict), "r2", for
    which it may define `predicted`, or none."""
    capturable: ClassVar[bool] = False
    """Whether a backend may record it as a part of a step: its `forward` and `backward` do the same operations on
    arrays each time, and nothing else."""
    classes: ClassVar[bool] = False
    """Whether targets are labels of classes, one of which holds."""
    applies: ClassVar[str | None] = None
    """What it applies to the outputs itself, "softmax" or "sigmoid": a network for it ends with an `Affine`."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of its numbers: attributes and constructor arguments."""

    def __init__(self) -> None:
        self._ops: Ops | None = None
        self._gradient: Array | None = None

    def bind(self, ops: Ops) -> None:
        """Standing alone, compute with these operations, and not with those of the backend in force."""
        self._ops = ops

    def check_targets(self, name: str, t: HostArray, outputs: tuple[int, ...], dtype: str) -> HostArray:
        """Check the targets and return them in the form that the operation takes.

        Args:
            name: the targets' name, for error messages.
            t: the targets of all rows, on the host.
            outputs: the shape of the model's outputs without their rows: they are (n, *outputs).
            dtype: of the model, "float32" or "float64".

        Raises:
            InputError: the targets have a wrong shape or a value out of range.
            InputTypeError: the targets have a wrong dtype.
        """
        return as_floats(name, t, dtype) if t.dtype.kind == "f" else t

    def bound(self, ops: Ops, dtype: str) -> Callable[..., Array]:
        """Return the loss as an operation of a backend: f(z, t, *, weight, bias, dz, db), see `ops.loss`.

        Here it is made of the `forward` and `backward` of a subclass, which take no `weight`.

        Args:
            ops: the operations to compute with.
            dtype: of the model, "float32" or "float64".

        Raises:
            InputTypeError: the subclass defines no `forward`.
        """
        if type(self).forward is Loss.forward:
            raise InputTypeError(
                f"{type(self).__name__} must define forward(y, t) and backward(); or be an nnx.ElementwiseLoss."
            )

        def own(
            z: Array, t: Array, *, bias: Array | None = None, dz: Array | None = None, db: Array | None = None
        ) -> Array:
            value = self.forward(z if bias is None else z + bias, t)
            if dz is not None or db is not None:
                gradient = self.backward()
                if dz is not None:
                    dz[...] = gradient
                if db is not None:
                    db[...] = ops.xp.sum(gradient, axis=0)
            return value if isinstance(value, ops.array_type) else ops.to_device(np.array(value, dtype))

        return ops.in_python(own)

    def count_right(self, ops: Ops, y: Array, t: Array) -> Array:
        """Count the rows that the model gets right, for the metric "accuracy".

        Args:
            ops: the operations to compute with.
            y: the model's output (n, c).
            t: the targets, as `check_targets` gives them.

        Returns:
            The number of rows, a 0-d native array.
        """
        raise NotImplementedError(f"{type(self).__name__} must define count_right(ops, y, t) for its accuracy")

    def predicted(self, y: HostArray) -> HostArray:
        """Return what is compared with the targets for the metric "r2", from the model's output y: (n, c)."""
        return y

    def forward(self, y: Array, t: Array) -> Array:
        """Compute the mean loss over the rows, and keep the gradient for `backward`.

        Args:
            y: the model's output (n, c), a native array of float32 or float64.
            t: the targets: a native array in the form that the operation takes, or anything that NumPy converts.

        Returns:
            The mean, a 0-d native array.

        Raises:
            InputError: y or t has a wrong shape or value, or y a wrong dtype.
            InputTypeError: y is not an array of the backend, or t no array of numbers.
        """
        if self._ops is None:
            self._ops = Ops(get_backend())
        check_native(self._ops, "y", y)
        if dtype_name(y) not in FLOATS:
            raise InputError(f"y: got dtype {y.dtype}, expected float32 or float64.")
        if len(y.shape) == 0 or 0 in y.shape:
            raise InputError(f"y: got shape {tuple(y.shape)} with no rows or no columns, expected (n, c).")
        _check_outputs(tuple(y.shape[1:]))
        on_host = isinstance(t, np.ndarray) or not isinstance(t, self._ops.array_type)
        t = as_host("t", t) if on_host else t
        if len(t.shape) > 0 and y.shape[0] != t.shape[0]:
            raise InputError(f"t: got {t.shape[0]} rows, expected {y.shape[0]} as the model's output has.")
        if on_host:
            t = self._ops.to_device(self.check_targets("t", t, tuple(y.shape[1:]), dtype_name(y)))
        self._gradient = self._ops.xp.empty_like(y)
        return self.bound(self._ops, dtype_name(y))(y, t, dz=self._gradient)

    def backward(self, dout: float = 1.0) -> Array:
        """Return the gradient of the last `forward` with respect to y, times `dout`; of y's shape and dtype.

        Raises:
            InputError: there was no `forward` before.
        """
        if self._gradient is None:
            raise InputError(f"{self!r}: backward needs a forward(y, t) before it.")
        return self._gradient if dout == 1.0 else self._gradient * dout

    def probabilities(self, scores: HostArray) -> HostArray:
        """Return the probabilities that a model's outputs (n, c) mean under this loss.

        Raises:
            InputError: the outputs mean no probabilities.
        """
        raise InputError(
            f"predict_proba: under {self!r} a model's outputs are no scores of classes; predict gives them as they are."
        )

    def labels(self, scores: HostArray) -> HostArray:
        """Return the numbers of the classes that a model's outputs (n, c) mean under this loss.

        Returns:
            (n,) int64, one class for each row; or (n, c) of 0 and 1 where any number of them may hold.

        Raises:
            InputError: the outputs mean no classes.
        """
        raise InputError(
            f"predict_classes: under {self!r} a model's outputs are no scores of classes; predict gives them as they "
            "are."
        )

    def class_count(self, outputs: tuple[int, ...]) -> int | None:
        """Return how many classes outputs of shape (n, *outputs) tell apart; None if they mean no classes."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the backend and the last gradient: `copy` and `pickle` give a loss that stands alone."""
        return {**self.__dict__, "_ops": None, "_gradient": None}

    def config(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the loss: its class's name under "loss", and its `settings`."""
        return {"loss": type(self).__name__, **{name: getattr(self, name) for name in self.settings}}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)
        return f"{type(self).__name__}({values})"


class OwnLoss(Loss):
    """An object with `forward(y, t)` and `backward()`, such as the study notes' last layers, as a `Loss`."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, y: Array, t: Array) -> Array:
        return self.loss.forward(y, t)

    def backward(self, dout: float = 1.0) -> Array:
        return self.loss.backward()

    def config(self) -> dict[str, Any]:
        return {"loss": type(self.loss).__name__}

    def __repr__(self) -> str:
        return repr(self.loss)


def as_loss(loss: Any) -> Any:
    """Wrap an object that is no `Loss` but has `forward` and `backward` in one; return anything else unchanged."""
    duck = not isinstance(loss, Loss | type) and hasattr(loss, "forward") and hasattr(loss, "backward")
    return OwnLoss(loss) if duck else loss


class ElementwiseLoss(Loss):
    """Base of the losses that are the mean over the rows of the sum of a formula of each output and its target.

    A subclass defines `function(self, z, t)`, by the functions of `nnx.formula`; its settings, named in `settings`, are
    further arguments of their names. The gradient follows; a method `derivative` may give a better form. Targets: of
    the outputs' shape (n, c); (n,) will do for one column.
    """

    capturable = True

    def function(self, *values: Any, **settings: Any) -> Number:
        """Return the loss of an output z and its target t; the arguments are z, t and the settings by name."""
        raise NotImplementedError(f"{type(self).__name__} must define function(z, t)")

    def derivative(self, *values: Any, **settings: Any) -> Number:
        """Return the derivative of the loss with respect to z; the arguments are those of `function`."""
        value = self.function(*values, **settings)
        return derivative(value, values[0]) if isinstance(value, Value) else 0.0

    @cached_property
    def formula(self) -> Formula:
        """The formula of the loss and of its derivative dz, from z, t and the settings."""

        def both(z: Value, t: Value, *numbers: Value) -> tuple[Number, Number]:
            settings = dict(zip(self.settings, numbers, strict=True))
            return self.function(z, t, **settings), self.derivative(z, t, **settings)

        return Formula(type(self).__name__.lower(), both, ["z", "t"], ["loss", "dz"], self.settings)

    def bound(self, ops: Ops, dtype: str) -> Callable[..., Array]:
        numbers = [float(getattr(self, name)) for name in self.settings]
        hyper = ops.to_device(np.array(numbers, dtype)) if numbers else None
        operation, own = ops.loss, self.formula
        return lambda z, t, **others: operation(own, z, t, hyper, **others)

    def check_targets(self, name: str, t: HostArray, outputs: tuple[int, ...], dtype: str) -> HostArray:
        return _check_numbers(name, t, outputs, dtype)


def _check_outputs(outputs: tuple[int, ...]) -> None:
    if len(outputs) != 1:
        raise InputError(
            f"the model's outputs have shape (n, {', '.join(map(str, outputs))}), expected (n, columns). "
            "Put a Flatten() before the last Affine."
        )


class SoftmaxCrossEntropy(Loss):
    """Mean over the rows of -sum(t * log(softmax(y))).

    Targets: (n,) integer labels in 0..c-1, or (n, c) rows of probabilities that sum to 1 (one-hot rows among them).

    Args:
        label_smoothing: in [0, 1): this share of each target is spread evenly over the c classes (Szegedy et al. 2016),
            in evaluations, too.
    """

    metric = "accuracy"
    capturable = True
    classes = True
    applies = "softmax"
    settings = ("label_smoothing",)

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)

    def count_right(self, ops: Ops, y: Array, t: Array) -> Array:
        """Count the rows whose greatest output is the label's."""
        return ops.count_correct(y, t)

    def bound(self, ops: Ops, dtype: str) -> Callable[..., Array]:
        share = self.label_smoothing
        if share == 0:
            return ops.softmax_cross_entropy
        xp = ops.xp

        def shares(z: Array, t: Array) -> Array:
            c = z.shape[1]
            if t.ndim == 1:
                rows = xp.expand_dims(t, axis=1) == xp.expand_dims(xp.arange(c, dtype=t.dtype), axis=0)
                valid = xp.expand_dims((t >= 0) & (t < c), axis=1)
                rows = xp.astype(rows, z.dtype)
                t = xp.where(valid, rows, xp.full_like(rows, xp.nan))  # a wrong label makes the loss NaN
            return t * (1.0 - share) + share / c

        smoothed = ops.in_python(shares)
        return lambda z, t, **others: ops.softmax_cross_entropy(z, smoothed(z, t), **others)

    def config(self) -> dict[str, Any]:
        return super().config() if self.label_smoothing else {"loss": type(self).__name__}

    def __repr__(self) -> str:
        return super().__repr__() if self.label_smoothing else f"{type(self).__name__}()"

    def check_targets(self, name: str, t: HostArray, outputs: tuple[int, ...], dtype: str) -> HostArray:
        _check_outputs(outputs)
        classes = outputs[0]
        if t.ndim == 1:
            if t.dtype.kind == "b":
                t = t.astype(np.int64)
            _check_meant(name, t, classes)
            return check_labels(name, t, classes)
        if t.ndim == 2 and t.shape[1] == classes:
            return _check_probabilities(name, t, dtype)
        cure = f" For integer labels pass {name}.ravel()." if t.ndim == 2 and t.shape[1] == 1 else ""
        raise InputError(
            f"{name}: got targets of shape {t.shape}, expected (n,) integer labels or (n, {classes}) rows of "
            f"probabilities.{cure}"
        )

    def labels(self, scores: HostArray) -> HostArray:
        """Return where the greatest output of each row is."""
        _check_outputs(scores.shape[1:])
        return np.asarray(np.argmax(scores, axis=1), np.int64)

    def class_count(self, outputs: tuple[int, ...]) -> int | None:
        """Return the number of outputs."""
        return outputs[0] if len(outputs) == 1 else None

    def probabilities(self, scores: HostArray) -> HostArray:
        """Return the softmax of each row, which sums to 1."""
        if scores.ndim != 2 or scores.shape[1] < 2:
            raise InputError(
                f"predict_proba: got outputs of shape {scores.shape}, expected (n, classes) with two classes or more; "
                "for yes or no in one column pass loss=nnx.SigmoidCrossEntropy()."
            )
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))


def _check_meant(name: str, t: HostArray, classes: int) -> None:
    """Raise for targets that another loss was meant for: this is the one that nobody need ask for."""
    whose = "the loss is SoftmaxCrossEntropy(), unless another one is passed, and tells classes apart"
    if t.dtype.kind == "f":
        whole = bool((np.isfinite(t) & (t == np.floor(t))).all())
        cure = f"Convert them with {name}.astype(int); or, t" if whole else "T"
        raise InputTypeError(
            f"{name}: got labels of dtype {t.dtype}, expected integers: {whose}. {cure}o predict numbers, pass "
            "loss='mse' (nnx.MeanSquaredError())."
        )
    if classes == 1 and t.any():
        raise InputError(
            f"{name}: got labels for a model of one output: {whose}, an output for each. For yes or no by one output "
            "pass loss='sigmoid_cross_entropy' (nnx.SigmoidCrossEntropy()), to predict numbers loss='mse' "
            "(nnx.MeanSquaredError())."
        )


def _check_probabilities(name: str, t: HostArray, dtype: str) -> HostArray:
    rows = as_floats(name, t, dtype)
    sums = np.add.reduce(rows, axis=1)
    wrong = ~((np.abs(sums - 1) < 1e-3) & (np.minimum.reduce(rows, axis=1, initial=0) >= 0))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{name}: row {first} is {np.array2string(rows[first], threshold=10)}, expected probabilities of at least "
            "0 that sum to 1."
        )
    return rows


class MeanSquaredError(ElementwiseLoss):
    """Mean over the rows of sum((y - t)**2) / 2. Targets: of the outputs' shape (n, c); (n,) will do for one column.

    The sum over the columns is not divided by c.
    """

    metric = "r2"

    def function(self, z: Number, t: Number) -> Number:
        return 0.5 * (z - t) ** 2

    def derivative(self, z: Number, t: Number) -> Number:
        return z - t


def _check_numbers(name: str, t: HostArray, outputs: tuple[int, ...], dtype: str) -> HostArray:
    _check_outputs(outputs)
    if t.ndim == 1 and outputs == (1,):
        t = t[:, None]
    if t.ndim != 2 or t.shape[1:] != outputs:
        raise InputError(f"{name}: got targets of shape {t.shape}, expected (n, {outputs[0]}) as the model's outputs.")
    return as_floats(name, t, dtype)


class SigmoidCrossEntropy(ElementwiseLoss):
    """Mean over the rows of -sum(t * log(p) + (1 - t) * log(1 - p)), p = sigmoid(y).

    For two classes in one column of outputs, or for labels of which any number may hold at once, a column each.
    Targets: 0, 1 or a probability, of the outputs' shape (n, c); (n,) will do for one column.
    """

    metric = "accuracy"
    applies = "sigmoid"

    def count_right(self, ops: Ops, y: Array, t: Array) -> Array:
        """Count the rows in which every output is on the target's side of one half.

        scikit-learn's `accuracy_score` of several labels counts likewise.
        """
        return ops.xp.sum(ops.xp.all((y > 0) == (t > 0.5), axis=1))

    def function(self, z: Number, t: Number) -> Number:
        return softplus(z) - t * z

    def derivative(self, z: Number, t: Number) -> Number:
        return sigmoid(z) - t

    def check_targets(self, name: str, t: HostArray, outputs: tuple[int, ...], dtype: str) -> HostArray:
        t = _check_numbers(name, t, outputs, dtype)
        wrong = ~((t >= 0) & (t <= 1))
        if wrong.any():
            raise InputError(f"{name}: got {t[wrong][0]}, expected 0, 1 or a probability between them.")
        return t

    def labels(self, scores: HostArray) -> HostArray:
        """Return 1 where the probability is above one half, else 0: (n,) of one output, (n, c) of several."""
        _check_outputs(scores.shape[1:])
        return np.asarray(scores[:, 0] > 0 if scores.shape[1] == 1 else scores > 0, np.int64)

    def class_count(self, outputs: tuple[int, ...]) -> int | None:
        """Return 2 for one output, which says no or yes, else the number of outputs."""
        return None if len(outputs) != 1 else 2 if outputs == (1,) else outputs[0]

    def probabilities(self, scores: HostArray) -> HostArray:
        """Return the sigmoid of each output."""
        with np.errstate(over="ignore"):  # exp may overflow to infinity; the result is then 0
            return np.asarray(1 / (1 + np.exp(-scores)))


class PoissonDeviance(ElementwiseLoss):
    """Mean over the rows of sum(t * log(t / m) - t + m), m = exp(y) (Nelder & Wedderburn 1972).

    That is half the deviance of counts t with expectation m; 0 * log(0) is 0. Targets: numbers of at least 0, of the
    outputs' shape (n, c); (n,) will do for one column.
    """

    metric = "r2"

    def predicted(self, y: HostArray) -> HostArray:
        """Return the expectations, exp(y)."""
        return np.exp(y)

    def function(self, z: Number, t: Number) -> Number:
        return t * (log(where(t > 0, t, 1.0)) - z) - t + exp(z)

    def derivative(self, z: Number, t: Number) -> Number:
        return exp(z) - t

    def check_targets(self, name: str, t: HostArray, outputs: tuple[int, ...], dtype: str) -> HostArray:
        t = _check_numbers(name, t, outputs, dtype)
        wrong = ~(t >= 0)
        if wrong.any():
            raise InputError(f"{name}: got {t[wrong][0]}, expected counts or frequencies of at least 0.")
        return t


class Huber(ElementwiseLoss):
    """Mean over the rows of sum(d**2 / 2 where |d| < delta, else delta * (|d| - delta / 2)), d = y - t (Huber 1964).

    Targets: of the outputs' shape (n, c); (n,) will do for one column.

    Args:
        delta: where the square turns into a line, above 0.
    """

    settings = ("delta",)

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = check_number("Huber: delta", delta, 0, above=True)

    def function(self, z: Number, t: Number, delta: Number) -> Number:
        d = formula.abs(z - t)
        return where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))

    def derivative(self, z: Number, t: Number, delta: Number) -> Number:
        return maximum(minimum(z - t, delta), -delta)


LOSSES: dict[str, type[Loss]] = {
    cls.__name__: cls for cls in (SoftmaxCrossEntropy, MeanSquaredError, SigmoidCrossEntropy, PoissonDeviance, Huber)
}


_SHORT = {"mse": "mean_squared_error", "cross_entropy": "softmax_cross_entropy"}
_ELSEWHERE = {
    "binary_crossentropy": "sigmoid_cross_entropy",
    "bce": "sigmoid_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
}
"""What Keras and PyTorch call losses, which may take probabilities there."""


def loss(name: str) -> Loss:
    """Make a loss, with its default settings, by its name.

    Args:
        name: in any case, such as "softmax_cross_entropy"; in short "cross_entropy" and "mse".

    Raises:
        InputError: the name is unknown.
    """
    known = {re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", own).lower(): cls for own, cls in LOSSES.items()}
    known |= {short: known[whole] for short, whole in _SHORT.items()}
    if isinstance(name, str) and (here := _ELSEWHERE.get(name.lower())):
        raise InputError(
            f"unknown loss {name!r}: its name here is {here!r}. It takes the scores of the last Affine: end the model "
            "without a sigmoid or softmax."
        )
    return look_up("loss", name, known)()


def from_config(config: dict[str, Any]) -> Loss:
    """Make the loss that `Loss.config` described."""
    settings = dict(config)
    name = settings.pop("loss")
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return LOSSES[name](**settings)
