"""The fully connected layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import initializers
from .._support.arena import Spec
from .._support.checks import check_count, check_flag, check_float
from ..errors import InputError, InputTypeError
from ..initializers import Init
from ..ops import FLOATS, Array, dtype_name
from ._layer import Layer


class Affine(Layer):
    """The fully connected layer: y = x @ W + b. x: (n, i), W: (i, size), b: (size,), y: (n, size).

    `Affine(100)` gets its parameters when its model is built, b being 0 at first. `Affine(W, b)` uses these arrays, in
    place and in their dtype (as a part of a model: copies of their values, in the model's dtype).

    Args:
        size: the number of outputs, at least 1; or the weights W, float32 or float64.
        b: the bias, an array of W's dtype; only together with W. `Affine(W)` has no bias.
        bias: whether there is a bias, where `size` is a number.
        init: the initial weights, normal of mean 0 and this standard deviation: "he" (sqrt(2/i); He et al. 2015),
            "xavier" (sqrt(1/i); after Glorot & Bengio 2010), or a number of at least 0. None: the `init` of the
            activation that follows (BatchNorm and Dropout may stand between), "he" for ReLU and its relatives, else
            "xavier".

    Raises:
        InputError: an argument has a wrong value, shape or dtype.
        InputTypeError: an argument has a wrong type.
    """

    fields = ("size", "bias", "init")

    def __init__(self, size: "int | Array", b: Array | None = None, *, bias: bool = True, init: Init = None) -> None:
        super().__init__()
        self.init = initializers.check(init)
        if hasattr(size, "shape") and len(size.shape) > 0:
            self._adopt(size, b, bias)
        elif b is not None:
            raise InputTypeError(f"Affine: got a bias but no weights ({size!r}); pass both: Affine(W, b).")
        else:
            self.size = check_count("Affine: size", size)
            self.bias = check_flag("Affine: bias", bias)

    def _adopt(self, w: Array, b: Array | None, bias: bool) -> None:
        if b is not None and not hasattr(b, "shape"):
            raise InputTypeError(f"Affine: b is {b!r}, expected an array as W is.")
        if len(w.shape) != 2:
            raise InputError(f"Affine: W has shape {tuple(w.shape)}, expected two dimensions (inputs, outputs).")
        self.size, self.bias = int(w.shape[1]), b is not None
        if dtype_name(w) not in FLOATS:
            raise InputError(f"Affine: W has dtype {w.dtype}, expected float32 or float64.")
        if 0 in w.shape:
            raise InputError(f"Affine: W has shape {tuple(w.shape)}, expected at least one input and one output.")
        if b is not None and not check_flag("Affine: bias", bias):
            raise InputError("Affine: got bias=False and an array b; leave one of them out.")
        self.params = {"W": w}
        if b is not None:
            if tuple(b.shape) != (self.size,) or b.dtype != w.dtype:
                raise InputError(
                    f"Affine: b has shape {tuple(b.shape)} {b.dtype}, expected ({self.size},) {w.dtype} as W's columns."
                )
            self.params["b"] = b

    @property
    def W(self) -> Array | None:  # noqa: N802  the study notes' name
        """The weights, (i, size), as `params["W"]`; None before there are any."""
        return self.params.get("W")

    @property
    def b(self) -> Array | None:
        """The bias, (size,)."""
        return self.params.get("b")

    @property
    def dW(self) -> Array | None:  # noqa: N802
        """The gradient of W, as `grads["W"]`; None before the first `backward`."""
        return self.grads.get("W")

    @property
    def db(self) -> Array | None:
        """The gradient of b."""
        return self.grads.get("b")

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        if len(shape) != 1:
            raise InputError(
                f"{self!r}: got inputs of shape (n, {', '.join(map(str, shape))}), expected (n, features). "
                "Put a Flatten() before it."
            )
        weights = Spec("W", (shape[0], self.size), init=self.init, decay=True)
        biases = Spec("b", (self.size,))
        if self.params:
            given = {name: self._host(array) for name, array in self.params.items()}
            if given["W"].shape != weights.shape:
                raise InputError(f"{self!r}: got inputs of {shape[0]} features, but W has shape {given['W'].shape}.")
            weights = Spec("W", weights.shape, value=given["W"], decay=True)
            biases = Spec("b", (self.size,), value=given.get("b", 0.0))
        return ((weights, biases) if self.bias else (weights,)), (self.size,)

    def _host(self, array: Array) -> Any:
        return array if isinstance(array, np.ndarray) else self.ops.to_host(array)

    def _gradients(self) -> dict[str, Array]:
        if not self.grads:
            if not self.params:
                raise InputError(
                    f"{self!r} has no parameters yet: put it into a Sequential and build that, or give it arrays: "
                    "Affine(W, b)."
                )
            self.grads = {name: self.ops.xp.zeros_like(p) for name, p in self.params.items()}
        return self.grads

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._gradients()
        w = self.params["W"]
        check_float(self.ops, "x", x)
        if len(x.shape) != 2 or x.shape[1] != w.shape[0]:
            raise InputError(f"{self!r}: got inputs of shape {tuple(x.shape)}, expected (n, {w.shape[0]}).")
        if train_flg:
            self._saved = x
        return self.ops.affine(x, w, self.params.get("b"))

    def backward(self, dout: Array) -> Array:
        x, grads = self._last(), self._gradients()
        self._check_gradient(dout, (x.shape[0], self.size))
        dx = self.ops.xp.empty_like(x)
        self.ops.affine_backward(dout, x, self.params["W"], dx=dx, dw=grads["W"], db=grads.get("b"))
        return dx
