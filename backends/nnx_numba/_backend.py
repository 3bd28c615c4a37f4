"""The operations on Numba's kernels. A kernel declines by itself what it was not compiled for: layouts, dtypes."""

import importlib.util
import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ._team import Team
from ._threads import SlicePool, thread_count

Array = np.ndarray[Any, Any]
Formula = Any  # of nnx, of which a plugin imports nothing; its attributes are in docs/writing-a-backend.md

# Products of no more multiplications are our own. BLAS' threads wait for each other by spinning: beside four busy
# processes on two cores a step of 784-50-10 took 140 times as long as alone, with our team 4 times. Where all is quiet,
# steps take as long as with OpenBLAS (an EPYC with AVX-512).
LARGEST_OWN = 500_000_000
_SLICE = 262_144  # elements that one thread takes at a time
# Larger arrays are split among threads. Measured inside a training step, where BLAS' own threads still spin: Adam on
# 1.86 million parameters takes 1.7 ms on one thread and 1.9 ms on two.
_LARGE = 2_097_152
_NOTHING = {np.dtype(d): np.empty(0, d) for d in (np.float32, np.float64)}
_FLOATS = _NOTHING.keys()


def _tanh(x: Array, y: Array) -> None:
    np.tanh(x, out=y)


_KERNELS = {"affine": "after_product", "update_": "update"}
"""Where nnx_kernels.cpu.formula has an operation's kernels under another name."""
_NUMPYS = {"tanh": _tanh}
"""What NumPy does faster alone, in one vectorised pass."""
_FORMATS = {"bfloat16": (2.0**-7, 2.0**-133, (2 - 2.0**-7) * 2.0**127), "float16": (2.0**-10, 2.0**-24, 65504.0)}
"""The distance of neighbours from 1 to 2, the least and the greatest number."""


def _rows(x: Array) -> Array:
    """Return x as a matrix of its rows."""
    return x if x.ndim == 2 else x.reshape(len(x), -1)


class NumbaBackend:
    """Fused kernels on any CPU. `NNX_NUM_THREADS` sets the threads of BLAS (process-wide) and of our own pool."""

    name = "numba"
    xp = np

    @classmethod
    def unavailable(cls) -> str | None:
        if importlib.util.find_spec("numba") is None:
            return "Numba is not installed; pip install numba"
        try:
            thread_count()
        except ValueError as error:
            return str(error)
        return None

    def __init__(self) -> None:
        from nnx_kernels.cpu import (
            _jit,
            batch_norm,
            bias,
            formula,
            gather,
            narrow,
            philox,
            product,
            reduce,
            softmax,
        )
        from threadpoolctl import ThreadpoolController

        self._jit = _jit
        self._batch_norm, self._bias, self._gather = batch_norm, bias, gather
        self._narrow, self._philox, self._reduce, self._formula = narrow, philox, reduce, formula
        self._softmax = softmax
        controller, asked = ThreadpoolController(), thread_count()
        if asked is not None:
            controller.limit(limits=asked, user_api="blas")
        blas = [pool["num_threads"] for pool in controller.info() if pool["user_api"] == "blas"]
        self._pool = SlicePool(asked or max(blas, default=1))
        self._team = Team(self._pool.threads, product)
        self._own = threading.local()
        self._own_products = product.FUSED and not product.product.interpreted

    def to_device(self, host: Array, /) -> Array:
        return host

    def to_host(self, array: Array, /) -> Array:
        return np.asarray(array)

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        return np.matmul(a, b, out=out)

    def synchronize(self) -> None:
        """Do nothing: every operation has finished when it returns."""

    def device_info(self) -> dict[str, str]:
        import numba
        from nnx_kernels.blas import blas

        info = {
            "device": "CPU",
            "numpy": np.__version__,
            "numba": numba.__version__,
            "threads": str(self._pool.threads),
            "products": f"register tiles up to {LARGEST_OWN:,} multiplications" if self._own_products else "BLAS",
            **blas(),
        }
        if self._jit.uncached:
            info["kernel cache"] = "no writable folder: kernels are compiled anew in every process"
        return info

    @property
    def compile_seconds(self) -> float:
        """The seconds that this process has spent compiling kernels, or loading them from the disk."""
        return self._jit.seconds

    def warm_up(self, formulas: Iterable[tuple[str, Formula]] = ()) -> Iterator[tuple[str, int]]:
        """Compile every kernel for both dtypes, those of formulas by the operations that take them among them.

        Yields each kernel's name, and how many there are.
        """
        for operation, formula in formulas:
            getattr(self._formula, _KERNELS.get(operation, operation))(formula)
        for dtype in _FLOATS:
            for kernel in self._jit.kernels:
                kernel.compile(dtype)
                yield f"{kernel.name} {dtype}", len(self._jit.kernels) * len(_FLOATS)

    def allocate(self, size: int, dtype: str) -> Array:
        # np.zeros aligns to 16 bytes only, and an optimizer's pass over misaligned memory is slower.
        itemsize = np.dtype(dtype).itemsize
        memory = np.zeros(size * itemsize + 127, np.uint8)
        start = -memory.ctypes.data % 128
        return memory[start : start + size * itemsize].view(dtype)

    # Data -------------------------------------------------------------------------------------------------------------

    def take(self, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Any:
        if scale is None:
            # mode="clip": the default would copy `out` to be able to raise; the caller has checked the index.
            return np.take(data, index, axis=0, out=out, mode="clip")
        y = np.empty((len(index), *data.shape[1:]), scale.dtype) if out is None else out
        if y.ndim < 2 or not (data.flags.c_contiguous and y.flags.c_contiguous):
            return NotImplemented
        kernel = self._gather.take_bytes if data.dtype == np.uint8 else self._gather.take_scaled
        return _done(kernel(_rows(data), index, scale[()], _rows(y)), y)

    # Layers -----------------------------------------------------------------------------------------------------------

    def _product(self, a: Array, b: Array, out: Array | None, *, transposed: bool = False) -> Array:
        """Compute a @ b, or a.T @ b, on all arrays that np.matmul takes; it refuses the others."""
        m, k, n = a.shape[transposed], a.shape[not transposed], b.shape[1]
        if self._own_products and k == len(b) and m * n * k <= LARGEST_OWN:
            y = np.empty((m, n), a.dtype) if out is None else out
            if y.shape == (m, n) and self._team.product(a, b, y, transposed) is not NotImplemented:
                return y
        return np.matmul(a.T if transposed else a, b, out=out)

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return memory of this thread's: to get it anew costs more than to transpose a matrix."""
        size = math.prod(shape) * dtype.itemsize
        memory: Array | None = getattr(self._own, name, None)
        if memory is None or memory.size < size:
            memory = np.empty(size, np.uint8)
            setattr(self._own, name, memory)
        return memory[:size].view(dtype).reshape(shape)

    def _product_by_transposed(self, a: Array, b: Array, out: Array) -> None:
        """Compute a @ b.T, whose tiles want rows where b has columns: b is transposed, or a and the result are."""
        (m, k), n, team = a.shape, len(b), self._team
        if self._own_products and k == b.shape[1] and out.shape == (m, n) and m * n * k <= LARGEST_OWN:
            if m * (n + k) < n * k:
                turned, result = self._scratch("one", (k, m), a.dtype), self._scratch("other", (n, m), a.dtype)
                steps = (
                    (team.transpose, a, turned),
                    (team.product, b, turned, result, False),
                    (team.transpose, result, out),
                )
            else:
                turned = self._scratch("one", (k, n), b.dtype)
                steps = ((team.transpose, b, turned), (team.product, a, turned, out, False))
            if all(step(*arrays) is not NotImplemented for step, *arrays in steps):
                return
        np.matmul(a, b.T, out=out)

    def affine(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        activation: Formula | None = None,
        out: Array | None = None,
    ) -> Any:
        if b is None and activation is None:
            return self._product(x, w, out)
        if (out is not None and not out.flags.c_contiguous) or not (b is None or b.flags.c_contiguous):
            return NotImplemented  # before the product is written
        finish = self._bias.add_bias if activation is None else self._formula.after_product(activation)
        y = self._product(x, w, out)
        return _done(finish(y, np.zeros(w.shape[1], w.dtype) if b is None else b), y)

    def affine_backward(
        self,
        dy: Array,
        x: Array,
        w: Array,
        *,
        dx: Array | None = None,
        dw: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        if db is not None and self._bias.column_sums(dy, db) is NotImplemented:
            return NotImplemented
        if dw is not None:
            self._product(x, dy, dw, transposed=True)
        if dx is not None:
            self._product_by_transposed(dy, w, dx)
        return None

    def activation(self, formula: Formula, x: Array, *, out: Array | None = None) -> Any:
        y = np.empty_like(x) if out is None else out
        if not (x.flags.c_contiguous and y.flags.c_contiguous and x.dtype == y.dtype):
            return NotImplemented
        if len(formula.instructions) == 1 and formula.instructions[0][1] in _NUMPYS:
            kernel = _NUMPYS[formula.instructions[0][1]]
        else:
            kernel = self._formula.activation(formula)
        a, b = x.reshape(-1), y.reshape(-1)
        if x.size <= _LARGE or kernel(a[:0], b[:0]) is NotImplemented:
            return _done(kernel(a, b), y)
        self._pool.run(lambda i, j: kernel(a[i:j], b[i:j]), x.size, _SLICE)
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
        kernel, dx = self._formula.activation_backward(formula), np.empty_like(dy) if out is None else out
        inputs = dy, x, y
        given = [*[inputs[i] for i in kernel.inputs], dx]
        if dy.ndim == 0 or not all([a.flags.c_contiguous for a in given]):  # noqa: C419  a list is faster
            return NotImplemented
        db = _nothing(dy) if db is None else db
        if dy.ndim != 2:
            given = [_rows(a) for a in given]
        if dx.size <= _LARGE:
            return _done(kernel(*given, db), dx)
        return _done(self._by_rows(given[-1], lambda part, sums: kernel(*[a[part] for a in given], sums), db), dx)

    def _by_rows(self, x: Array, work: Any, db: Array | None = None) -> Any:
        """Call work(slice of rows, db) and return its result.

        For large x it is called on fixed slices by our threads, and the results are summed.
        """
        n, size = len(x), x.size
        if size <= _LARGE:
            return work(slice(0, n), db)
        rows = _rows_of_slice(x)
        count = -(-n // rows)
        wants_db = db is not None and db.size > 0
        sums = np.empty((count, x.shape[1]), x.dtype) if wants_db else [db] * count
        results: list[Any] = [None] * count

        def one(low: int, high: int) -> None:
            results[low // rows] = work(slice(low, high), sums[low // rows])

        self._pool.run(one, n, rows)
        if any(result is NotImplemented for result in results):
            return NotImplemented
        if wants_db:
            np.add.reduce(sums, axis=0, out=db)
        return None if results[0] is None else sum(results)

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
    ) -> Any:
        y = np.empty_like(x) if out is None else out
        mean = np.empty_like(gamma) if mean is None else mean
        var = np.empty_like(gamma) if var is None else var
        if x.size <= _LARGE:
            return _done(self._batch_norm.batch_norm(x, gamma, beta, hyper, y, mean, var), y)
        # Called on no rows first, to learn whether the kernels take these arrays.
        declined = self._batch_norm.moments(x[:0], mean, var) is NotImplemented
        if (
            declined
            or self._batch_norm.batch_norm_inference(x[:0], gamma, beta, mean, var, hyper, y[:0]) is NotImplemented
        ):
            return NotImplemented
        rows = _rows_of_slice(x)
        firsts = range(0, len(x), rows)
        counts = np.array([min(rows, len(x) - first) for first in firsts], x.dtype)[:, None]
        means, squares = (np.empty((len(firsts), x.shape[1]), x.dtype) for _ in range(2))

        def moments(low: int, high: int) -> None:
            self._batch_norm.moments(x[low:high], means[low // rows], squares[low // rows])

        def normalise(low: int, high: int) -> None:
            self._batch_norm.batch_norm_inference(x[low:high], gamma, beta, mean, var, hyper, y[low:high])

        self._pool.run(moments, len(x), rows)
        np.divide(np.sum(means * counts, axis=0), len(x), out=mean)
        np.divide(np.sum(squares + counts * (means - mean) ** 2, axis=0), len(x), out=var)
        self._pool.run(normalise, len(x), rows)
        return y

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
    ) -> Any:
        dx = np.empty_like(x) if out is None else out
        dgamma = np.empty_like(gamma) if dgamma is None else dgamma
        dbeta = np.empty_like(gamma) if dbeta is None else dbeta
        # The first call, on no rows of a large batch, tells whether the kernel takes these arrays.
        parts = (dy, x, dx) if x.size <= _LARGE else (dy[:0], x[:0], dx[:0])
        kernel = self._batch_norm.batch_norm_backward
        if kernel(*parts[:2], gamma, mean, var, hyper, parts[2], dgamma, dbeta) is NotImplemented:
            return NotImplemented
        if db is not None:
            db.fill(0)
        if x.size <= _LARGE:
            return dx
        n, rows = len(x), _rows_of_slice(x)
        dgammas, dbetas = (np.empty((-(-n // rows), x.shape[1]), x.dtype) for _ in range(2))

        def sums(low: int, high: int) -> None:
            self._batch_norm.gradient_sums(dy[low:high], x[low:high], mean, dgammas[low // rows], dbetas[low // rows])

        def gradient(low: int, high: int) -> None:
            part = slice(low, high)
            self._batch_norm.input_gradient(dy[part], x[part], gamma, mean, var, hyper, dgamma, dbeta, n, dx[part])

        self._pool.run(sums, n, rows)
        np.add.reduce(dbetas, axis=0, out=dbeta)
        np.divide(np.add.reduce(dgammas, axis=0), np.sqrt(var + hyper[0]), out=dgamma)
        self._pool.run(gradient, n, rows)
        return dx

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
    ) -> Any:
        y = np.empty_like(x) if out is None else out
        return _done(self._batch_norm.batch_norm_inference(x, gamma, beta, mean, var, hyper, y), y)

    # Random numbers ---------------------------------------------------------------------------------------------------

    def philox(self, rng: Array, size: int) -> Any:
        words = np.empty(size, np.uint32)
        return _done(self._philox.philox(rng, words), words)

    def dropout(
        self, x: Array, rng: Array, factor: Array, *, out: Array | None = None, mask: Array | None = None
    ) -> Any:
        y = np.empty_like(x) if out is None else out
        kept = np.empty(x.shape, bool) if mask is None else mask
        if not (x.flags.c_contiguous and y.flags.c_contiguous and kept.flags.c_contiguous):
            return NotImplemented
        a, b, c, kernel = x.reshape(-1), y.reshape(-1), kept.reshape(-1), self._philox.dropout
        if x.size <= _LARGE:
            return _done(kernel(a, rng, factor[()], b, c, 0), y)
        if kernel(a[:0], rng, factor[()], b[:0], c[:0], 0) is NotImplemented:
            return NotImplemented
        self._pool.run(lambda i, j: kernel(a[i:j], rng, factor[()], b[i:j], c[i:j], i), x.size, _SLICE)
        return y

    def dropout_backward(
        self, dy: Array, mask: Array, factor: Array, *, out: Array | None = None, db: Array | None = None
    ) -> Any:
        dx = np.empty_like(dy) if out is None else out
        if not (dy.flags.c_contiguous and mask.flags.c_contiguous and dx.flags.c_contiguous) or dy.ndim == 0:
            return NotImplemented
        a, b, c, kernel = _rows(dy), _rows(mask), _rows(dx), self._philox.dropout_backward

        def work(part: slice, sums: Array) -> Any:
            return kernel(a[part], b[part].reshape(-1), factor[()], c[part], sums)

        return _done(self._by_rows(a, work, _nothing(dy) if db is None else db), dx)

    # Mixed precision --------------------------------------------------------------------------------------------------

    def narrow(self, x: Array, precision: str, *, out: Array | None = None) -> Any:
        if x.dtype != np.float32 or not (x.flags.c_contiguous and (out is None or out.flags.c_contiguous)):
            return NotImplemented
        y = np.empty_like(x) if out is None else out
        flat = x.reshape(-1)
        return _done(self._narrow.narrow(flat.view(np.uint32), flat, y.reshape(-1), *_FORMATS[precision]), y)

    # Losses and metrics -----------------------------------------------------------------------------------------------

    def softmax(self, x: Array, *, out: Array | None = None) -> Any:
        y = np.empty_like(x) if out is None else out
        if x.size > _LARGE and not (x.flags.c_contiguous and y.flags.c_contiguous):
            return NotImplemented
        return _done(self._by_rows(x, lambda part, _: self._softmax.softmax(x[part], y[part])), y)

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
        kernel = self._softmax.cross_entropy_of_labels if t.ndim == 1 else self._softmax.cross_entropy_of_rows
        return self._loss(kernel, z, t, weight, bias, dz, db)

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
        kernel, numbers = self._formula.loss(formula), _nothing(z) if hyper is None else hyper

        def with_numbers(z: Array, t: Array, *others: Any) -> Any:
            return kernel(z, t, numbers, *others)

        return self._loss(with_numbers, z, t, weight, bias, dz, db)

    def _loss(
        self,
        kernel: Any,
        z: Array,
        t: Array,
        weight: Array | None,
        bias: Array | None,
        dz: Array | None,
        db: Array | None,
    ) -> Any:
        weight, bias, db = (_nothing(z) if given is None else given for given in (weight, bias, db))
        dz, n = np.empty_like(z) if dz is None else dz, len(z)
        if z.size > _LARGE and not (z.flags.c_contiguous and dz.flags.c_contiguous):
            return NotImplemented
        loss = self._by_rows(z, lambda part, sums: kernel(z[part], t[part], weight[part], bias, dz[part], sums, n), db)
        return loss if loss is NotImplemented else z.dtype.type(loss / n)

    def count_correct(self, y: Array, t: Array) -> Any:
        count = self._reduce.count_correct(y, t if t.ndim == 1 else np.argmax(t, axis=1))
        return count if count is NotImplemented else np.int64(count)

    def sum_squares(self, x: Array) -> Any:
        total = self._sum_squares(x)
        return total if total is NotImplemented else x.dtype.type(total)

    def global_norm(self, x: Array) -> Any:
        total = self._sum_squares(x)
        return total if total is NotImplemented else x.dtype.type(math.sqrt(total))

    def _sum_squares(self, x: Array) -> Any:
        if not x.flags.c_contiguous:
            return NotImplemented
        flat, kernel = x.reshape(-1), self._reduce.sum_squares
        if x.size <= _LARGE or kernel(flat[:0]) is NotImplemented:
            return kernel(flat)
        totals = [0.0] * -(-flat.size // _SLICE)

        def part(low: int, high: int) -> None:
            totals[low // _SLICE] = kernel(flat[low:high])

        self._pool.run(part, flat.size, _SLICE)
        return sum(totals)

    # Optimizers -------------------------------------------------------------------------------------------------------

    def clip_(self, hyper: Array, norm: Array, limit: Array) -> None:
        hyper[-1] *= limit / np.maximum(norm * hyper[-1], limit)

    def update_(
        self, formula: Formula, hyper: Array, *buffers: Array, decay: int = 0, guard: Array | None = None
    ) -> Any:
        kernel = self._formula.update(formula)
        if guard is not None and not math.isfinite(guard):
            return None
        if buffers[0].ndim != 1:
            if not all(b.flags.c_contiguous for b in buffers):
                return NotImplemented
            buffers = tuple(b.reshape(-1) for b in buffers)
        size = buffers[0].size
        if decay and ("weight_decay" not in formula.scalars or hyper[formula.scalars.index("weight_decay")] == 0):
            decay = 0
        # The first call, on an empty part, tells whether the kernel takes these arrays before anything is written.
        if size <= _LARGE:
            if decay and kernel(*buffers, hyper, 0, decay, 1) is NotImplemented:
                return NotImplemented
            return kernel(*buffers, hyper, decay, size, 0) if decay < size else None
        if kernel(*buffers, hyper, 0, 0, 0) is NotImplemented:
            return NotImplemented

        def part(low: int, high: int) -> None:
            if low < decay:
                kernel(*buffers, hyper, low, min(high, decay), 1)
            if high > decay:
                kernel(*buffers, hyper, max(low, decay), high, 0)

        self._pool.run(part, size, _SLICE)
        return None


def _rows_of_slice(x: Array) -> int:
    """Return how many rows of x one thread takes at a time."""
    return max(1, _SLICE // x.shape[1])


def _nothing(x: Array) -> Array:
    return _NOTHING.get(x.dtype, x)


def _done(result: Any, out: Array) -> Any:
    return NotImplemented if result is NotImplemented else out
