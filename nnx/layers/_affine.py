"""The fully connected layer."""

from collections.abc import Sequence

from .._support.arena import Spec
from .._support.checks import check_count, check_flag, check_float
from ..errors import InputError, InputTypeError
from ..initializers import Init
from ..ops import Array
from ._weights import Weighted


class Affine(Weighted):
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
        super().__init__(bias, init)
        if hasattr(size, "shape") and len(size.shape) > 0:
            self._adopt(size, b, ("inputs", "outputs"), outputs=1)
            self.size = int(size.shape[1])
        elif b is not None:
            raise InputTypeError(f"Affine: got a bias but no weights ({size!r}); pass both: Affine(W, b).")
        else:
            self.size = check_count("Affine: size", size)
            self.bias = check_flag("Affine: bias", bias)

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        if len(shape) != 1:
            raise InputError(
                f"{self!r}: got inputs of shape (n, {', '.join(map(str, shape))}), expected (n, features). "
                "Put a Flatten() before it."
            )
        return self._specs((shape[0], self.size), self.size, f"{shape[0]} features"), (self.size,)

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
