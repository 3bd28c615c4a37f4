"""Optimizers: one pass over the flat buffers, one launch each."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Formula, Launcher, size, takes


class OptimizerOps(Launcher):
    def update_(
        self, formula: Formula, hyper: Array, *arrays: Array, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not takes(*arrays, hyper, guard) or len(formula.outputs) != len(arrays) - 1:
            return NotImplemented
        p = arrays[0]
        self.kernel("optimizer.cu", f"update_{formula.name}", p, formula)(
            self.packs(p), (BLOCK,), (*arrays, hyper, guard, size(p.size), size(decay))
        )
        return None

    def clip_(self, hyper: Array, norm: Array, limit: Array) -> Any:
        if not takes(hyper, norm, limit):
            return NotImplemented
        self.kernel("scaling.cu", "clip", hyper)((1,), (1,), (hyper, norm, limit, np.int32(hyper.size)))
        return None
