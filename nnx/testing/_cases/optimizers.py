"""Updates of whole parameter buffers."""

from collections.abc import Sequence

import numpy as np

from .._case import EXACT, Case, Inputs, Maker, cases

_MANY, _MANY_DECAYED = 70001, 40003  # several of the blocks that an implementation might do at a time


def _clip(norm: float) -> Maker:
    hyper = np.array([0.1, 0.9, 0.2, 0.5])
    return lambda r: {"hyper": hyper, "norm": np.array(norm), "limit": np.array(1.5)}


def _optimizer(
    op: str, coefficients: list[float], signed: Sequence[str] = (), positive: Sequence[str] = ()
) -> list[Case]:
    """coefficients: what precedes weight decay and gradient scale in `hyper`. signed, positive: the state arrays."""

    def make(
        *shape: int,
        decay: int | None = None,
        weight_decay: float = 0.2,
        grad_scale: float = 0.5,
        guard: float | None = None,
        spread: float = 1.0,
    ) -> Maker:
        def inputs(r: np.random.Generator) -> Inputs:
            call: Inputs = {name: r.normal(0, spread, shape) for name in ("p", "g", *signed)}
            call |= {name: abs(r.normal(0, spread, shape)) for name in positive}
            call["hyper"] = np.array([*coefficients, weight_decay, grad_scale])
            if decay is not None:
                call["decay"] = decay
            if guard is not None:
                call["guard"] = np.array(guard)
            return call

        return inputs

    return [
        *cases(
            op,
            {
                "one-element": make(1, decay=1),
                "some-decay": make(37, decay=13),
                "no-decay": make(37, decay=0),
                "all-decay": make(37, decay=37),
                "unscaled": make(37, decay=13, grad_scale=1.0),
                "unscaled-undecayed": make(37, decay=13, weight_decay=0.0, grad_scale=1.0),
                "matrix": make(5, 7, decay=35),
                "matrix-by-default": make(5, 7),
                "finite-guard": make(37, decay=13, guard=-2.5),
                "blocks": make(_MANY, decay=_MANY_DECAYED),
                "whole-blocks": make(65536, decay=32768),
            },
            nan="g",
        ),
        *cases(
            op,
            {
                "nan-guard": make(37, decay=13, guard=np.nan),
                "infinite-guard": make(37, decay=13, guard=np.inf),
                "padding": make(37, decay=13, spread=0.0),
            },
            EXACT,
        ),
    ]


CASES = [
    *cases("clip_", {"above": _clip(7.0), "below": _clip(2.0), "zero": _clip(0.0)}),
    *_optimizer("sgd_", [0.1]),
    *_optimizer("momentum_", [0.1, 0.9], signed=["v"]),
    *_optimizer("nesterov_", [0.1, 0.9], signed=["v"]),
    *_optimizer("adagrad_", [0.1, 0.01], positive=["h"]),
    *_optimizer("rmsprop_", [0.1, 0.01, 0.3], positive=["h"]),
    *_optimizer("adam_", [0.1, 0.9, 0.01, 0.1, 0.3], signed=["m"], positive=["v"]),
    *_optimizer("adamw_", [0.1, 0.9, 0.01, 0.1, 0.3], signed=["m"], positive=["v"]),
]
