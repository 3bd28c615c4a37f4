"""Batch normalization."""

from collections.abc import Sequence

import numpy as np

from .._support.arena import Arena, Spec
from .._support.checks import check_float, check_number
from ..errors import InputError, InputTypeError
from ..formula import Formula
from ..ops import FLOATS, Array, dtype_name
from ._layer import Layer
from ._pictures import channels_first, channels_last

RUNNING_AVERAGE = Formula(
    "running_average",
    lambda running, batch, eps, kept, taken: kept * running + taken * batch,
    inputs=["running", "batch"],
    outputs=["running"],
    scalars=["eps", "kept", "taken"],
)
"""running = momentum * running + (1 - momentum) * batch; scalars as in `batch_norm`."""


class BatchNorm(Layer):
    """gamma * (x - mean) / sqrt(var + eps) + beta, over the rows of x: (n, c) (Ioffe & Szegedy 2015).

    Of pictures, (n, c, h, w), every pixel is a row: there are one mean and one variance for each channel.

    In training, mean and var are the batch's, var the biased one (divided by n). They enter the running statistics,
    running = momentum * running + (1 - momentum) * batch, unless the batch has one row only. Predictions use the
    running statistics.

    Args:
        gamma: the factors (c,), float32 or float64, used in place. `BatchNorm()` makes gamma = 1 and beta = 0 when its
            model is built.
        beta: the shifts (c,) in gamma's dtype; given together with gamma or not at all.
        momentum: the weight of the old running statistics, in [0, 1). PyTorch's `momentum` is 1 minus this.
        eps: added to the variance, above 0.

    Raises:
        InputError: an argument has a wrong value or shape, or only one of gamma and beta is given.
        InputTypeError: an argument has a wrong type, or gamma and beta have a wrong dtype.
    """

    fields = ("momentum", "eps")

    def __init__(
        self, gamma: Array | None = None, beta: Array | None = None, *, momentum: float = 0.9, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.momentum = check_number("BatchNorm: momentum", momentum, 0, 1)
        self.eps = check_number("BatchNorm: eps", eps, 0, above=True)
        if (gamma is None) != (beta is None):
            raise InputError("BatchNorm: got only one of gamma and beta; pass both or neither.")
        if gamma is not None and beta is not None:
            if not all(dtype_name(p) in FLOATS for p in (gamma, beta)) or gamma.dtype != beta.dtype:
                got = " and ".join(str(getattr(p, "dtype", repr(p))) for p in (gamma, beta))
                raise InputTypeError(f"BatchNorm: got gamma and beta of {got}, expected float32 or float64 arrays.")
            if len(gamma.shape) != 1 or gamma.shape != beta.shape:
                raise InputError(
                    f"BatchNorm: got gamma of shape {tuple(gamma.shape)} and beta of {tuple(beta.shape)}, "
                    "expected one dimension and equal lengths."
                )
            self.params = {"gamma": gamma, "beta": beta}

    @property
    def gamma(self) -> Array | None:
        """The factors, (c,), as `params["gamma"]`; None before there are any."""
        return self.params.get("gamma")

    @property
    def beta(self) -> Array | None:
        """The shifts, (c,)."""
        return self.params.get("beta")

    @property
    def dgamma(self) -> Array | None:
        """The gradient of gamma, as `grads["gamma"]`; None before the first `backward`."""
        return self.grads.get("gamma")

    @property
    def dbeta(self) -> Array | None:
        """The gradient of beta."""
        return self.grads.get("beta")

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        if len(shape) not in (1, 3):
            raise InputError(
                f"{self!r}: got inputs of shape (n, {', '.join(map(str, shape))}), expected (n, features) or pictures "
                "(n, channels, height, width). Put a Flatten() before it."
            )
        columns = shape[:1]
        given = {n: p if isinstance(p, np.ndarray) else self.ops.to_host(p) for n, p in self.params.items()}
        if given and given["gamma"].shape != columns:
            what = "features" if len(shape) == 1 else "channels"
            raise InputError(f"{self!r}: got inputs of {shape[0]} {what}, but gamma has shape {given['gamma'].shape}.")
        return (
            Spec("gamma", columns, value=given.get("gamma", 1.0)),
            Spec("beta", columns, value=given.get("beta", 0.0)),
            Spec("running_mean", columns, trainable=False),
            Spec("running_var", columns, value=1.0, trainable=False),
        ), shape

    def attach(self, arena: Arena, names: Sequence[str], prefix: str) -> None:
        super().attach(arena, names, prefix)
        statistics = [name for name in names if name in self.running]
        self.batch = {name: arena.batch[prefix + name] for name in statistics}
        self.span = arena.running.layout.span(*(prefix + name for name in statistics))
        self.hyper = self._make_hyper(arena.dtype)

    def bare(self) -> Layer:
        bare = super().bare()
        for name in ("batch", "span", "hyper"):
            bare.__dict__.pop(name, None)
        return bare

    def _make_hyper(self, dtype: str) -> Array:
        return self.ops.to_device(np.array([self.eps, self.momentum, 1.0 - self.momentum], dtype))

    def _prepare(self) -> None:
        """Make what a model would have given to a layer that stands alone: gradients and running statistics."""
        if self.running:
            return
        if not self.params:
            raise InputError(
                f"{self!r} has no parameters yet: put it into a Sequential and build that, or give it arrays: "
                "BatchNorm(gamma, beta)."
            )
        xp, gamma = self.ops.xp, self.params["gamma"]
        self.grads = {name: xp.zeros_like(p) for name, p in self.params.items()}
        self.running = {"running_mean": xp.zeros_like(gamma), "running_var": xp.ones_like(gamma)}
        self.hyper = self._make_hyper(dtype_name(gamma))

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._prepare()
        ops, gamma, beta = self.ops, self.params["gamma"], self.params["beta"]
        mean, var = self.running["running_mean"], self.running["running_var"]
        check_float(ops, "x", x)
        if len(x.shape) not in (2, 4) or x.shape[1] != gamma.shape[0]:
            c = gamma.shape[0]
            raise InputError(f"{self!r}: got inputs of shape {tuple(x.shape)}, expected (n, {c}) or (n, {c}, h, w).")
        if 0 in x.shape:
            raise InputError(f"{self!r}: got no rows, expected at least one.")
        rows, shape = self._as_rows(x), tuple(x.shape)
        if not train_flg:
            return self._as_given(ops.batch_norm_inference(rows, gamma, beta, mean, var, self.hyper), shape)
        batch_mean, batch_var = ops.xp.empty_like(gamma), ops.xp.empty_like(gamma)
        y = ops.batch_norm(rows, gamma, beta, self.hyper, mean=batch_mean, var=batch_var)
        if rows.shape[0] > 1:
            ops.update_(RUNNING_AVERAGE, self.hyper, mean, batch_mean)
            ops.update_(RUNNING_AVERAGE, self.hyper, var, batch_var)
        self._saved = rows, shape, batch_mean, batch_var
        return self._as_given(y, shape)

    def backward(self, dout: Array) -> Array:
        rows, shape, mean, var = self._last()
        self._check_gradient(dout, shape)
        gamma, grads, dy = self.params["gamma"], self.grads, self._as_rows(dout)
        dx = self.ops.batch_norm_backward(
            dy, rows, gamma, mean, var, self.hyper, dgamma=grads["gamma"], dbeta=grads["beta"]
        )
        return self._as_given(dx, shape)

    def _as_rows(self, x: Array) -> Array:
        """Return x as a matrix with c columns: of pictures, the pixels are the rows."""
        return x if len(x.shape) == 2 else self.ops.xp.reshape(channels_last(self.ops, x), (-1, x.shape[1]))

    def _as_given(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """Return a matrix of rows in the shape of the input."""
        if len(shape) == 2:
            return rows
        n, c, h, w = shape
        return channels_first(self.ops, self.ops.xp.reshape(rows, (n, h, w, c)))
