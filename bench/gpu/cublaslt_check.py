"""What only a GPU can tell of cuBLASLt: `python bench/gpu/cublaslt_check.py FILE.json`, about a minute.

The first script to run on a GPU: which epilogues have an algorithm and are right, what the library's ReLU, which nnx
does not use, makes of a zero and a NaN, whether results repeat bit for bit, whether everything can be captured, and
what a node of a graph costs. The file is written anew after every result. A call that is refused is written down and
harms no other; the exit status is 1 if anything failed or was wrong.
"""

import json
import os
import statistics
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import _inside
import cupy
import numpy as np
from nnx_cupy import _cublaslt as lt

from nnx.bench.report import Report

SHAPES = [
    *((100, 784, 50), (100, 50, 10), (100, 784, 100), (100, 100, 100)),
    *((256, 784, 1024), (256, 1024, 1024), (256, 1024, 10)),
    *((7, 3, 5), (33, 129, 257), (2, 2, 2)),
]
"""n, i, o: of x, (n, i), and w, (i, o). Networks' first."""
OF_NETWORKS = 7
KINDS = [
    *(("float32", "float32", False), ("float32", "float32", True), ("float64", "float64", False)),
    *((half, output, False) for half in ("float16", "bfloat16") for output in (half, "float32")),
]
"""dtypes of the operands and of the output, and whether TF32 is allowed."""
TOLERANCE = {"float64": 1e-11, "float32": 3e-5, "float16": 2e-2, "bfloat16": 1e-1}
TF32_TOLERANCE = 5e-3
"""Of the largest element."""

Results = Iterator[tuple[str, Any]]
"""(name, result): written down as they come."""
rng = np.random.default_rng(0)
stream = cupy.cuda.Stream(non_blocking=True)
wrong: list[str] = []


def normal(*shape: int, dtype: str = "float32") -> Any:
    kind = dtype
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16 as kind
    return cupy.asarray(rng.normal(size=shape).astype(kind))


def empty(*shape: int, dtype: Any = "float32") -> Any:
    return cupy.empty(shape, dtype)


def on_host(array: Any) -> Any:
    return cupy.asnumpy(array).astype(np.float64)


def expect(holds: bool, what: str) -> bool:
    if not holds:
        wrong.append(what)
    return holds


def attempt(what: str, call: Callable[[], Any]) -> Any:
    """What a call returns; if it raises, a sentence that says so, and the call is among the failures."""
    try:
        return call()
    except Exception as error:  # a status that nobody foresaw is a result, too
        wrong.append(f"{what}: {type(error).__name__}")
        return f"{type(error).__name__}: {error}"


def device() -> Results:
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    yield "name", properties["name"].decode()
    yield "compute capability", f"{properties['major']}.{properties['minor']}"
    yield "cupy", cupy.__version__
    yield "driver", cupy.cuda.runtime.driverGetVersion()
    yield "cublaslt", lt.library().cublasLtGetVersion()
    yield "NVIDIA_TF32_OVERRIDE", os.environ.get("NVIDIA_TF32_OVERRIDE")


# Results --------------------------------------------------------------------------------------------------------------


def products() -> Results:
    """By kind and shape: each epilogue's error, or why it was declined."""
    for (operands, output, tf32), shape in product(KINDS, SHAPES):
        name = f"{operands} to {output}{', TF32' if tf32 else ''}, {'x'.join(map(str, shape))}"
        # One kind may be unknown to CuPy or to the library.
        yield name, attempt(name, partial(products_of, name, shape, operands, output, tf32))


def products_of(name: str, shape: tuple[int, int, int], operands: str, output: str, tf32: bool) -> dict[str, Any]:
    (n, i, o), gemm, report = shape, lt.LtGemm(tf32=tf32), {}
    tolerance = TF32_TOLERANCE if tf32 else TOLERANCE[operands]
    x, w, dy = (normal(*s, dtype=operands) for s in ((n, i), (i, o), (n, o)))
    b = normal(o, dtype=output)
    y, dx, dw, db = (empty(*s, dtype=b.dtype) for s in ((n, o), (n, i), (i, o), (o,)))
    z = on_host(x) @ on_host(w)
    with_bias, wanted_dx = z + on_host(b), on_host(dy) @ on_host(w).T
    wanted_dw, wanted_db = on_host(x).T @ on_host(dy), on_host(dy).sum(0)

    def check(epilogue: str, call: Callable[[], Any], *pairs: tuple[Any, Any]) -> None:
        result = attempt(f"{name}: {epilogue}", call)
        if isinstance(result, str):
            report[epilogue] = result
            return
        if result is NotImplemented:
            report[epilogue] = "; ".join(gemm.declined)
            gemm.declined.clear()
            return
        errors = [np.abs(on_host(got) - value).max() / (1e-9 + np.abs(value).max()) for got, value in pairs]
        report[epilogue] = float(max(errors))
        expect(report[epilogue] <= tolerance, f"{name}: {epilogue}")

    affine, affine_dx, affine_dw = (partial(partial, f) for f in (gemm.affine, gemm.affine_dx, gemm.affine_dw))
    check("none", affine(x, w, None, y), (y, z))
    check("BIAS", affine(x, w, b, y), (y, with_bias))
    check("RELU_BIAS", partial(_inside.affine_relu, gemm, x, w, b, y), (y, np.maximum(with_bias, 0)))
    check("dx", affine_dx(dy, w, dx), (dx, wanted_dx))
    check("dw", affine_dw(x, dy, dw), (dw, wanted_dw))
    check("BGRADA", affine_dw(x, dy, dw, db=db), (dw, wanted_dw), (db, wanted_db))
    return report


def special_values() -> Results:
    """What the library's ReLU makes of a zero and a NaN, as text. nnx wants that NaN stays NaN."""
    gemm, y, zeros, b = lt.LtGemm(), empty(8, 8), cupy.zeros((8, 8), "float32"), cupy.zeros(8, "float32")
    b[1] = np.nan
    result = attempt("RELU_BIAS", partial(_inside.affine_relu, gemm, zeros, zeros, b, y))
    if result is NotImplemented:
        result = "declined"
    elif not isinstance(result, str):
        result = {"zero": str(float(y[0, 0])), "NaN": str(float(y[0, 1]))}
    yield "RELU_BIAS", result


def repeatability() -> Results:
    """Distinct results of 50 runs beside work on another stream, and the splits of k in y and dw."""
    other, noise = cupy.cuda.Stream(non_blocking=True), normal(2048, 2048)
    stream.synchronize()
    x, w, dy = normal(100, 784), normal(784, 50), normal(100, 50)
    gemm = lt.LtGemm()
    y, dw, db = empty(100, 50), empty(784, 50), empty(50)
    counts: dict[str, Any] = {}
    for key, call, results in (
        ("y", partial(gemm.affine, x, w, None, y), (y,)),
        ("dw", partial(gemm.affine_dw, x, dy, dw), (dw,)),
        ("dw and db", partial(gemm.affine_dw, x, dy, dw, db=db), (dw, db)),
    ):
        counts[key] = attempt(key, partial(distinct, call, results, other, noise))
    splits = [splits_of(gemm, plan) for plan in gemm.plans.values() if plan.algorithm is not None]
    yield "results", counts
    yield "splits", splits
    yield "reductions", gemm.reductions
    expect(all(n == 1 for n in counts.values() if isinstance(n, int)), "results repeat")
    expect(max(splits, default=0) <= 1 or gemm.reductions != 0, "no split of k")


def distinct(call: Callable[[], Any], results: tuple[Any, ...], other: Any, noise: Any) -> int | str:
    """How many different bits 50 calls give."""
    seen = set()
    for _ in range(50):
        with other:
            cupy.matmul(noise, noise)
        if call() is NotImplemented:
            return "declined"
        seen.add(b"".join(cupy.asnumpy(array).tobytes() for array in results))
    return len(seen)


def splits_of(gemm: lt.LtGemm, plan: lt.Plan) -> int:
    value, written = lt.c_int32(), lt.c_size_t()
    status = gemm.lib.cublasLtMatmulAlgoConfigGetAttribute(
        lt.byref(plan.algorithm), lt.SPLIT_K, lt.byref(value), lt.sizeof(value), lt.byref(written)
    )
    gemm.check(status, "MatmulAlgoConfigGetAttribute")
    return value.value


# Graphs ---------------------------------------------------------------------------------------------------------------


def captured(record: Callable[[], Any], copies: int = 1) -> Any:
    """The graph of so many calls. What they need must exist already."""
    stream.synchronize()
    stream.begin_capture()
    try:
        for _ in range(copies):
            record()
    finally:
        graph = stream.end_capture()
    return graph


def microseconds(record: Callable[[], Any], copies: int = 20, launches: int = 200) -> float:
    """Of one call, `copies` of which are one graph: the median of its launches."""
    record()
    graph, times = captured(record, copies), []
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    for _ in range(launches):
        begin.record(stream)
        graph.launch(stream)
        end.record(stream)
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) * 1000 / copies)
    return round(statistics.median(times), 3)


def nodes() -> Results:
    """Microseconds of each product in a graph, and of a kernel that does nothing."""
    nothing = cupy.RawKernel('extern "C" __global__ void nothing() {}', "nothing")
    for many in (1, 8, 64):
        name = f"empty kernel, {many} in a graph"
        yield name, attempt(name, partial(microseconds, partial(nothing, (1,), (32,), ()), many))
    for case in product(SHAPES[:OF_NETWORKS], (False, True)):
        yield from nodes_of(*case)


def nodes_of(shape: tuple[int, int, int], tf32: bool) -> Results:
    (n, i, o), gemm = shape, lt.LtGemm(tf32=tf32)
    x, w, b, dy = normal(n, i), normal(i, o), normal(o), normal(n, o)
    y, dx, dw, db = empty(n, o), empty(n, i), empty(i, o), empty(o)
    calls: dict[str, Callable[[], Any]] = {
        "affine": lambda: gemm.affine(x, w, b, y),
        "affine and ReLU": lambda: _inside.affine_relu(gemm, x, w, b, y),
        "dx": lambda: gemm.affine_dx(dy, w, dx),
        "dw": lambda: gemm.affine_dw(x, dy, dw),
        "dw and db": lambda: gemm.affine_dw(x, dy, dw, db=db),
    }

    def time_of(call: Callable[[], Any]) -> Any:
        return "declined" if call() is NotImplemented else microseconds(call)

    for what, call in calls.items():
        name = f"{n}x{i}x{o}, {what}{', TF32' if tf32 else ''}"
        yield name, attempt(name, partial(time_of, call))


CROSS_ENTROPY = r"""
extern "C" __global__ void cross_entropy(const float *z, const int *t, float *dz, float *loss, int n, int c) {
  int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= n) return;
  z += row * c, dz += row * c;
  float top = z[0], sum = 0;
  for (int k = 1; k < c; k++) top = fmaxf(top, z[k]);
  for (int k = 0; k < c; k++) sum += expf(z[k] - top);
  for (int k = 0; k < c; k++) dz[k] = (expf(z[k] - top) / sum - (k == t[row])) / n;
  loss[row] = logf(sum) + top - z[t[row]];
}
"""
RELU_BACKWARD = r"""
extern "C" __global__ void relu_backward(float *dh, const float *h, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) dh[i] *= h[i] > 0;
}
"""
SGD = r"""
extern "C" __global__ void sgd(float *p, const float *g, const float *hyper, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) p[i] -= hyper[0] * g[i];
}
"""


class Step:
    """A training step of 784-50-10 by eight launches. branches: dw of the second layer on a stream of its own,
    beside dx."""

    def __init__(self, *, tf32: bool, branches: bool) -> None:
        self._gemm, self._branches = lt.LtGemm(tf32=tf32), branches
        self._side = cupy.cuda.Stream(non_blocking=True)
        self._begin, self._end = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
        self._cross_entropy = cupy.RawKernel(CROSS_ENTROPY, "cross_entropy")
        self._relu_backward = cupy.RawKernel(RELU_BACKWARD, "relu_backward")
        self._sgd = cupy.RawKernel(SGD, "sgd")
        shapes = ((784, 50), (50,), (50, 10), (10,))
        starts = np.cumsum([0, *(-(-int(np.prod(shape)) // 32) * 32 for shape in shapes)])
        self.parameters, self._gradients = (cupy.zeros(int(starts[-1]), "float32") for _ in range(2))
        (self._w1, self._b1, self._w2, self._b2), (self._dw1, self._db1, self._dw2, self._db2) = (
            [flat[start : start + int(np.prod(s))].reshape(s) for start, s in zip(starts[:-1], shapes, strict=True)]
            for flat in (self.parameters, self._gradients)
        )
        self._w1[...], self._w2[...] = normal(784, 50) * 0.05, normal(50, 10) * 0.05
        self._x, self._t = normal(100, 784), cupy.asarray(rng.integers(0, 10, 100).astype("int32"))
        self._hyper = cupy.asarray(np.array([0.1], "float32"))
        self._h, self._z, self._dz, self._dh = empty(100, 50), empty(100, 10), empty(100, 10), empty(100, 50)
        self._loss = empty(100)

    def __call__(self) -> bool:
        """Whether nothing was declined."""
        gemm, n, c = self._gemm, np.int32(100), np.int32(10)
        results = [
            _inside.affine_relu(gemm, self._x, self._w1, self._b1, self._h),
            gemm.affine(self._h, self._w2, self._b2, self._z),
        ]
        self._cross_entropy((1,), (128,), (self._z, self._t, self._dz, self._loss, n, c))
        if self._branches:
            self._begin.record(stream)
            self._side.wait_event(self._begin)
            with self._side:
                results.append(gemm.affine_dw(self._h, self._dz, self._dw2, db=self._db2))
                self._end.record(self._side)
        else:
            results.append(gemm.affine_dw(self._h, self._dz, self._dw2, db=self._db2))
        results.append(gemm.affine_dx(self._dz, self._w2, self._dh))
        self._relu_backward((-(-self._dh.size // 256),), (256,), (self._dh, self._h, np.int32(self._dh.size)))
        results.append(gemm.affine_dw(self._x, self._dh, self._dw1, db=self._db1))
        if self._branches:
            stream.wait_event(self._end)
        size = self.parameters.size
        self._sgd((-(-size // 256),), (256,), (self.parameters, self._gradients, self._hyper, np.int32(size)))
        return all(result is not NotImplemented for result in results)


def steps() -> Results:
    """The step as a graph: whether it has the bits of one that is not, its nodes, and its microseconds."""
    for branches, tf32 in product((False, True), (False, True)):
        name = f"784-50-10, {'two branches' if branches else 'one stream'}{', TF32' if tf32 else ''}"
        yield name, attempt(name, partial(step_of, name, branches, tf32))


def step_of(name: str, branches: bool, tf32: bool) -> Any:
    step = Step(tf32=tf32, branches=branches)
    start = step.parameters.copy()
    if not step():
        return "declined"
    step.parameters[...] = start
    for _ in range(20):
        step()
    expected = cupy.asnumpy(step.parameters)
    step.parameters[...] = start
    graph = captured(step)
    for _ in range(20):
        graph.launch(stream)
    same = bool((cupy.asnumpy(step.parameters) == expected).all())
    return {
        "the graph has the bits of launches": expect(same, f"{name}: bits of the graph"),
        "nodes": _inside.count(graph)["all"],
        "microseconds, one step in a graph": microseconds(step, 1, 500),
        "microseconds, eight steps in a graph": microseconds(step, 8, 500),
    }


def main(path: Path) -> int:
    report = Report(path)
    report["failures"] = wrong
    for part in (device, products, special_values, repeatability, nodes, steps):
        report[part.__name__] = {}
        try:
            with stream:
                for name, result in part():
                    report.add(part.__name__, name, result)
        except Exception:
            wrong.append(part.__name__)
            report.add(part.__name__, "failed", traceback.format_exc())
    report.finish()
    print(json.dumps({key: report[key] for key in ("device", "special_values", "repeatability", "steps")}, indent=1))
    print(f"{len(wrong)} failures{': ' if wrong else ''}{'; '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
