"""Optimizers: one pass over the flat buffers, one launch each."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher, size, takes


class OptimizerOps(Launcher):
    def sgd_(self, p: Array, g: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None) -> Any:
        return self._optimize("sgd", (p, g), hyper, guard, size(decay))

    def momentum_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return self._optimize("momentum", (p, g, v), hyper, guard, size(decay))

    def nesterov_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return self._optimize("nesterov", (p, g, v), hyper, guard, size(decay))

    def adagrad_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return self._optimize("adagrad", (p, g, h), hyper, guard, size(decay))

    def rmsprop_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return self._optimize("rmsprop", (p, g, h), hyper, guard, size(decay))

    def adam_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return self._optimize("adam", (p, g, m, v), hyper, guard, size(decay))

    def adamw_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> Any:
        return self._optimize("adamw", (p, g, m, v), hyper, guard, size(decay))

    def running_average_(self, running: Array, batch: Array, hyper: Array, *, guard: Array | None = None) -> Any:
        return self._optimize("running_average", (running, batch), hyper, guard)

    def _optimize(
        self, name: str, buffers: tuple[Array, ...], hyper: Array, guard: Array | None, *decay: np.int64
    ) -> Any:
        if not takes(*buffers, hyper, guard):
            return NotImplemented
        p = buffers[0]
        self.kernel("optimizer.cu", name, p)(self.packs(p), (BLOCK,), (*buffers, hyper, guard, size(p.size), *decay))
        return None

    def clip_(self, hyper: Array, norm: Array, limit: Array) -> Any:
        if not takes(hyper, norm, limit):
            return NotImplemented
        self.kernel("optimizer.cu", "clip", hyper)((1,), (1,), (hyper, norm, limit, np.int32(hyper.size)))
        return None
