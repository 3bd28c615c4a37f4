"""The functions of the study notes, on any backend: activations, losses, one-hot labels, numerical gradients.

Arguments are arrays of the active backend; NumPy arrays and lists are converted to it. Floating dtypes are kept,
whole numbers become float32. Results are the backend's arrays.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._support.checks import as_host, check_count, check_number, check_seed
from ._support.differences import central_difference
from .backend import BackendLike, active_ops
from .datasets import one_hot
from .errors import InputError, InputTypeError
from .layers import RELU, SIGMOID
from .losses import Loss, MeanSquaredError, SoftmaxCrossEntropy
from .model import Sequential
from .ops import FLOATS, Array, Ops, dtype_name
from .optimizers import SGD
from .plan import Plan

_SQUARES = MeanSquaredError().formula

__all__ = [
    "cross_entropy_error",
    "gradient_check",
    "mean_squared_error",
    "numerical_gradient",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
    "step",
]


def _floating(ops: Ops, name: str, x: Any) -> Array:
    if isinstance(x, ops.array_type) and not isinstance(x, np.ndarray):
        return x
    host = as_host(name, x)
    return ops.to_device(host if host.dtype.kind == "f" else host.astype(np.float32))


def step(x: Any) -> Array:
    """Return 1 where x is positive, else 0: int64, of x's shape."""
    ops = active_ops()
    return ops.xp.astype(_floating(ops, "x", x) > 0, ops.xp.int64)


def sigmoid(x: Any) -> Array:
    """Return 1 / (1 + exp(-x)), elementwise."""
    ops = active_ops()
    return ops.activation(SIGMOID, _floating(ops, "x", x))


def relu(x: Any) -> Array:
    """Return max(x, 0), elementwise."""
    ops = active_ops()
    return ops.activation(RELU, _floating(ops, "x", x))


def softmax(x: Any) -> Array:
    """Return exp(x) / sum(exp(x)) of a vector (c,) or of each row of (n, c)."""
    ops = active_ops()
    x = _floating(ops, "x", x)
    if x.ndim not in (1, 2) or 0 in x.shape:
        raise InputError(f"x: got shape {tuple(x.shape)}, expected (c,) or (n, c), not empty.")
    with np.errstate(invalid="ignore"):  # inf - inf is NaN
        rows = ops.softmax(ops.xp.reshape(x, (-1, x.shape[-1])))
    return ops.xp.reshape(rows, x.shape)


def _rows(ops: Ops, y: Any) -> Array:
    y = _floating(ops, "y", y)
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise InputError(f"y: got shape {tuple(y.shape)}, expected (c,) or (n, c), not empty.")
    return ops.xp.reshape(y, (-1, y.shape[-1]))


def mean_squared_error(y: Any, t: Any) -> Array:
    """Return sum((y - t)**2) / 2 of a vector, or its mean over the rows of a matrix.

    Args:
        y: (c,) or (n, c).
        t: the targets, of y's shape.

    Returns:
        The loss, 0-d.

    Raises:
        InputError: the shapes differ, have other than one or two dimensions, or are empty.
    """
    ops = active_ops()
    y, t = _floating(ops, "y", y), _floating(ops, "t", t)
    if y.shape != t.shape:
        raise InputError(f"t: got shape {tuple(t.shape)}, expected y's {tuple(y.shape)}.")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, a great square inf
        return ops.loss(_SQUARES, _rows(ops, y), ops.xp.astype(_rows(ops, t), y.dtype))


def cross_entropy_error(y: Any, t: Any) -> Array:
    """Return -sum(t * log(y + 1e-7)), averaged over the rows.

    Args:
        y: probabilities, (c,) or (n, c).
        t: one-hot rows or other probabilities, of y's shape, or the integer labels of the rows, (n,).

    Returns:
        The loss, 0-d.

    Raises:
        InputError: t has neither shape, or a label is outside 0..c-1.
        InputTypeError: the labels are not integers.
    """
    ops = active_ops()
    xp = ops.xp
    y = _rows(ops, y)
    t = as_host("t", t if not isinstance(t, ops.array_type) else ops.to_host(t))
    if t.size != y.shape[0] or y.shape[1] == 1:
        if t.size != y.shape[0] * y.shape[1]:
            raise InputError(
                f"t: got shape {t.shape} for y of {tuple(y.shape)}; expected ({y.shape[0]},) labels or one-hot rows."
            )
        target = t.reshape(y.shape)
    else:
        target = one_hot(SoftmaxCrossEntropy().check_targets("t", t.reshape(-1), (y.shape[1],), "float64"), y.shape[1])
    # Where y holds no probabilities, the result may be NaN or infinite: no warnings.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        target = ops.to_device(np.ascontiguousarray(target, dtype_name(y)))
        return -xp.sum(target * xp.log(y + 1e-7)) / y.shape[0]


def numerical_gradient(f: Callable[[Array], Any], x: Array, h: float = 1e-4) -> Array:
    """Estimate the gradient of f at x by central differences, (f(x + h) - f(x - h)) / 2h for each element.

    Args:
        f: takes x and gives a number (or a 0-d array).
        x: a float32 or float64 array of the backend or of NumPy, changed element by element in between and restored.
            Use float64: in float32 the differences are mostly rounding.
        h: the step, greater than 0.

    Returns:
        The gradient, of x's shape and dtype.

    Raises:
        InputError: x is not of a floating dtype, or is read-only.
    """
    check_number("h", h, 0, above=True)
    if np.isscalar(x) or dtype_name(x) not in FLOATS:
        raise InputError(f"x: got {getattr(x, 'dtype', type(x).__name__)}, expected an array of float32 or float64.")
    if isinstance(x, np.ndarray) and not x.flags.writeable:
        raise InputError("x: is read-only, expected an array that can be changed meanwhile.")
    gradient = x * 0
    for index in np.ndindex(*x.shape):
        gradient[index] = central_difference(lambda: float(f(x)), x, index, h)
    return gradient


def gradient_check(
    model: Sequential,
    x: Any,
    t: Any,
    loss: Loss | None = None,
    *,
    samples: int = 20,
    seed: int = 0,
    backend: BackendLike = None,
) -> dict[str, float]:
    """Compare a model's gradients with numerical ones.

    The check works on a float64 copy of the built model (or of an unbuilt one, built for x), with dropout masks held
    fixed, and changes neither parameters nor running statistics.

    Args:
        model: the model, built or not.
        x: (n, *input_shape).
        t: the targets of the n rows, as the loss takes them.
        loss: default `SoftmaxCrossEntropy()`.
        samples: how many elements of each parameter are checked, drawn at random.
        seed: draws these elements, and the parameters of an unbuilt model.
        backend: name of a backend, or a backend, for an unbuilt model; None for the one in force.

    Returns:
        For each parameter the greatest relative error, |analytic - numerical| / max(|analytic| + |numerical|, 1e-5), by
        name. Right gradients give less than about 1e-5, except where a ReLU's kink lies between the two differences.

    Raises:
        InputError: x or t does not fit the model and the loss.
        InputTypeError: model or loss is of another type.
    """
    if not isinstance(model, Sequential):
        raise InputTypeError(f"model: got {model!r}, expected an nnx.Sequential.")
    if loss is not None and not isinstance(loss, Loss):
        raise InputTypeError(f"loss: got {loss!r}, expected an nnx.Loss such as nnx.SoftmaxCrossEntropy().")
    samples, seed = check_count("samples", samples), check_seed(seed)
    host, targets = as_host("x", x), as_host("t", t)
    copy = model.unbuilt()
    if model.built:
        copy.build(model.input_shape, backend=model.backend, seed=model.seed, dtype="float64")
        copy.load_state_dict(model.state_dict())
    else:
        copy.build(host.shape[1:], backend=backend, seed=seed, dtype="float64")
    loss = SoftmaxCrossEntropy() if loss is None else loss
    targets = loss.check_targets("t", targets, copy.output_shape, "float64")
    native_x, native_t = copy.native_input("x", host), copy.ops.to_device(targets)
    if native_x.shape[0] != native_t.shape[0]:
        raise InputError(f"t: got {native_t.shape[0]} rows for {native_x.shape[0]} rows of x; expected as many.")
    plan = Plan(copy.arena, copy.stages, loss, SGD())
    program, to_host = plan.program(native_x.shape[0]), copy.ops.to_host
    keys = plan.keys(copy.seed, 0)
    rng = None if keys is None else copy.ops.to_device(keys)

    def value() -> float:
        return float(to_host(program.differentiate(native_x, native_t, rng)))

    value()
    analytic = {name: np.array(to_host(g)).reshape(-1) for name, g in copy.grads.items()}
    draw, h = np.random.default_rng(seed), 1e-5
    errors = {}
    for name, parameter in copy.params.items():
        flat = copy.ops.xp.reshape(parameter, (-1,))
        chosen = draw.permutation(flat.shape[0])[:samples].tolist()
        worst = 0.0
        for i in chosen:
            numerical, own = central_difference(value, flat, i, h), float(analytic[name][i])
            worst = max(worst, abs(own - numerical) / max(abs(own) + abs(numerical), 1e-5))
        errors[name] = worst
    return errors
