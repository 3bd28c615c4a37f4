"""The book's `common.optimizer`: each update of a large array is one operation.

What is small, and what is no array of floats, is updated by NumPy as the book does it, to its dtypes and errors.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import optimizers
from ..backend import active_ops
from ..ops import Array, dtype_name
from . import _arrays
from ._arrays import is_plain, is_worth_it, native

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

    def _least(self) -> int:
        """Return how many numbers of an array are worth a call of the backend."""
        return _arrays.LEAST

    def update(self, params: MutableMapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Make one step, in place. Numbers in `params`, which cannot be changed in place, are replaced.

        Raises:
            TypeError: NumPy's, of an array of whole numbers, which cannot hold the result.
        """
        for slot in self.slots:
            if getattr(self, slot) is None:
                setattr(self, slot, {key: _zeros(value) for key, value in params.items()})
        states = [getattr(self, slot) for slot in self.slots]
        coefficients, hypers = self._coefficients(), dict[Any, Array]()
        for key in params:
            given = (params[key], grads[key], *(state[key] for state in states))
            if all(is_worth_it(array, self._least()) for array in given) and _alike(given):
                self._on_the_backend(coefficients, hypers, given)
            else:
                params[key] = self._by_numpy(key, params[key], grads[key])

    def _on_the_backend(
        self, coefficients: tuple[float, ...], hypers: dict[Any, Array], given: Sequence[Array]
    ) -> None:
        ops, dtype = active_ops(), given[0].dtype
        if dtype not in hypers:
            hypers[dtype] = ops.to_device(np.array([*coefficients, 0.0, 1.0], dtype_name(given[0])))
        own = [native(ops, array) for array in given]
        ops.update_(self.kind.formula(), hypers[dtype], *own)
        if not isinstance(given[0], ops.array_type):
            for target, value in zip((given[0], *given[2:]), (own[0], *own[2:]), strict=True):
                target[...] = ops.to_host(value)

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        """Return the parameter after the step, changed in place if it is an array; the state is changed, too."""
        raise NotImplementedError


def _zeros(param: Array) -> Array:
    return np.zeros_like(param) if is_plain(param) else active_ops().xp.zeros_like(param)


def _alike(arrays: Sequence[Array]) -> bool:
    first = arrays[0]
    return all(type(a) is type(first) and a.dtype == first.dtype and a.shape == first.shape for a in arrays)


class SGD(_Optimizer):
    """p -= lr * g."""

    kind = optimizers.SGD

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _least(self) -> int:
        return _arrays.LEAST_OF_AN_SGD

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        p -= self.lr * g
        return p


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

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        self.v[key] = self.momentum * self.v[key] - self.lr * g
        p += self.v[key]
        return p


class Nesterov(Momentum):
    """v = momentum * v - lr * g; p += momentum * v - lr * g (Bengio, Boulanger-Lewandowski & Pascanu 2013)."""

    kind = optimizers.Nesterov

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        v = self.v[key]
        p += self.momentum * self.momentum * v
        p -= (1 + self.momentum) * self.lr * g
        v *= self.momentum
        v -= self.lr * g
        self.v[key] = v
        return p


class AdaGrad(_Optimizer):
    """h += g**2; p -= lr * g / (sqrt(h) + 1e-7) (Duchi et al. 2011)."""

    kind = optimizers.AdaGrad
    slots = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _coefficients(self) -> tuple[float, ...]:
        return (self.lr, 1e-7)

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        self.h[key] += g * g
        p -= self.lr * g / (np.sqrt(self.h[key]) + 1e-7)
        return p


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

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        self.h[key] *= self.decay_rate
        self.h[key] += (1 - self.decay_rate) * g * g
        p -= self.lr * g / (np.sqrt(self.h[key]) + 1e-7)
        return p


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

    def _by_numpy(self, key: str, p: Any, g: Any) -> Any:
        m, v = self.m[key], self.v[key]
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g**2 - v)
        self.m[key], self.v[key] = m, v
        p -= self._coefficients()[0] * m / (np.sqrt(v) + 1e-7)
        return p
