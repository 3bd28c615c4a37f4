"""Formulas in float64: instruction by instruction, or independently in their papers' form where that is known."""

import math
from typing import Any

import numpy as np

from ..formula import Formula
from ..ops import HostArray

_FUNCTIONS: dict[str, Any] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "neg": np.negative,
    "where": np.where,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    **{name: getattr(np, name) for name in ("exp", "log", "log1p", "sqrt", "tanh", "abs", "maximum", "minimum")},
    "erf": np.vectorize(math.erf, otypes=[float]),
    "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
    "softplus": lambda x: np.logaddexp(0, x),
}


def evaluate(formula: Formula, values: dict[str, Any]) -> list[HostArray]:
    """Compute the formula's outputs, instruction by instruction."""
    known = dict(values)
    for name, op, args in formula.instructions:
        known[name] = _FUNCTIONS[op](*(known[a] if isinstance(a, str) else a for a in args))
    shape = np.shape(values[formula.inputs[0]])
    return [np.broadcast_to(known[r] if isinstance(r, str) else r, shape) for r in formula.results]


def activated(formula: Formula, x: HostArray) -> HostArray:
    known = VALUES.get(formula.name)
    value: HostArray = evaluate(formula, {"x": x})[0] if known is None else known(x)
    return value


def losses_and_gradients(formula: Formula, z: HostArray, t: HostArray, *settings: float) -> Any:
    """Compute both for each element.

    The gradients are the formula's own; another check compares them with numerical ones.
    """
    values = {"z": z, "t": t, **dict(zip(formula.scalars, settings, strict=True))}
    losses, gradients = evaluate(formula, values)
    known = LOSSES.get(formula.name)
    return (losses if known is None else known(z, t, *settings)), gradients


def updated(formula: Formula, arrays: dict[str, HostArray], scalars: dict[str, Any]) -> Any:
    rule = RULES.get(formula.name)
    return evaluate(formula, arrays | scalars) if rule is None else rule(*arrays.values(), *scalars.values())


def _poisson(z: HostArray, t: HostArray) -> HostArray:
    logs = [0.0 if a == 0 else a * np.log(a / b) for a, b in zip(t.ravel(), np.exp(z).ravel(), strict=True)]
    return np.reshape(logs, t.shape) - t + np.exp(z)


VALUES: dict[str, Any] = {
    "relu": lambda x: np.where(x < 0, 0.0, x),
    "sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x)),
    "tanh": np.tanh,
}
LOSSES: dict[str, Any] = {
    "meansquarederror": lambda z, t: (z - t) ** 2 / 2,
    "sigmoidcrossentropy": lambda z, t: t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z),
    "poissondeviance": _poisson,
}


def _momentum(p: Any, g: Any, v: Any, lr: Any, momentum: Any, decay: Any, scale: Any) -> Any:
    v = momentum * v - lr * (scale * g + decay * p)
    return p + v, v


def _nesterov(p: Any, g: Any, v: Any, lr: Any, momentum: Any, decay: Any, scale: Any) -> Any:
    g = scale * g + decay * p
    return p + momentum**2 * v - (1 + momentum) * lr * g, momentum * v - lr * g


def _adagrad(p: Any, g: Any, h: Any, lr: Any, eps: Any, decay: Any, scale: Any) -> Any:
    g = scale * g + decay * p
    h = h + g**2
    return p - lr * g / (np.sqrt(h) + eps), h


def _rmsprop(p: Any, g: Any, h: Any, lr: Any, eps: Any, share: Any, decay: Any, scale: Any) -> Any:
    g = scale * g + decay * p
    h = (1 - share) * h + share * g**2
    return p - lr * g / (np.sqrt(h) + eps), h


def _adam(p: Any, g: Any, m: Any, v: Any, a: Any, b: Any, eps: Any, s1: Any, s2: Any, decay: Any, scale: Any) -> Any:
    return _adamw(p, scale * g + decay * p, m, v, a, b, eps, s1, s2, 0.0, 1.0)


def _adamw(p: Any, g: Any, m: Any, v: Any, a: Any, b: Any, eps: Any, s1: Any, s2: Any, decay: Any, scale: Any) -> Any:
    g = scale * g
    m, v = (1 - s1) * m + s1 * g, (1 - s2) * v + s2 * g**2
    return p * (1 - decay) - a * m / (b * np.sqrt(v) + eps), m, v


RULES: dict[str, Any] = {
    "sgd": lambda p, g, lr, decay, scale: (p - lr * (scale * g + decay * p),),
    "running_average": lambda running, batch, eps, kept, taken: (kept * running + taken * batch,),
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}
"""Updates as the papers have them, beside the formulas: a formula that is not here is its own reference."""
