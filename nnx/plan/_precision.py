"""Mixed precision: products of numbers rounded to 16 bits, everything else in float32 (Micikevicius et al. 2018).

The parameters stay float32, in the arena. A step rounds all of them once, each input of an `Affine` once, and the
gradient of each one's output once. Gradients below 6e-8, float16's least number, would be lost: there the loss's
gradient is multiplied by a factor that adapts itself. bfloat16 has the range of float32 and needs none.
"""

from typing import TYPE_CHECKING

import numpy as np

from .._support.arena import Views
from ..errors import InputError, unknown
from ..formula import Formula
from ..layers import Layer
from ..ops import Array

if TYPE_CHECKING:
    from ._plan import Plan, Program

PRECISIONS = ("float32", "bfloat16", "float16")


def check_precision(precision: str, dtype: str) -> None:
    """Raise unless a model of that dtype can be trained in that precision.

    Args:
        precision: "float32", "bfloat16" or "float16".
        dtype: the model's; it must be "float32" for the other two.

    Raises:
        InputError: otherwise.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision != "float32" and dtype != "float32":
        raise InputError(f"precision: got {precision!r} for a model of {dtype}; give the model dtype='float32'.")


class NarrowParameters:
    """The rounded copy of a plan's parameters."""

    def __init__(self, plan: "Plan", precision: str) -> None:
        self._ops, self._precision, self._source = plan.ops, precision, plan.arena.params
        self._copy = Views(plan.ops, plan.arena.layout, plan.ops.narrow(self._source.buffer, precision))

    def refresh(self) -> None:
        """Round the parameters as they are now."""
        self._ops.narrow(self._source.buffer, self._precision, out=self._copy.buffer)

    def weights(self, layer: Layer) -> Array:
        """Return the copy of a layer's W."""
        return next(self._copy[name] for name, view in self._source.items() if view is layer.params["W"])


class NarrowProducts:
    """The matrix products of one stage in 16 bits, in place of the bound operations of the same names."""

    def __init__(self, program: "Program", precision: str, weights: Array) -> None:
        self._ops, self._precision, self._w = program.ops, precision, weights
        inputs, outputs = weights.shape
        self._x, self._dy = program.rows((inputs,), precision), program.rows((outputs,), precision)

    def affine(
        self, x: Array, w: Array, b: Array | None = None, *, activation: Formula | None = None, out: Array
    ) -> Array:
        x = self._ops.narrow(x, self._precision, out=self._x)
        return self._ops.affine(x, self._w, b, activation=activation, out=out)

    def affine_backward(
        self, dy: Array, x: Array, w: Array, *, dx: Array | None, dw: Array, db: Array | None = None
    ) -> None:
        if db is not None:  # from the gradient before it is rounded
            self._ops.affine_backward(dy, x, w, db=db)
        dy = self._ops.narrow(dy, self._precision, out=self._dy)
        self._ops.affine_backward(dy, self._x, self._w, dx=dx, dw=dw)


class LossScaling:
    """The factor on the loss's gradient; a step whose gradients are not finite halves it and changes no parameter.

    Its `state` on the device is `[scale, finite steps in succession, steps until it is doubled]`.
    """

    START, INTERVAL = 2.0**16, 2000.0

    def __init__(self, plan: "Plan") -> None:
        self._ops = plan.ops
        self.state = plan.ops.to_device(np.array([self.START, 0.0, self.INTERVAL], plan.arena.dtype))

    def scale(self, *gradients: Array | None) -> None:
        """Multiply the loss's gradients by the factor."""
        for gradient in gradients:
            if gradient is not None:
                self._ops.rescale_(gradient, self.state)

    def unscale(self, hyper: Array, norm: Array) -> None:
        """Make the optimizer divide by the factor; then adapt the factor to the norm of the gradients."""
        self._ops.unscale_(hyper, norm, self.state)
