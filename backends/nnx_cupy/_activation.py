"""Activations by formulas, and their backwards with the bias gradient of the layer below."""

from typing import Any

from ._bias import BiasOps
from ._launch import BLOCK, Array, Formula, size, takes


class ActivationOps(BiasOps):
    def activation(self, formula: Formula, x: Array, *, out: Array | None = None) -> Any:
        if not takes(x, out) or not formula.uses("x"):
            return NotImplemented
        y = self.empty(x.shape, x.dtype) if out is None else out
        kernel = self.kernel("activation.cu", f"activation_{formula.name}", x, formula)
        kernel(self.packs(x), (BLOCK,), (x, y, size(x.size)))
        return y

    def activation_backward(
        self,
        formula: Formula,
        dy: Array,
        x: Array | None,
        y: Array,
        *,
        out: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        inputs = tuple(a for name, a in zip(formula.inputs, (dy, x, y), strict=True) if formula.uses(name))
        if not takes(*inputs, out, db):
            return NotImplemented
        return self._map("activation_backward.cu", f"{formula.name}_backward", inputs, out, db, formula)
