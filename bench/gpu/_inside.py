"""What these scripts need to know of nnx_cupy's inside and no public name tells: here, and nowhere else."""

from collections.abc import Callable
from typing import Any

from nnx_cupy._cublaslt import BIAS, LtGemm
from nnx_cupy._windows import Windows

RELU = 2
"""The epilogue of cuBLASLt that nnx would use if it kept NaN: it would save a node for each hidden layer."""


def graph(trainer: Any, n: int) -> Any:
    """CuPy's graph of the step for batches of n rows. Raises RuntimeError where that step runs launch by launch."""
    found = getattr(trainer.training_step.captured(n).run, "graph", None)
    if found is None:
        raise RuntimeError(f"the step of {n} rows is not a CUDA graph")
    return found


def count(graph: Any) -> dict[str, int]:
    """Nodes of a graph of CuPy's: "all", and those that CUDA calls MEMCPY and MEMSET; the others are kernels."""
    text = graph.debug_dot_str().upper()
    return {"all": text.count("SHAPE="), "MEMCPY": text.count("MEMCPY"), "MEMSET": text.count("MEMSET")}


def products(backend: Any) -> tuple[dict[str, int], list[str]]:
    """Of cuBLASLt: why it declined products, with how often; and each product it was asked about, in words."""
    gemm = backend._gemm
    asked = [
        f"{'no algorithm' if plan.algorithm is None else 'taken'}: {problem._asdict()}"
        for problem, plan in gemm.plans.items()
    ]
    return dict(gemm.declined), asked


def affine_relu(gemm: LtGemm, x: Any, w: Any, b: Any, y: Any) -> Any:
    """Compute y = ReLU(x @ w + b), all of it by the library."""
    return gemm._run(y, (w, False), (x, False), RELU | BIAS, b)


def patches(backend: Any, x: Any, *, back: bool) -> Callable[[], Any]:
    """Return what copies all that lies under windows of 3 x 3 pixels on pictures, or what gathers it into them."""
    windows = Windows(x.shape[1:], (3, 3), (1, 1), (1, 1), x.dtype)
    if not back:
        return lambda: backend._patches(x, windows)
    rows = backend._patches(x, windows)
    return lambda: backend._by_windows("patches.cu", "patches_backward", windows, rows, x)
