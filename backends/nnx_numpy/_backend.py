"""The required members, and the operations in place: compositions would allocate their intermediates at every step."""

from typing import Any

import numpy as np

from ._optimizers import OptimizerOps
from ._philox import PhiloxOps

Array = np.ndarray[Any, Any]


def _column_sums(x: Array, out: Array | None) -> None:
    if out is not None:
        np.add.reduce(x, axis=0, out=out)


class NumpyBackend(OptimizerOps, PhiloxOps):
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
        """Nothing to wait for: every operation has finished when it returns."""

    def device_info(self) -> dict[str, str]:
        from threadpoolctl import threadpool_info

        info = {"device": "CPU", "numpy": np.__version__}
        for pool in threadpool_info():
            if pool["user_api"] == "blas":
                info["blas"] = f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', 'unknown core')})"
                info["blas threads"] = str(pool["num_threads"])
        return info

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

    def affine(self, x: Array, w: Array, b: Array | None = None, *, out: Array | None = None) -> Array:
        y = np.matmul(x, w, out=out)
        return y if b is None else np.add(y, b, out=y)

    def affine_relu(self, x: Array, w: Array, b: Array | None = None, *, out: Array | None = None) -> Array:
        y = self.affine(x, w, b, out=out)
        return np.maximum(y, 0, out=y)

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

    def relu(self, x: Array, *, out: Array | None = None) -> Array:
        return np.maximum(x, 0, out=out)

    def relu_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Array:
        # The mask goes straight into `out` as zeros and ones: faster than a multiplication of floats by booleans.
        dx = np.greater(y, 0, out=np.empty_like(dy) if out is None else out, casting="unsafe")
        np.multiply(dx, dy, out=dx)
        _column_sums(dx, db)
        return dx

    def sigmoid(self, x: Array, *, out: Array | None = None) -> Array:
        with np.errstate(over="ignore"):  # exp(-x) may overflow to infinity, whose reciprocal is the right 0
            y = np.exp(np.negative(x, out=out), out=out)
        if y.ndim == 0 and out is None:
            return np.asarray(1 / (1 + y))  # NumPy gives no arrays of no dimensions to write to
        return np.reciprocal(np.add(y, 1, out=y), out=y)

    def sigmoid_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Array:
        dx = np.subtract(1, y, out=out)
        np.multiply(dx, y, out=dx)
        np.multiply(dx, dy, out=dx)
        _column_sums(dx, db)
        return dx

    def tanh(self, x: Array, *, out: Array | None = None) -> Array:
        return np.tanh(x, out=out)

    def tanh_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Array:
        dx = np.multiply(y, y, out=out)
        np.subtract(1, dx, out=dx)
        np.multiply(dx, dy, out=dx)
        _column_sums(dx, db)
        return dx

    def scale(self, x: Array, factor: Array, *, out: Array | None = None) -> Array:
        return np.multiply(x, factor, out=out)

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

    def sigmoid_cross_entropy(
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
        n = z.dtype.type(len(z))
        y = z if bias is None else z + bias
        e = np.abs(y)
        np.exp(np.negative(e, out=e), out=e)
        loss = (np.add.reduce(np.maximum(y, 0) + np.log1p(e), axis=None) - np.einsum("ij,ij->", t, y)) / n
        if dz is not None or db is not None:
            gradient = np.divide(np.where(y < 0, e, 1), e + 1, out=dz, dtype=z.dtype)
            np.subtract(gradient, t, out=gradient)
            np.divide(gradient, n, out=gradient)
            _column_sums(gradient, db)
        return loss

    def mean_squared_error(
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
        n = z.dtype.type(len(z))
        difference = np.subtract(z, t, out=dz)
        if bias is not None:
            np.add(difference, bias, out=difference)
        loss = np.einsum("ij,ij->", difference, difference) / (2 * n)
        np.divide(difference, n, out=difference)
        _column_sums(difference, db)
        return loss

    def sum_squares(self, x: Array) -> Array:
        flat = x.reshape(-1)
        return np.dot(flat, flat)
