"""The operations on Numba's kernels. A kernel declines by itself what it was not compiled for: layouts, dtypes."""

import importlib.util
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from ._calls import as_columns, as_rows, done, nothing, nothing_but, one
from ._jobs import divide, of_first_part, part_by_part, partition, written
from ._pictures import PictureOps
from ._record import RecordedStep
from ._team import Team
from ._threads import thread_count

Array = np.ndarray[Any, Any]
Formula = Any  # of nnx, of which a plugin imports nothing; its attributes are in docs/writing-a-backend.md

# Products of no more multiplications are our own. BLAS' threads wait for each other by spinning: beside four busy
# processes on two cores a step of 784-50-10 took 140 times as long as alone, with our team 4 times. Where all is quiet,
# steps take as long as with OpenBLAS (an EPYC with AVX-512).
LARGEST_OWN = 500_000_000
# Elements beyond which a call that is no part of a recorded step wakes the team.
_LARGE = 2_097_152
_KEY = 7
"""Words of a random key."""
_SMALL = 2**20
"""Bytes of memory that every call of a recorded step may have for itself."""
_KERNELS = {"affine": "after_product", "update_": "update"}
"""Where nnx_kernels.cpu.formula has an operation's kernels under another name."""
_FORMATS = {
    "bfloat16": np.array([2.0**-7, 2.0**-133, (2 - 2.0**-7) * 2.0**127]),
    "float16": np.array([2.0**-10, 2.0**-24, 65504.0]),
}
"""The distance of neighbours from 1 to 2, the least and the greatest number."""


class NumbaBackend(PictureOps):
    """Fused kernels on any CPU. `NNX_NUM_THREADS` sets the threads of BLAS (process-wide) and of our own team."""

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
            axes,
            batch_norm,
            bias,
            convolution,
            formula,
            gather,
            narrow,
            philox,
            pooling,
            product,
            reduce,
            repeat,
            scalars,
            softmax,
            team,
        )
        from threadpoolctl import ThreadpoolController

        self._jit = _jit
        self._batch_norm, self._bias, self._gather = batch_norm, bias, gather
        self._narrow, self._philox, self._reduce, self._formula = narrow, philox, reduce, formula
        self._softmax, self._scalars, self._product_kernels = softmax, scalars, product
        self._convolution, self._pooling, self._axes = convolution, pooling, axes
        controller, asked = ThreadpoolController(), thread_count()
        if asked is not None:
            controller.limit(limits=asked, user_api="blas")
        blas = [pool["num_threads"] for pool in controller.info() if pool["user_api"] == "blas"]
        self._team = Team(asked or max(blas, default=1), team)
        self._own = threading.local()
        self._compiled = not product.part_of_product.interpreted
        self._own_products = product.FUSED and self._compiled
        self._of_jobs = SimpleNamespace(jit=_jit, team=team, product=product, bias=bias, scalars=scalars, repeat=repeat)

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
            "threads": str(self._team.threads),
            "products": f"register tiles up to {LARGEST_OWN:,} multiplications" if self._own_products else "BLAS",
            **blas(),
        }
        if self._jit.uncached:
            info["kernel cache"] = "no writable folder: kernels are compiled anew in every process"
        return info

    @property
    def compile_seconds(self) -> float:
        """The seconds that this process has spent compiling kernels."""
        return self._jit.seconds

    def warm_up(self, formulas: Iterable[tuple[str, Formula]] = ()) -> Iterator[tuple[str, int]]:
        """Compile every kernel for both dtypes, those of formulas by the operations that take them among them.

        Yields each kernel's name, and how many there are.
        """
        for operation, formula in formulas:
            getattr(self._formula, _KERNELS.get(operation, operation))(formula)
        self._jit.silent = True  # who asks for it knows
        versions = [(kernel, dtype) for kernel in self._jit.kernels for dtype in kernel.dtypes]
        for kernel, dtype in versions:
            kernel.compile(dtype)
            yield f"{kernel.name} {dtype}", len(versions)

    def allocate(self, size: int, dtype: str) -> Array:
        # np.zeros aligns to 16 bytes only, and an optimizer's pass over misaligned memory is slower.
        itemsize = np.dtype(dtype).itemsize
        memory = np.zeros(size * itemsize + 127, np.uint8)
        start = -memory.ctypes.data % 128
        return memory[start : start + size * itemsize].view(dtype)

    # Data -------------------------------------------------------------------------------------------------------------

    def take(self, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Any:
        dtype = data.dtype if scale is None else scale.dtype
        y = np.empty((len(index), *data.shape[1:]), dtype) if out is None else out
        if not (data.flags.c_contiguous and y.flags.c_contiguous):
            return NotImplemented
        if scale is None:
            if y.dtype == np.int64 and y.ndim == 1:
                return done(self._run(self._gather.take_labels, data, index, y), y)
            return done(self._run(self._gather.take_rows, as_rows(data), index, as_rows(y)), y)
        kernel = self._gather.take_bytes if data.dtype == np.uint8 else self._gather.take_scaled
        return done(self._run(kernel, as_rows(data), index, one(scale), as_rows(y)), y)

    def capture(self, step: Callable[..., Any], examples: tuple[Array, ...]) -> Any:
        if not self._compiled or not all(isinstance(example, np.ndarray) for example in examples):
            return NotImplemented  # sparse rows are no memory of a fixed size
        return RecordedStep(self._team, self._of_jobs, step, examples)

    def in_python(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            recorder = self._jit.recording.recorder
            return function(*args, **kwargs) if recorder is None else recorder.outside(function, args, kwargs)

        return run

    def _run(self, kernel: Any, *args: Any) -> Any:
        """Call a kernel; the team shares large arrays and much work.

        Sums are over the parts that a recorded step has, so that they are the same bits.
        """
        if kernel.rows and self._jit.recording.recorder is None:
            shared = kernel.most is not None or max([args[i].size for i in kernel.rows]) > _LARGE
            n, rows = partition(kernel, args)
            if rows < n and (shared or kernel.sums or kernel.own):
                return self._in_parts(kernel, args, rows, shared)
            args = of_first_part(kernel, args)
        return kernel(*args)

    def _in_parts(self, kernel: Any, args: tuple[Any, ...], rows: int, shared: bool) -> Any:
        given = list(of_first_part(kernel, args))
        dtype = kernel.dtype_for(given)
        if dtype is None:
            return NotImplemented
        if kernel.interpreted:
            sums = part_by_part(kernel, args, rows)
        else:
            parts, moves, sums = divide(kernel, list(args), given, self._jit, rows)
            job = written(kernel, dtype, given, parts, moves, self._jit, self._of_jobs.team.MOST)
            if job is None:  # a user's optimizer with many arrays, which has no sums
                return kernel(*args)
            self._team.do(job, alone=not shared)
        for every, out in sums:
            self._bias.column_sums(every, out)
        return None

    # Layers -----------------------------------------------------------------------------------------------------------

    def _product(self, a: Array, b: Array, out: Array | None, *, transposed: bool = False) -> Array:
        """Compute a @ b, or a.T @ b, on all arrays that np.matmul takes; it refuses the others."""
        m, k, n = a.shape[transposed], a.shape[not transposed], b.shape[1]
        if self._own_products and k == len(b) and m * n * k <= LARGEST_OWN:
            y = np.empty((m, n), b.dtype) if out is None else out
            if y.shape == (m, n) and self._tiles(a, b, y, transposed) is not NotImplemented:
                return y
        return self._blas(a.T if transposed else a, b, out)

    def _tiles(self, a: Array, b: Array, c: Array, transposed: bool) -> Any:
        """Compute c = a @ b, or a.T @ b, in register tiles; return NotImplemented for arrays that they do not take."""
        recorder, kernels, (m, n) = self._jit.recording.recorder, self._product_kernels, c.shape
        if recorder is not None:
            return recorder.product(a, b, c, transposed, *kernels.parts(m, n, len(b), c.itemsize))
        if a.size * n < 2 * kernels.SHARE or self._team.threads == 1:
            return kernels.product(a, b, c, transposed)
        job = kernels.job(a, b, c, transposed, *kernels.parts(m, n, len(b), c.itemsize))
        if job is not NotImplemented:
            self._team.do(job)
        return job

    def _blas(self, a: Array, b: Array, out: Array | None) -> Array:
        recorder = self._jit.recording.recorder
        if recorder is None:
            return np.matmul(a, b, out=out)
        y = np.empty((len(a), b.shape[1]), a.dtype) if out is None else out
        result: Array = recorder.call(np.matmul, a, b, out=y)
        return result

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return memory of this thread's, or of the step that it records: to get it anew costs more than to use it."""
        size, recorder = math.prod(shape) * dtype.itemsize, self._jit.recording.recorder
        if recorder is not None and size <= _SMALL:
            return np.empty(shape, dtype)  # two calls that share it would wait for each other
        held = self._own.__dict__ if recorder is None else recorder.own
        memory: Array | None = held.get(name)
        if memory is None or memory.size < size:
            memory = held[name] = np.empty(size, np.uint8)
        return memory[:size].view(dtype).reshape(shape)

    def _product_by_transposed(self, a: Array, b: Array, out: Array) -> None:
        """Compute a @ b.T, whose tiles want rows where b has columns: b is transposed, or a and the result are."""
        (m, k), n, turn = a.shape, len(b), self._axes.transpose
        if self._own_products and k == b.shape[1] and out.shape == (m, n) and m * n * k <= LARGEST_OWN:
            if m * (n + k) < n * k:
                turned, result = self._scratch("one", (k, m), a.dtype), self._scratch("other", (n, m), a.dtype)
                steps: Any = (
                    (self._run, turn, a, turned, 0),
                    (self._tiles, b, turned, result, False),
                    (self._run, turn, result, out, 0),
                )
            else:
                turned = self._scratch("one", (k, n), b.dtype)
                steps = ((self._run, turn, b, turned, 0), (self._tiles, a, turned, out, False))
            if all(step(*arrays) is not NotImplemented for step, *arrays in steps):
                return
        self._blas(a, b.T, out)

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
        return self._finish(self._product(x, w, out), b, activation)

    def _finish(self, y: Array, b: Array | None, activation: Formula | None) -> Any:
        """Add a bias to a product, and compute the activation of that, in place."""
        if b is None and activation is None:
            return y
        finish = self._bias.add_bias if activation is None else self._formula.after_product(activation)
        rows = as_columns(y)
        return done(self._run(finish, rows, np.zeros(rows.shape[1], y.dtype) if b is None else b), y)

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
        if db is not None and self._run(self._bias.column_sums, dy, db) is NotImplemented:
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
        return done(self._run(self._formula.activation(formula), x.reshape(-1), y.reshape(-1)), y)

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
        if dy.ndim != 2:
            given = [as_columns(a) for a in given]
        return done(self._run(kernel, *given, nothing(dy) if db is None else db), dx)

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
        kernels, given = self._batch_norm, (x, gamma, beta, mean, var, hyper, y)
        if kernels.normalise.declines(*given):
            return NotImplemented
        n, rows = partition(kernels.moments, (x,))
        means, squares = np.empty((2, -(-n // rows), x.shape[1]), x.dtype)
        self._run(kernels.moments, x, means, squares)
        kernels.merge(means, squares, rows, n, mean, var)
        return done(self._run(kernels.normalise, *given), y)

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
        kernels, given = self._batch_norm, (dy, x, gamma, mean, var, hyper, dgamma, dbeta, len(x), dx)
        if kernels.input_gradient.declines(*given):
            return NotImplemented
        self._run(kernels.gradient_sums, dy, x, mean, dgamma, dbeta)
        kernels.standardise(dgamma, var, hyper)
        if db is not None:
            self._bias.clear(db)
        return done(self._run(kernels.input_gradient, *given), dx)

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
        return done(self._run(self._batch_norm.normalise, x, gamma, beta, mean, var, hyper, y), y)

    # Random numbers ---------------------------------------------------------------------------------------------------

    def philox(self, rng: Array, size: int, row: int = 1) -> Any:
        if rng.size < _KEY:
            return NotImplemented
        words = np.empty(size, np.uint32)
        return done(self._philox.philox(rng, words, row), words)

    def dropout(
        self, x: Array, rng: Array, factor: Array, *, out: Array | None = None, mask: Array | None = None
    ) -> Any:
        y = np.empty_like(x) if out is None else out
        kept = np.empty(x.shape, bool) if mask is None else mask
        if not (x.flags.c_contiguous and y.flags.c_contiguous and kept.flags.c_contiguous) or rng.size < _KEY:
            return NotImplemented
        flat = x.reshape(-1), rng, one(factor), y.reshape(-1), kept.reshape(-1)
        return done(self._run(self._philox.dropout, *flat, math.prod(x.shape[1:]), 0), y)

    def dropout_backward(
        self, dy: Array, mask: Array, factor: Array, *, out: Array | None = None, db: Array | None = None
    ) -> Any:
        dx = np.empty_like(dy) if out is None else out
        if not (dy.flags.c_contiguous and mask.flags.c_contiguous and dx.flags.c_contiguous) or dy.ndim == 0:
            return NotImplemented
        given = as_columns(dy), as_columns(mask), one(factor), as_columns(dx), nothing(dy) if db is None else db
        return done(self._run(self._philox.dropout_backward, *given), dx)

    # Mixed precision --------------------------------------------------------------------------------------------------

    def narrow(self, x: Array, precision: str, *, out: Array | None = None) -> Any:
        if x.dtype != np.float32 or not (x.flags.c_contiguous and (out is None or out.flags.c_contiguous)):
            return NotImplemented
        y = np.empty_like(x) if out is None else out
        flat = x.reshape(-1)
        given = flat.view(np.uint32), flat, y.reshape(-1), _FORMATS[precision]
        return done(self._run(self._narrow.narrow, *given), y)

    def rescale_(self, x: Array, scaling: Array) -> Any:
        if not x.flags.c_contiguous:
            return NotImplemented
        return nothing_but(self._run(self._scalars.rescale, x.reshape(-1), scaling))

    def unscale_(self, hyper: Array, norm: Array, scaling: Array) -> Any:
        return nothing_but(self._scalars.unscale(hyper, one(norm), scaling))

    # Losses and metrics -----------------------------------------------------------------------------------------------

    def softmax(self, x: Array, *, out: Array | None = None) -> Any:
        y = np.empty_like(x) if out is None else out
        kernel = self._softmax.softmax_of_wide if self._wide(x) else self._softmax.softmax
        return done(self._run(kernel, x, y), y)

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
        kernels = self._softmax
        if t.ndim == 1:
            kernel = kernels.cross_entropy_of_labels_of_wide if self._wide(z) else kernels.cross_entropy_of_labels
        else:
            kernel = kernels.cross_entropy_of_rows
        return self._loss(kernel, z, t, weight, bias, dz, db)

    def _wide(self, z: Array) -> bool:
        """Return whether rows have kernels of their own, for wide ones: who has only narrow ones compiles half."""
        return z.ndim == 2 and z.shape[1] >= self._softmax.WIDE

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
        numbers = nothing(z) if hyper is None else hyper
        return self._loss(self._formula.loss(formula), z, t, weight, bias, dz, db, numbers)

    def _loss(
        self,
        kernel: Any,
        z: Array,
        t: Array,
        weight: Array | None,
        bias: Array | None,
        dz: Array | None,
        db: Array | None,
        *hyper: Array,
    ) -> Any:
        weight, bias, db = (nothing(z) if given is None else given for given in (weight, bias, db))
        dz, n, total = np.empty_like(z) if dz is None else dz, len(z), np.empty(1)
        if self._run(kernel, z, t, *hyper, weight, bias, dz, db, total, n) is NotImplemented:
            return NotImplemented
        return self._number(self._scalars.divide, z, total, n)

    def _number(self, kernel: Any, like: Array, *given: Any) -> Any:
        """Return the number that a kernel makes, 0-d."""
        out = np.empty(1, like.dtype)
        return done(kernel(*given, out), out.reshape(()))

    def count_correct(self, y: Array, t: Array) -> Any:
        count = self._reduce.count_correct(y, t if t.ndim == 1 else np.argmax(t, axis=1))
        return count if count is NotImplemented else np.int64(count)

    def sum_squares(self, x: Array) -> Any:
        total = self._sum_squares(x)
        return total if total is NotImplemented else self._number(self._scalars.divide, x, total, 1)

    def global_norm(self, x: Array) -> Any:
        total = self._sum_squares(x)
        return total if total is NotImplemented else self._number(self._scalars.square_root, x, total)

    def _sum_squares(self, x: Array) -> Any:
        """Return the sum of squares, in float64, (1,)."""
        if not x.flags.c_contiguous:
            return NotImplemented
        total = np.empty(1)
        return (
            total if self._run(self._reduce.sum_squares, x.reshape(-1), total) is not NotImplemented else NotImplemented
        )

    # Optimizers -------------------------------------------------------------------------------------------------------

    def clip_(self, hyper: Array, norm: Array, limit: Array) -> Any:
        return nothing_but(self._scalars.clip(hyper, one(norm), one(limit)))

    def update_(
        self, formula: Formula, hyper: Array, *buffers: Array, decay: int = 0, guard: Array | None = None
    ) -> Any:
        if buffers[0].ndim != 1:
            if not all(b.flags.c_contiguous for b in buffers):
                return NotImplemented
            buffers = tuple(b.reshape(-1) for b in buffers)
        judge = nothing(hyper) if guard is None else one(guard)
        return nothing_but(self._run(self._formula.update(formula), *buffers, hyper, judge, 0, decay))
