"""The book's `common.optimizer`: each update of an array is one operation."""

from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar

import numpy as np

from .. import optimizers
from ..backend import active_ops
from ..ops import FLOATS, Array, Ops, dtype_name
from ._arrays import like, native

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]


class _Optimizer:
    """Base of the optimizers: applies the rule of `kind` to every parameter, its gradient and its state in `slots`."""

    kind: ClassVar[type[optimizers.Optimizer]]
    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, lr: float) -> None:
        self.lr = lr
        for slot in self.slots:
            setattr(self, slot, None)

    def _coefficients(self) -> tuple[float, ...]:
        return (self.lr,)

    def update(self, params: MutableMapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Make one step, in place. Numbers in `params`, which cannot be changed in place, are replaced."""
        ops = active_ops()
        for slot in self.slots:
            if getattr(self, slot) is None:
                setattr(self, slot, {key: _zeros(ops, value) for key, value in params.items()})
        hyper = np.array([*self._coefficients(), 0.0, 1.0])
        hypers: dict[Any, Array] = {}
        for key, param in params.items():
            dtype = getattr(param, "dtype", None)
            if dtype not in hypers:
                hypers[dtype] = ops.to_device(hyper.astype(name) if (name := dtype_name(param)) in FLOATS else hyper)
            params[key] = self._update_one(ops, key, param, grads[key], hypers[dtype])

    def _update_one(self, ops: Ops, key: str, param: Array, grad: Array, hyper: Array) -> Array:
        states = [getattr(self, slot) for slot in self.slots]
        given = (param, grad, *(state[key] for state in states))
        if all(isinstance(a, ops.array_type) and a.dtype == param.dtype and a.shape == param.shape for a in given) and (
            param.dtype == hyper.dtype and param.ndim
        ):
            ops.update_(self.kind.formula(), hyper, *given)
            return param
        # A number, a 0-d array, NumPy's arrays on another backend, mixed dtypes: computed on copies in float64.
        own = [ops.xp.astype(native(ops, a), ops.xp.float64, copy=True) for a in given]
        own[1] = own[1] + ops.xp.zeros_like(own[0])
        ops.update_(self.kind.formula(), ops.xp.astype(hyper, ops.xp.float64), *own)
        for state, value in zip(states, own[2:], strict=True):
            state[key] = _put(ops, state[key], value)
        return _put(ops, param, own[0])


def _zeros(ops: Ops, param: Array) -> Array:
    return ops.xp.zeros_like(param) if isinstance(param, ops.array_type) else np.zeros_like(param)


def _put(ops: Ops, target: Array, value: Array) -> Array:
    """Write the value into the target, or, where the target is a number, return a new number in its place."""
    if getattr(target, "ndim", 0) == 0:
        return ops.to_host(value)[()]
    target[...] = like(ops, value, target)
    return target


class SGD(_Optimizer):
    """p -= lr * g."""

    kind = optimizers.SGD

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)


class Momentum(_Optimizer):
    """v = momentum * v - lr * g; p += v (Polyak 1964)."""

    kind = optimizers.Momentum
    slots = ("v",)
    v: Any

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr)
        self.momentum = momentum

    def _coefficients(self) -> tuple[float, ...]:
        return (self.lr, self.momentum)


class Nesterov(Momentum):
    """v = momentum * v - lr * g; p += momentum * v - lr * g (Bengio, Boulanger-Lewandowski & Pascanu 2013)."""

    kind = optimizers.Nesterov


class AdaGrad(_Optimizer):
    """h += g**2; p -= lr * g / (sqrt(h) + 1e-7) (Duchi et al. 2011)."""

    kind = optimizers.AdaGrad
    slots = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _coefficients(self) -> tuple[float, ...]:
        return (self.lr, 1e-7)


class RMSprop(_Optimizer):
    """h += (1 - decay_rate) * (g**2 - h); p -= lr * g / (sqrt(h) + 1e-7) (Tieleman & Hinton 2012)."""

    kind = optimizers.RMSprop
    slots = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        self.decay_rate = decay_rate

    def _coefficients(self) -> tuple[float, ...]:
        return (self.lr, 1e-7, 1 - self.decay_rate)


class Adam(_Optimizer):
    """Adam (Kingma & Ba 2015) in the form at the end of the paper's section 2.

    m += (1 - beta1) * (g - m); v += (1 - beta2) * (g**2 - v); p -= a * m / (sqrt(v) + 1e-7) with a = lr * sqrt(1 -
    beta2**iter) / (1 - beta1**iter).
    """

    kind = optimizers.Adam
    slots = ("m", "v")
    m: Any
    v: Any

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr)
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0

    def _coefficients(self) -> tuple[float, ...]:
        rate = self.lr * (1.0 - self.beta2**self.iter) ** 0.5 / (1.0 - self.beta1**self.iter)
        return (rate, 1.0, 1e-7, 1 - self.beta1, 1 - self.beta2)

    def update(self, params: MutableMapping[str, Array], grads: Mapping[str, Array]) -> None:
        self.iter += 1
        super().update(params, grads)
