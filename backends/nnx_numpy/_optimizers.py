"""Optimizer updates in place, block by block: every block of all buffers stays in the second-level cache meanwhile."""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_BLOCK = 32768  # elements; of 4096 to 65536 this and the next were the fastest for Adam on 1.8 million parameters


def _skips(guard: Array | None) -> bool:
    return guard is not None and not np.isfinite(guard)


def _blocks(decay: int, *buffers: Array) -> Iterator[tuple[bool, list[Array]]]:
    """Whether it is under weight decay, and the same slice of every buffer, for each block."""
    if len(buffers[0].shape) != 1:
        buffers = tuple(b.reshape(-1) for b in buffers)
    size = buffers[0].size
    for start, stop, decayed in ((0, decay, True), (decay, size, False)):
        for low in range(start, stop, _BLOCK):
            part = slice(low, min(low + _BLOCK, stop))
            yield decayed, [b[part] for b in buffers]


def _scratch(p: Array) -> Array:
    return np.empty(min(p.size, _BLOCK), p.dtype)


def _gradient(g: Array, p: Array, hyper: Array, decayed: bool, out: Array) -> Array:
    """g * grad_scale, plus weight_decay * p, in the scratch block `out` (or g itself where it is just that)."""
    decayed = decayed and hyper[-2] != 0
    if not decayed:
        return g if hyper[-1] == 1 else np.multiply(g, hyper[-1], out=out[: g.size])
    out = np.multiply(p, hyper[-2], out=out[: g.size])
    return np.add(out, g if hyper[-1] == 1 else g * hyper[-1], out=out)


class OptimizerOps:
    """In-place updates; arrays that are not C-contiguous (a reshape would copy them) are declined."""

    def sgd_(self, p: Array, g: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None) -> Any:
        if not _contiguous(p, g):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb) in _blocks(decay, p, g):
            s = np.multiply(_gradient(gb, pb, hyper, decayed, grad), hyper[0], out=step[: pb.size])
            np.subtract(pb, s, out=pb)
        return None

    def momentum_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not _contiguous(p, g, v):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb, vb) in _blocks(decay, p, g, v):
            s = np.multiply(_gradient(gb, pb, hyper, decayed, grad), hyper[0], out=step[: pb.size])
            np.multiply(vb, hyper[1], out=vb)
            np.subtract(vb, s, out=vb)
            np.add(pb, vb, out=pb)
        return None

    def nesterov_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not _contiguous(p, g, v):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb, vb) in _blocks(decay, p, g, v):
            s = np.multiply(_gradient(gb, pb, hyper, decayed, grad), hyper[0], out=step[: pb.size])
            np.multiply(vb, hyper[1], out=vb)
            np.subtract(vb, s, out=vb)
            np.subtract(pb, s, out=pb)
            np.add(pb, np.multiply(vb, hyper[1], out=s), out=pb)
        return None

    def adagrad_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not _contiguous(p, g, h):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb, hb) in _blocks(decay, p, g, h):
            full = _gradient(gb, pb, hyper, decayed, grad)
            s = np.multiply(full, full, out=step[: pb.size])
            np.add(hb, s, out=hb)
            _descend(pb, full, hb, hyper[0], hyper[1], s)
        return None

    def rmsprop_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not _contiguous(p, g, h):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb, hb) in _blocks(decay, p, g, h):
            full = _gradient(gb, pb, hyper, decayed, grad)
            s = np.multiply(full, full, out=step[: pb.size])
            _approach(hb, s, hyper[2], s)
            _descend(pb, full, hb, hyper[0], hyper[1], s)
        return None

    def adam_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not _contiguous(p, g, m, v):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb, mb, vb) in _blocks(decay, p, g, m, v):
            _adam(pb, _gradient(gb, pb, hyper, decayed, grad), mb, vb, hyper, step[: pb.size])
        return None

    def adamw_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not _contiguous(p, g, m, v):
            return NotImplemented
        if _skips(guard):
            return None
        grad, step = _scratch(p), _scratch(p)
        for decayed, (pb, gb, mb, vb) in _blocks(decay, p, g, m, v):
            s = step[: pb.size]
            if decayed:
                np.subtract(pb, np.multiply(pb, hyper[-2], out=s), out=pb)
            _adam(pb, _gradient(gb, pb, hyper, False, grad), mb, vb, hyper, s)
        return None


def _contiguous(*arrays: Array) -> bool:
    return all(a.flags.c_contiguous for a in arrays)


def _approach(mean: Array, value: Array, rate: Array, scratch: Array) -> None:
    """mean += rate * (value - mean)."""
    np.subtract(value, mean, out=scratch)
    np.multiply(scratch, rate, out=scratch)
    np.add(mean, scratch, out=mean)


def _descend(p: Array, g: Array, h: Array, rate: Array, eps: Array, scratch: Array) -> None:
    """p -= rate * g / (sqrt(h) + eps)."""
    np.sqrt(h, out=scratch)
    np.add(scratch, eps, out=scratch)
    np.divide(g, scratch, out=scratch)
    np.multiply(scratch, rate, out=scratch)
    np.subtract(p, scratch, out=p)


def _adam(p: Array, g: Array, m: Array, v: Array, hyper: Array, s: Array) -> None:
    _approach(m, g, hyper[3], s)
    np.multiply(g, g, out=s)
    _approach(v, s, hyper[4], s)
    np.sqrt(v, out=s)
    np.multiply(s, hyper[1], out=s)
    np.add(s, hyper[2], out=s)
    np.divide(m, s, out=s)
    np.multiply(s, hyper[0], out=s)
    np.subtract(p, s, out=p)
