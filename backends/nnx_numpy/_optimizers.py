"""Updates in place."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ._formula import Formula, Program, program, run_blocks

Array = np.ndarray[Any, Any]
_SIMPLIFIED = ("weight_decay", "grad_scale")
"""Scalars of an optimizer for whose 0 and 1 there are programs of their own."""


class OptimizerOps:
    """The updates of the flat buffers."""

    def update_(
        self, formula: Formula, hyper: Array, *arrays: Array, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if not all(a.flags.c_contiguous for a in arrays):
            return NotImplemented
        if guard is not None and not np.isfinite(guard):
            return None
        scalars = tuple(hyper.tolist())
        flat = [a.reshape(-1) for a in arrays] if arrays[0].ndim != 1 else list(arrays)
        size, weight_decay = flat[0].size, _weight_decay(formula)
        if weight_decay is None or scalars[weight_decay] == 0:
            decay = 0
        for low, high in ((0, decay), (decay, size)):
            if low < high:
                parts = flat if high - low == size else [a[low:high] for a in flat]
                if low == decay and weight_decay is not None:
                    scalars = (*scalars[:weight_decay], 0.0, *scalars[weight_decay + 1 :])
                # Where weight decay and gradient scale are 0 or 1, the formula is simplified.
                update = _update(formula, tuple([s if s in (0.0, 1.0) else None for s in scalars[-2:]]))
                run_blocks(
                    update.program,
                    [parts[i] for i in update.program.inputs],
                    [scalars[i] for i in update.scalars],
                    parts[0],
                )
        return None


class _Update(NamedTuple):
    program: Program
    scalars: list[int]
    """Which of the scalars it takes."""


@cache
def _weight_decay(formula: Formula) -> int | None:
    return formula.scalars.index("weight_decay") if "weight_decay" in formula.scalars else None


@cache
def _update(formula: Formula, last: tuple[float | None, ...]) -> _Update:
    """Make the update for weight decay and gradient scale, the last two scalars, where these are 0 or 1."""
    known = {s: v for s, v in zip(formula.scalars[-2:], last, strict=True) if v is not None and s in _SIMPLIFIED}
    fixed = formula.fix(**known)
    return _Update(
        program(fixed, frozenset((name, name) for name in formula.outputs)),
        [formula.scalars.index(s) for s in fixed.scalars],
    )
