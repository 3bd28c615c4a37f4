"""Estimators from scikit-learn's and back."""

import copy
import inspect
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, BaseOptimizer, SGDOptimizer

from ..errors import InputError, InputTypeError
from ._solvers import AdamSolver, SGDSolver, Solver
from ._warnings import warn

_PAIRS: tuple[tuple[type[BaseOptimizer], type[Solver], dict[str, str]], ...] = (
    (AdamOptimizer, AdamSolver, {"ms": "m", "vs": "v"}),
    (SGDOptimizer, SGDSolver, {"velocities": "v"}),
)
"""scikit-learn's optimizers and nnx's solvers, with the names of what they remember for each parameter."""
_OWN = ("backend", "dtype", "_network", "_slots", "batch_norms_", "_best_batch_norms", "validation_loss_curve_")
"""Attributes that scikit-learn's estimators do not have, beside what `_beyond_scikit_learn` names."""


def adopt(estimator: Any) -> None:
    """Complete an estimator that has the state of one of scikit-learn's."""
    state = vars(estimator)
    version = state.pop("_sklearn_version", "pre-0.18")
    if version != sklearn.__version__:
        text = InconsistentVersionWarning(  # by scikit-learn itself for classes of its own alone
            estimator_name=type(estimator).__name__,
            current_sklearn_version=sklearn.__version__,
            original_sklearn_version=version,
        )
        warn(text, InconsistentVersionWarning)
    for cls in reversed(type(estimator).__mro__):
        if cls.__module__.startswith(f"{__package__}.") and "__init__" in vars(cls):
            for name, parameter in inspect.signature(cls).parameters.items():
                state.setdefault(name, parameter.default)


def taken_over(optimizer: BaseOptimizer) -> tuple[Solver, dict[str, list[Any]]]:
    """Convert scikit-learn's optimizer to a solver, and what it remembers to the slots of a network."""
    for theirs, ours, arrays in _PAIRS:
        if isinstance(optimizer, theirs):
            state = dict(vars(optimizer))
            slots = {slot: list(state.pop(name)) for name, slot in arrays.items()}
            solver = ours.__new__(ours)
            solver.__dict__.update({"t": 0, **state})
            return solver, slots
    raise InputTypeError(f"_optimizer: got {optimizer!r}, expected scikit-learn's AdamOptimizer or SGDOptimizer.")


def _given_back(solver: Solver, slots: dict[str, list[Any]], weights: list[Any]) -> BaseOptimizer:
    """Convert a solver and the slots of its network to scikit-learn's optimizer."""
    for theirs, ours, arrays in _PAIRS:
        if isinstance(solver, ours):
            optimizer: BaseOptimizer = object.__new__(theirs)
            optimizer.__dict__.update(vars(solver))
            for name, slot in arrays.items():
                setattr(optimizer, name, slots.get(slot) or [np.zeros_like(weight) for weight in weights])
            return optimizer
    raise InputTypeError(f"_optimizer: got {solver!r}, expected a solver of nnx.sklearn.")


def from_sklearn(cls: Any, estimator: Any) -> Any:
    """See `BaseMLP.from_sklearn`."""
    if type(estimator) is not cls._scikit_learns:
        name = cls._scikit_learns.__name__
        raise InputTypeError(
            f"{cls.__name__}.from_sklearn: got {type(estimator).__module__}.{type(estimator).__qualname__}, expected "
            f"sklearn.neural_network.{name} itself."
        )
    own = cls.__new__(cls)
    own.__setstate__(copy.deepcopy(estimator).__getstate__())
    return own


def to_sklearn(estimator: Any) -> Any:
    """See `BaseMLP.to_sklearn`."""
    cls = type(estimator)
    if not cls.__module__.startswith(f"{__package__}."):
        raise InputTypeError(
            f"to_sklearn: got {cls.__qualname__}, a subclass, whose additions scikit-learn's estimator would not have."
        )
    if beyond := estimator._beyond_scikit_learn():
        what = ", ".join(f"{name}={getattr(estimator, name)!r}" for name in beyond)
        raise InputError(
            f"to_sklearn: scikit-learn's {cls.__name__} does not have {what}. Train without, or export what "
            "predicts with to_onnx; dropout and class_weight do not touch predictions and may be left behind before: "
            "set_params(dropout=0.0, class_weight=None)."
        )
    state = copy.deepcopy(estimator).__getstate__()
    slots = state.get("_slots", {})
    solver = state.get("_optimizer")
    if isinstance(solver, Solver):
        state["_optimizer"] = _given_back(solver, slots, [*state["coefs_"], *state["intercepts_"]])
    for name in (*_OWN, "dropout", "batch_norm", "class_weight"):
        state.pop(name, None)
    other = cls._scikit_learns(**{name: state[name] for name in inspect.signature(cls._scikit_learns).parameters})
    vars(other).update(state)
    return other
