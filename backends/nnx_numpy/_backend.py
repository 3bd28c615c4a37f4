"""The required members, and operations in place: compositions would allocate their intermediates at every step."""

from typing import Any

import numpy as np

from ._formula import BLOCK, Formula, elementwise, loss_program, run_blocks, value_of
from ._optimizers import OptimizerOps
from ._philox import PhiloxOps
from ._pictures import PicturesOps

Array = np.ndarray[Any, Any]


def _column_sums(x: Array, out: Array | None) -> None:
    if out is not None:
        np.add.reduce(x.reshape(-1, x.shape[-1]), axis=0, out=out)


def _weighted_loss(
    formula: Formula, y: Array, t: Array, weight: Array, gradient: Array | None, scalars: list[float]
) -> Any:
    """Return the sum of the rows' losses times their weights, some rows at a time: few losses are in memory at once."""
    n, columns = y.shape
    rows = max(1, BLOCK // max(1, columns))
    losses, factor = np.empty((min(rows, n), columns), y.dtype), (weight / y.dtype.type(n))[:, None]
    totals = []
    for low in range(0, n, rows):
        part = slice(low, low + rows)
        outs = [losses[: min(rows, n - low)]]
        if gradient is not None:
            outs.append(gradient[part])
        elementwise(formula, [y[part], t[part]], outs, scalars)
        if gradient is not None:
            np.multiply(outs[1], factor[part], out=outs[1])
        totals.append(np.dot(np.add.reduce(outs[0], axis=1), weight[part]))
    return np.add.reduce(totals)


class NumpyBackend(OptimizerOps, PhiloxOps, PicturesOps):
    """Plain NumPy. Matrix products run in the BLAS that NumPy was built with, on as many threads as that uses."""

    name = "numpy"
    xp = np

    @classmethod
    def unavailable(cls) -> str | None:
        return None

    def to_device(self, host: Array, /) -> Array:
        return host

    def to_host(self, array: Array, /) -> Array:
        return np.asarray(array)

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        return np.matmul(a, b, out=out)

    def synchronize(self) -> None:
        """Do nothing: every operation has finished when it returns."""

    def device_info(self) -> dict[str, str]:
        from nnx_kernels.blas import blas

        return {"device": "CPU", "numpy": np.__version__, **blas()}

    def allocate(self, size: int, dtype: str) -> Array:
        # np.zeros aligns to 16 bytes only, and an optimizer's pass over misaligned memory is slower.
        itemsize = np.dtype(dtype).itemsize
        memory = np.zeros(size * itemsize + 127, np.uint8)
        start = -memory.ctypes.data % 128
        return memory[start : start + size * itemsize].view(dtype)

    def take(self, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Array:
        # mode="clip": the default would copy `out` to be able to raise; the caller has checked the index.
        if scale is None:
            return np.take(data, index, axis=0, out=out, mode="clip")
        return np.multiply(np.take(data, index, axis=0, mode="clip"), scale, out=out, dtype=scale.dtype)

    def affine(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        activation: Formula | None = None,
        out: Array | None = None,
    ) -> Array:
        y = np.matmul(x, w, out=out)
        if b is not None:
            np.add(y, b, out=y)
        return y if activation is None else self.activation(activation, y, out=y)

    def affine_backward(
        self,
        dy: Array,
        x: Array,
        w: Array,
        *,
        dx: Array | None = None,
        dw: Array | None = None,
        db: Array | None = None,
    ) -> None:
        if dw is not None:
            np.matmul(x.T, dy, out=dw)
        _column_sums(dy, db)
        if dx is not None:
            np.matmul(dy, w.T, out=dx)

    def activation(self, formula: Formula, x: Array, *, out: Array | None = None) -> Any:
        if x.dtype.kind != "f":
            return NotImplemented
        y = np.empty_like(x) if out is None else out
        elementwise(formula, [x], [y])
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
    ) -> Array:
        dx = np.empty_like(dy) if out is None else out
        elementwise(formula, [dy, x, y], [dx])
        _column_sums(dx, db)
        return dx

    def batch_norm(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        hyper: Array,
        *,
        out: Array | None = None,
        mean: Array | None = None,
        var: Array | None = None,
    ) -> Array:
        mean = np.mean(x, axis=0, out=mean)
        y = np.subtract(x, mean, out=out)
        var = np.divide(np.einsum("ij,ij->j", y, y), x.dtype.type(len(x)), out=var)
        np.multiply(y, gamma / np.sqrt(var + hyper[0]), out=y)
        return np.add(y, beta, out=y)

    def batch_norm_backward(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        hyper: Array,
        *,
        out: Array | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
        db: Array | None = None,
    ) -> Array:
        n = x.dtype.type(len(x))
        std = np.sqrt(var + hyper[0])
        dbeta = np.add.reduce(dy, axis=0, out=dbeta)
        dx = np.subtract(x, mean, out=out)
        dgamma = np.divide(np.einsum("ij,ij->j", dy, dx), std, out=dgamma)
        if db is not None:
            db.fill(0)
        # (gamma / std) * (dy - dbeta / n - (x - mean) / std * dgamma / n), built up in place
        np.multiply(dx, -dgamma / (n * std), out=dx)
        np.add(dx, dy, out=dx)
        np.subtract(dx, dbeta / n, out=dx)
        return np.multiply(dx, gamma / std, out=dx)

    def batch_norm_inference(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        mean: Array,
        var: Array,
        hyper: Array,
        *,
        out: Array | None = None,
    ) -> Array:
        y = np.subtract(x, mean, out=out)
        np.multiply(y, gamma / np.sqrt(var + hyper[0]), out=y)
        return np.add(y, beta, out=y)

    def dropout_backward(
        self, dy: Array, mask: Array, factor: Array, *, out: Array | None = None, db: Array | None = None
    ) -> Array:
        dx = np.multiply(mask, factor, out=out, dtype=dy.dtype)
        np.multiply(dx, dy, out=dx)
        _column_sums(dx, db)
        return dx

    def softmax(self, x: Array, *, out: Array | None = None) -> Array:
        y = np.subtract(x, np.maximum.reduce(x, axis=1, keepdims=True), out=out)
        np.exp(y, out=y)
        return np.divide(y, np.add.reduce(y, axis=1, keepdims=True), out=y)

    def softmax_cross_entropy(
        self,
        z: Array,
        t: Array,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        if weight is not None:
            return NotImplemented
        n, classes = z.shape
        n_float = z.dtype.type(n)
        y = np.add(z, 0 if bias is None else bias, out=dz)
        np.subtract(y, np.maximum.reduce(y, axis=1, keepdims=True), out=y)
        labels = t.ndim == 1
        if labels:
            # One maximum over unsigned numbers finds labels below 0, too.
            if np.maximum.reduce(t.view(np.uint64)) >= classes:
                np.multiply(y, np.nan, out=y)
                _column_sums(y, db)
                return z.dtype.type(np.nan)
            rows = np.arange(n)
            target = np.add.reduce(y[rows, t])
        else:
            target = np.einsum("ij,ij->", t, y)
        np.exp(y, out=y)
        total = np.add.reduce(y, axis=1)
        loss = (np.add.reduce(np.log(total)) - target) / n_float
        if dz is None and db is None:
            return loss
        total *= n_float
        np.divide(y, total[:, None], out=y)
        if labels:
            y[rows, t] -= 1 / n_float
        else:
            np.subtract(y, t / n_float, out=y)
        _column_sums(y, db)
        return loss

    def loss(
        self,
        formula: Formula,
        z: Array,
        t: Array,
        hyper: Array | None = None,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        y = z if bias is None else z + bias
        gradient = np.empty_like(z) if dz is None and db is not None else dz
        scalars = [] if hyper is None else hyper.tolist()
        n = z.dtype.type(len(z))
        given = formula if gradient is not None else value_of(formula)
        made = loss_program(given, gradient is y) if weight is None else None
        if made is not None:
            arrays = [(y, t)[i] for i in made.inputs]
            if gradient is not None and gradient is not y:
                arrays.append(gradient)
            result = run_blocks(made, arrays, [*scalars, 1 / n], y)
        else:
            result = _weighted_loss(given, y, t, np.ones_like(y[:, 0]) if weight is None else weight, gradient, scalars)
        if gradient is not None:
            _column_sums(gradient, db)
        return result / n

    def sum_squares(self, x: Array) -> Array:
        flat = x.reshape(-1)
        return np.dot(flat, flat)
