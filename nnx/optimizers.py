"""Optimizers: a rule for one parameter, and the numbers that the rule needs at each step.

They serve the trainer, or stand alone: `update(params, grads)`.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np

from . import schedules
from ._support.arena import Views
from ._support.checks import check_native, check_number
from .backend import get_backend
from .errors import InputError, InputTypeError, look_up
from .formula import Formula, Number, Value, sign, sqrt, where
from .ops import FLOATS, Array, Ops, dtype_name
from .schedules import Constant, Schedule


class Optimizer:
    """Base of the optimizers.

    A subclass defines `rule(p, g, *state, *coefficients)`, a static method: a formula (see `nnx.formula`) of one
    parameter, its gradient, its state (`slots`) and some numbers, that returns the new parameter and the new state. In
    the formulas of the classes below g includes weight decay, unless it is decoupled.

    Args:
        lr: the learning rate, a number of at least 0 or a schedule (see `nnx.schedules`); it may be set anew at any
            time.
    """

    rule: ClassVar[Callable[..., Any]]
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays, each of the parameters' shapes, zero at first."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers beside `lr`: attributes and constructor arguments."""
    decoupled: ClassVar[bool] = False
    """Whether weight decay is kept out of the gradient and the loss."""

    def __init__(self, lr: "float | Schedule") -> None:
        self.lr = lr
        self.t = 0
        self.state: dict[str, dict[str, Array]] = {}
        self._buffers: dict[str, Views] = {}
        self._layout: object = None
        self._ops: Ops | None = None

    def bind(self, ops: Ops) -> None:
        """Standing alone, compute with these operations, and not with those of the backend in force."""
        self._ops = ops

    @property
    def lr(self) -> "float | Schedule":
        """The learning rate, or the schedule that gives it."""
        return self._schedule.lr if isinstance(self._schedule, Constant) else self._schedule

    @lr.setter
    def lr(self, value: "float | Schedule") -> None:
        self._schedule = schedules.schedule(value)

    def rate(self, step: int) -> float:
        """Return the learning rate at a step, counted from 0."""
        return schedules.rate(self._schedule, step)

    def coefficients(self, step: int) -> tuple[float, ...]:
        """Return the numbers that the rule takes after the state, in its order, at a step counted from 0.

        By default `lr` is the learning rate at the step, and every other number the attribute of its name.
        """
        names = _numbers(type(self))  # type: ignore[arg-type]  # a class can be hashed
        return tuple([self.rate(step) if name == "lr" else getattr(self, name) for name in names])

    @classmethod
    def formula(cls) -> Formula:
        """Return the rule with weight decay and the gradient's scale, as `ops.update_` takes it.

        Raises:
            InputTypeError: the class defines no rule.
        """
        return _formula(cls)  # type: ignore[arg-type]  # a class can be hashed

    def decay(self, given: float) -> float:
        """Return the weight decay in force, where the trainer was given `given`."""
        return given

    def hyper(self, step: int, weight_decay: float = 0.0) -> tuple[float, ...]:
        """Return the formula's scalars at a step: coefficients, weight decay, gradient scale.

        Args:
            step: counted from 0.
            weight_decay: as `decay` returns it; a decoupled one is multiplied by the learning rate here.
        """
        decay = self.rate(step) * weight_decay if self.decoupled else weight_decay
        return (*self.coefficients(step), decay, 1.0)

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Make one step, in place: `params[name]` changes for every name; the state is kept from call to call.

        A model's `params` and `grads` take one launch over the whole buffer.

        Args:
            params: arrays of the active backend by name, float32 or float64.
            grads: gradients under at least the same names, of the same shapes and dtypes.

        Raises:
            InputError: a gradient is missing or has another shape or dtype, or a parameter cannot be updated in place.
            InputTypeError: an argument is no dictionary, or an array is not of the backend.
        """
        if self._ops is None:
            self._ops = Ops(get_backend())
        _check_update(self._ops, params, grads)
        if isinstance(params, Views) and isinstance(grads, Views) and params.layout is grads.layout:
            self._update_buffer(self._ops, params, grads)
        else:
            for name in params:
                self._update_array(self._ops, name, params[name], grads[name])
        self.t += 1

    def _update_buffer(self, ops: Ops, params: Views, grads: Views) -> None:
        if self._layout is not params.layout:
            self._layout, self.t = params.layout, 0
            size, dtype = params.buffer.shape[0], dtype_name(params.buffer)
            self._buffers = {slot: Views(ops, params.layout, ops.allocate(size, dtype)) for slot in self.slots}
            self.state = {slot: dict(views) for slot, views in self._buffers.items()}
        state = [self._buffers[slot].buffer for slot in self.slots]
        hyper = self._native_hyper(ops, params.buffer)
        ops.update_(self.formula(), hyper, params.buffer, grads.buffer, *state, decay=params.layout.decay)

    def _update_array(self, ops: Ops, name: str, param: Array, grad: Array) -> None:
        state = []
        for slot in self.slots:
            arrays = self.state.setdefault(slot, {})
            if name not in arrays or arrays[name].shape != param.shape:
                arrays[name] = ops.xp.zeros_like(param)
            state.append(arrays[name])
        # A plain mapping does not say which parameters are weights; take those of two dimensions or more.
        decay = math.prod(param.shape) if self.decoupled and param.ndim > 1 else 0
        ops.update_(self.formula(), self._native_hyper(ops, param), param, grad, *state, decay=decay)

    def _native_hyper(self, ops: Ops, param: Array) -> Array:
        return ops.to_device(np.array(self.hyper(self.t, self.decay(0.0)), dtype_name(param)))

    def config(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the optimizer: the name of its class, `lr` and its `settings`."""
        values = {name: getattr(self, name) for name in self.settings}
        return {"optimizer": type(self).__name__, "lr": schedules.to_config(self._schedule), **values}

    def __repr__(self) -> str:
        values = {"lr": self.lr, **{name: getattr(self, name) for name in self.settings}}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in values.items())})"


class OwnOptimizer(Optimizer):
    """Wraps an object with an optimizer's `update(params, grads)` and no rule.

    `Trainer` calls `update` after each gradient, unfused; weight decay and clipping are in the gradients by then. The
    learning rate that is shown is the object's `lr`, if it has one.
    """

    def __init__(self, own: Any) -> None:
        self.own = own
        super().__init__(0.0)

    def rate(self, step: int) -> float:
        lr = self.own.rate(step) if isinstance(self.own, Optimizer) else getattr(self.own, "lr", math.nan)
        return float(lr) if isinstance(lr, int | float | np.number) else math.nan

    def coefficients(self, step: int) -> tuple[float, ...]:
        return ()

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        self.own.update(params, grads)

    def config(self) -> dict[str, Any]:
        return {"optimizer": type(self.own).__name__, "own": True}

    def __repr__(self) -> str:
        kind: Any = type(self.own)
        return f"{kind.__name__}(...)" if kind.__repr__ is object.__repr__ else repr(self.own)


def as_optimizer(optimizer: Any) -> Any:
    """Wrap an object with `update(params, grads)` and no rule in an `OwnOptimizer`; return anything else unchanged."""
    update = getattr(type(optimizer), "update", None)
    inherited = isinstance(optimizer, OwnOptimizer) or update is Optimizer.update
    if update is None or inherited or hasattr(optimizer, "rule") or type(optimizer).__module__ == "builtins":
        return optimizer
    return OwnOptimizer(optimizer)


@cache
def _formula(cls: type[Optimizer]) -> Formula:
    if not hasattr(cls, "rule"):
        raise InputTypeError(f"{cls.__name__} must define rule(p, g, *state, *coefficients), a static method.")
    names = list(inspect.signature(cls.rule).parameters)[2 + len(cls.slots) :]

    def whole(p: Value, g: Value, *others: Value) -> Any:
        *others, weight_decay, grad_scale = others  # type: ignore[assignment]
        # By `where`: without weight decay an infinite parameter must not become NaN, as 0 * infinity is.
        decay, g = where(weight_decay > 0, weight_decay * p, 0.0), g * grad_scale
        return cls.rule(p - decay, g, *others) if cls.decoupled else cls.rule(p, g + decay, *others)

    outputs = ("p", *cls.slots)
    return Formula(cls.__name__.lower(), whole, ("p", "g", *cls.slots), outputs, (*names, "weight_decay", "grad_scale"))


@cache
def _numbers(cls: type[Optimizer]) -> tuple[str, ...]:
    """List the numbers that the rule takes after the state; every step asks."""
    return cls.formula().scalars[:-2]


def _check_update(ops: Ops, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
    for what, value in (("params", params), ("grads", grads)):
        if not isinstance(value, Mapping):
            raise InputTypeError(f"{what}: got {value!r}, expected a dictionary of arrays.")
    for name, param in params.items():
        check_native(ops, f"params[{name!r}]", param)
        if name not in grads:
            raise InputError(
                f"grads: there is no gradient for the parameter {name!r}; got {', '.join(map(str, grads)) or 'none'}."
            )
        check_native(ops, f"grads[{name!r}]", grads[name])
        if param.shape != grads[name].shape or param.dtype != grads[name].dtype:
            raise InputError(
                f"grads[{name!r}]: got shape {tuple(grads[name].shape)} {grads[name].dtype}, "
                f"expected the parameter's {tuple(param.shape)} {param.dtype}."
            )
        if isinstance(param, np.ndarray) and not param.flags.writeable:
            raise InputError(f"params[{name!r}]: is read-only, expected an array that can be updated in place.")
        if dtype_name(param) not in FLOATS:
            raise InputError(
                f"params[{name!r}]: got dtype {param.dtype}, expected float32 or float64: "
                "an update in place would be rounded."
            )


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr * g (Robbins & Monro 1951).

    Args:
        lr: see `Optimizer`.
    """

    def __init__(self, lr: "float | Schedule" = 0.01) -> None:
        super().__init__(lr)

    @staticmethod
    def rule(p: Number, g: Number, lr: Number) -> Number:
        return p - lr * g


class Momentum(Optimizer):
    """v = momentum * v - lr * g; p += v (Polyak 1964).

    Args:
        lr: see `Optimizer`.
        momentum: in [0, 1).
    """

    slots = ("v",)
    settings = ("momentum",)

    def __init__(self, lr: "float | Schedule" = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr)
        self.momentum = check_number("momentum", momentum, 0, 1)

    @staticmethod
    def rule(p: Number, g: Number, v: Number, lr: Number, momentum: Number) -> tuple[Number, ...]:
        v = momentum * v - lr * g
        return p + v, v


class Nesterov(Momentum):
    """v = momentum * v - lr * g; p += momentum * v - lr * g (Nesterov 1983, in the form of Bengio et al. 2013).

    Args:
        lr: see `Optimizer`.
        momentum: in [0, 1).
    """

    @staticmethod
    def rule(p: Number, g: Number, v: Number, lr: Number, momentum: Number) -> tuple[Number, ...]:
        step = lr * g
        v = momentum * v - step
        return p + momentum * v - step, v


class AdaGrad(Optimizer):
    """h += g**2; p -= lr * g / (sqrt(h) + eps) (Duchi et al. 2011).

    Args:
        lr: see `Optimizer`.
        eps: above 0.
    """

    slots = ("h",)
    settings = ("eps",)

    def __init__(self, lr: "float | Schedule" = 0.01, eps: float = 1e-7) -> None:
        super().__init__(lr)
        self.eps = check_number("eps", eps, 0, above=True)

    @staticmethod
    def rule(p: Number, g: Number, h: Number, lr: Number, eps: Number) -> tuple[Number, ...]:
        h = h + g * g
        return p - lr * (g / (sqrt(h) + eps)), h


class RMSprop(Optimizer):
    """h += (1 - decay_rate) * (g**2 - h); p -= lr * g / (sqrt(h) + eps) (Tieleman & Hinton 2012).

    Args:
        lr: see `Optimizer`.
        decay_rate: the weight of the old average of g**2, in [0, 1).
        eps: above 0.
    """

    slots = ("h",)
    settings = ("decay_rate", "eps")

    def __init__(self, lr: "float | Schedule" = 0.01, decay_rate: float = 0.99, eps: float = 1e-7) -> None:
        super().__init__(lr)
        self.decay_rate = check_number("decay_rate", decay_rate, 0, 1)
        self.eps = check_number("eps", eps, 0, above=True)

    @staticmethod
    def rule(p: Number, g: Number, h: Number, lr: Number, eps: Number, share: Number) -> tuple[Number, ...]:
        h = h + share * (g * g - h)
        return p - lr * (g / (sqrt(h) + eps)), h

    def coefficients(self, step: int) -> tuple[float, ...]:
        return (self.rate(step), self.eps, 1.0 - self.decay_rate)


def _moments(g: Number, m: Number, v: Number, share1: Number, share2: Number) -> tuple[Number, Number]:
    """Average the gradient and its square into the old averages."""
    return m + share1 * (g - m), v + share2 * (g * g - v)


class Adam(Optimizer):
    """m += (1 - beta1) * (g - m); v += (1 - beta2) * (g**2 - v); p -= a * m / (b * sqrt(v) + eps) (Kingma & Ba 2015).

    With c1 = 1 - beta1**t and c2 = 1 - beta2**t at the step t, counted from 1, the paper's form is a = lr / c1, b = 1 /
    sqrt(c2).

    Args:
        lr: see `Optimizer`.
        beta1: the weight of the old average of g, in [0, 1).
        beta2: the weight of the old average of g**2, in [0, 1).
        eps: above 0.
    """

    slots = ("m", "v")
    settings: ClassVar[tuple[str, ...]] = ("beta1", "beta2", "eps")

    def __init__(
        self, lr: "float | Schedule" = 0.001, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        super().__init__(lr)
        self.beta1 = check_number("beta1", beta1, 0, 1)
        self.beta2 = check_number("beta2", beta2, 0, 1)
        self.eps = check_number("eps", eps, 0, above=True)

    @staticmethod
    def rule(
        p: Number, g: Number, m: Number, v: Number, a: Number, b: Number, eps: Number, share1: Number, share2: Number
    ) -> tuple[Number, ...]:
        m, v = _moments(g, m, v, share1, share2)
        return p - a * (m / (b * sqrt(v) + eps)), m, v

    def coefficients(self, step: int) -> tuple[float, ...]:
        c1, c2 = 1.0 - self.beta1 ** (step + 1), 1.0 - self.beta2 ** (step + 1)
        return (self.rate(step) / c1, 1.0 / math.sqrt(c2), self.eps, 1.0 - self.beta1, 1.0 - self.beta2)


class AdamW(Adam):
    """Adam with decoupled weight decay, p -= lr * weight_decay * p of weights only (Loshchilov & Hutter 2019).

    Args:
        lr: see `Optimizer`.
        beta1: see `Adam`.
        beta2: see `Adam`.
        eps: see `Adam`.
        weight_decay: at least 0; it is not part of the loss. None: the trainer's, or 0.01 where that is 0.
    """

    settings: ClassVar[tuple[str, ...]] = (*Adam.settings, "weight_decay")
    decoupled = True
    DEFAULT_DECAY: ClassVar[float] = 0.01

    def __init__(
        self,
        lr: "float | Schedule" = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float | None = None,
    ) -> None:
        super().__init__(lr, beta1, beta2, eps)
        self.weight_decay = None if weight_decay is None else check_number("weight_decay", weight_decay, 0)

    def decay(self, given: float) -> float:
        """Return its own weight decay, else the trainer's, else 0.01.

        Raises:
            InputError: both are given and differ.
        """
        if self.weight_decay is None:
            return given if given > 0 else self.DEFAULT_DECAY
        if given > 0 and given != self.weight_decay:
            raise InputError(f"weight_decay: the trainer got {given} and {self!r} another; give it to one of them.")
        return self.weight_decay


class NAdam(Adam):
    """Adam with Nesterov's momentum, of constant beta1: p -= (a * m + c * g) / (b * sqrt(v) + eps) (Dozat 2016).

    m and v are Adam's. With c1 = 1 - beta1**t and c2 = 1 - beta2**t at the step t, counted from 1: a = lr * beta1 / (1
    - beta1**(t + 1)), c = lr * (1 - beta1) / c1, b = 1 / sqrt(c2). The arguments are Adam's.
    """

    @staticmethod
    def rule(  # type: ignore[override]
        p: Number, g: Number, m: Number, v: Number,
        a: Number, c: Number, b: Number, eps: Number, share1: Number, share2: Number,
    ) -> tuple[Number, ...]:  # fmt: skip
        m, v = _moments(g, m, v, share1, share2)
        return p - (a * m + c * g) / (b * sqrt(v) + eps), m, v

    def coefficients(self, step: int) -> tuple[float, ...]:
        _, b, eps, share1, share2 = super().coefficients(step)
        rate, beta1 = self.rate(step), self.beta1
        a, c = rate * beta1 / (1.0 - beta1 ** (step + 2)), rate * share1 / (1.0 - beta1 ** (step + 1))
        return (a, c, b, eps, share1, share2)


class Lion(Optimizer):
    """p -= lr * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - beta2) * g (Chen et al. 2023).

    Weight decay is decoupled, p -= lr * weight_decay * p, and not part of the loss. Learning rates of a third to a
    tenth of Adam's suit it.

    Args:
        lr: see `Optimizer`.
        beta1: the weight of m in the step, in [0, 1).
        beta2: the weight of m in its own average, in [0, 1).
    """

    slots = ("m",)
    settings = ("beta1", "beta2")
    decoupled = True

    def __init__(self, lr: "float | Schedule" = 1e-4, beta1: float = 0.9, beta2: float = 0.99) -> None:
        super().__init__(lr)
        self.beta1 = check_number("beta1", beta1, 0, 1)
        self.beta2 = check_number("beta2", beta2, 0, 1)

    @staticmethod
    def rule(p: Number, g: Number, m: Number, lr: Number, beta1: Number, beta2: Number) -> tuple[Number, ...]:
        return p - lr * sign(g + beta1 * (m - g)), g + beta2 * (m - g)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls for cls in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW, NAdam, Lion)
}


def optimizer(name: str, **settings: Any) -> Optimizer:
    """Make an optimizer by its name.

    Args:
        name: in any case, such as "adam".
        **settings: the arguments of its class.

    Raises:
        InputError: the name is unknown.
    """
    return look_up("optimizer", name, OPTIMIZERS)(**settings)


def from_config(config: dict[str, Any]) -> Optimizer:
    """Make the optimizer that `Optimizer.config` described."""
    settings = dict(config)
    name = settings.pop("optimizer")
    lr = schedules.from_config(settings.pop("lr"))
    return optimizer(name, lr=lr, **settings)
