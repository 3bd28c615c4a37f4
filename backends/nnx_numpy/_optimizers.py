"""Optimizer updates in place, block by block: every block of all buffers stays in the second-level cache meanwhile."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 32768  # elements; of 4096 to 65536 this and the next were the fastest for Adam on 1.8 million parameters


def _update(
    rule: Callable[..., None],
    buffers: tuple[Array, ...],
    hyper: Array,
    decay: int,
    guard: Array | None,
    *,
    decoupled: bool = False,
) -> Any:
    """rule(p, gradient, *state, hyper, scratch) on every block; a decoupled decay shrinks p before, instead of being
    added to the gradient. Declines arrays that are not C-contiguous: a reshape would copy them."""
    if not all(b.flags.c_contiguous for b in buffers):
        return NotImplemented
    if guard is not None and not np.isfinite(guard):
        return None
    flat = [b.reshape(-1) for b in buffers] if buffers[0].ndim != 1 else buffers
    size = flat[0].size
    grad, scratch = (np.empty(min(size, _BLOCK), flat[0].dtype) for _ in range(2))
    for start, stop, decayed in ((0, decay, hyper[-2] != 0), (decay, size, False)):
        for low in range(start, stop, _BLOCK):
            part = slice(low, min(low + _BLOCK, stop))
            p, g, *state = (b[part] for b in flat)
            s = scratch[: p.size]
            if decayed and decoupled:
                np.subtract(p, np.multiply(p, hyper[-2], out=s), out=p)
            rule(p, _gradient(g, p, hyper, decayed and not decoupled, grad), *state, hyper, s)
    return None


def _gradient(g: Array, p: Array, hyper: Array, decayed: bool, out: Array) -> Array:
    """g * grad_scale, plus weight_decay * p, in the scratch block `out` (or g itself where it is just that)."""
    if not decayed:
        return g if hyper[-1] == 1 else np.multiply(g, hyper[-1], out=out[: g.size])
    out = np.multiply(p, hyper[-2], out=out[: g.size])
    return np.add(out, g if hyper[-1] == 1 else g * hyper[-1], out=out)


def _sgd(p: Array, g: Array, hyper: Array, s: Array) -> None:
    np.subtract(p, np.multiply(g, hyper[0], out=s), out=p)


def _momentum(p: Array, g: Array, v: Array, hyper: Array, s: Array) -> None:
    np.multiply(v, hyper[1], out=v)
    np.subtract(v, np.multiply(g, hyper[0], out=s), out=v)
    np.add(p, v, out=p)


def _nesterov(p: Array, g: Array, v: Array, hyper: Array, s: Array) -> None:
    np.multiply(g, hyper[0], out=s)
    np.multiply(v, hyper[1], out=v)
    np.subtract(v, s, out=v)
    np.subtract(p, s, out=p)
    np.add(p, np.multiply(v, hyper[1], out=s), out=p)


def _adagrad(p: Array, g: Array, h: Array, hyper: Array, s: Array) -> None:
    np.add(h, np.multiply(g, g, out=s), out=h)
    _descend(p, g, h, hyper, s)


def _rmsprop(p: Array, g: Array, h: Array, hyper: Array, s: Array) -> None:
    _approach(h, np.multiply(g, g, out=s), hyper[2], s)
    _descend(p, g, h, hyper, s)


def _adam(p: Array, g: Array, m: Array, v: Array, hyper: Array, s: Array) -> None:
    _approach(m, g, hyper[3], s)
    _approach(v, np.multiply(g, g, out=s), hyper[4], s)
    np.sqrt(v, out=s)
    np.multiply(s, hyper[1], out=s)
    np.add(s, hyper[2], out=s)
    np.divide(m, s, out=s)
    np.multiply(s, hyper[0], out=s)
    np.subtract(p, s, out=p)


def _approach(mean: Array, value: Array, rate: Array, s: Array) -> None:
    """mean += rate * (value - mean)."""
    np.subtract(value, mean, out=s)
    np.multiply(s, rate, out=s)
    np.add(mean, s, out=mean)


def _descend(p: Array, g: Array, h: Array, hyper: Array, s: Array) -> None:
    """p -= rate * g / (sqrt(h) + eps)."""
    np.sqrt(h, out=s)
    np.add(s, hyper[1], out=s)
    np.divide(g, s, out=s)
    np.multiply(s, hyper[0], out=s)
    np.subtract(p, s, out=p)


class OptimizerOps:
    """The updates of the flat buffers."""

    def sgd_(self, p: Array, g: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None) -> Any:
        return _update(_sgd, (p, g), hyper, decay, guard)

    def momentum_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return _update(_momentum, (p, g, v), hyper, decay, guard)

    def nesterov_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return _update(_nesterov, (p, g, v), hyper, decay, guard)

    def adagrad_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return _update(_adagrad, (p, g, h), hyper, decay, guard)

    def rmsprop_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return _update(_rmsprop, (p, g, h), hyper, decay, guard)

    def adam_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return _update(_adam, (p, g, m, v), hyper, decay, guard)

    def adamw_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return _update(_adam, (p, g, m, v), hyper, decay, guard, decoupled=True)
