"""Layer normalization."""

from collections.abc import Sequence

from .._support.arena import Spec
from .._support.checks import check_float, check_number
from ..errors import InputError
from ..ops import Array
from ._layer import Layer


class LayerNorm(Layer):
    """gamma * (x - mean) / sqrt(var + eps) + beta, over the features of each row of x: (n, c) (Ba et al. 2016).

    mean and var, the biased one (divided by c), are the row's own: training and prediction are alike, and a row does
    not depend on the others of its batch. gamma, beta: (c,), made when the model is built, 1 and 0 at first.

    Args:
        eps: added to the variance, above 0.
    """

    fields = ("eps",)
    capturable = True

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = check_number("LayerNorm: eps", eps, 0, above=True)

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        if len(shape) != 1:
            raise InputError(
                f"{self!r}: got inputs of shape (n, {', '.join(map(str, shape))}), expected (n, features). "
                "Put a Flatten() before it."
            )
        return (Spec("gamma", shape, value=1.0), Spec("beta", shape)), shape

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if not self.params:
            raise InputError(f"{self!r} has no parameters yet: put it into a Sequential and build that.")
        xp, gamma = self.ops.xp, self.params["gamma"]
        check_float(self.ops, "x", x)
        if tuple(x.shape[1:]) != tuple(gamma.shape):
            raise InputError(f"{self!r}: got inputs of shape {tuple(x.shape)}, expected (n, {gamma.shape[0]}).")
        centred = x - xp.mean(x, axis=1, keepdims=True)
        std = xp.sqrt(xp.mean(centred * centred, axis=1, keepdims=True) + self.eps)
        normalised = centred / std
        if train_flg:
            self._saved = normalised, std
        return normalised * gamma + self.params["beta"]

    def backward(self, dout: Array) -> Array:
        normalised, std = self._last()
        self._check_gradient(dout, normalised.shape)
        xp = self.ops.xp
        self.grads["gamma"][...] = xp.sum(dout * normalised, axis=0)
        self.grads["beta"][...] = xp.sum(dout, axis=0)
        d = dout * self.params["gamma"]
        through = d - xp.mean(d, axis=1, keepdims=True)
        return (through - normalised * xp.mean(d * normalised, axis=1, keepdims=True)) / std
