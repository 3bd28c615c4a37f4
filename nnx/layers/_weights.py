"""What layers with weights W and a bias b have in common."""

from typing import Any

import numpy as np

from .. import initializers
from .._support.arena import Spec
from .._support.checks import check_flag
from ..errors import InputError, InputTypeError
from ..initializers import Init
from ..ops import FLOATS, Array, dtype_name
from ._layer import Layer


class Weighted(Layer):
    """Base of layers with weights W and perhaps a bias b, of their own or given by the user.

    Args:
        bias: whether there is a bias.
        init: as for `Affine`.
    """

    def __init__(self, bias: bool, init: Init) -> None:
        super().__init__()
        self.bias, self.init = bias, initializers.check(init)

    def _adopt(self, w: Array, b: Array | None, axes: tuple[str, ...], outputs: int) -> None:
        """Take a user's arrays as parameters.

        Args:
            w: the weights, with the named axes.
            b: the bias, or None for none.
            axes: their names, for the error messages.
            outputs: which axis of w has the outputs.
        """
        kind = type(self).__name__
        if b is not None and not hasattr(b, "shape"):
            raise InputTypeError(f"{kind}: b is {b!r}, expected an array as W is.")
        if len(w.shape) != len(axes):
            count = {2: "two", 4: "four"}[len(axes)]
            raise InputError(f"{kind}: W has shape {tuple(w.shape)}, expected {count} dimensions ({', '.join(axes)}).")
        if dtype_name(w) not in FLOATS:
            raise InputError(f"{kind}: W has dtype {w.dtype}, expected float32 or float64.")
        if 0 in w.shape:
            raise InputError(f"{kind}: W has shape {tuple(w.shape)}, expected at least one of each.")
        if b is not None and not check_flag(f"{kind}: bias", self.bias):
            raise InputError(f"{kind}: got bias=False and an array b; leave one of them out.")
        self.bias, self.params = b is not None, {"W": w}
        if b is not None:
            size = int(w.shape[outputs])
            if tuple(b.shape) != (size,) or b.dtype != w.dtype:
                raise InputError(
                    f"{kind}: b has shape {tuple(b.shape)} {b.dtype}, expected ({size},) {w.dtype} as W has "
                    f"{axes[outputs]}."
                )
            self.params["b"] = b

    @property
    def W(self) -> Array | None:  # noqa: N802  the study notes' name
        """The weights, as `params["W"]`; None before there are any."""
        return self.params.get("W")

    @property
    def b(self) -> Array | None:
        """The bias."""
        return self.params.get("b")

    @property
    def dW(self) -> Array | None:  # noqa: N802
        """The gradient of W, as `grads["W"]`; None before the first `backward`."""
        return self.grads.get("W")

    @property
    def db(self) -> Array | None:
        """The gradient of b."""
        return self.grads.get("b")

    def _specs(self, shape: tuple[int, ...], size: int, inputs: str) -> tuple[Spec, ...]:
        """Declare weights of a shape, and a bias of a size; for inputs that are so described in the error message."""
        weights, biases = Spec("W", shape, init=self.init, decay=True), Spec("b", (size,))
        if self.params:
            given = {n: p if isinstance(p, np.ndarray) else self.ops.to_host(p) for n, p in self.params.items()}
            if given["W"].shape != shape:
                raise InputError(f"{self!r}: got inputs of {inputs}, but W has shape {given['W'].shape}.")
            weights = Spec("W", shape, value=given["W"], decay=True)
            biases = Spec("b", (size,), value=given.get("b", 0.0))
        return (weights, biases) if self.bias else (weights,)

    def _gradients(self) -> dict[str, Any]:
        if not self.grads:
            if not self.params:
                raise InputError(
                    f"{self!r} has no parameters yet: put it into a Sequential and build that, or give it arrays: "
                    f"{type(self).__name__}(W, b)."
                )
            self.grads = {name: self.ops.xp.zeros_like(p) for name, p in self.params.items()}
        return self.grads
