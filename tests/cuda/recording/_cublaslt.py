# ruff: noqa: N802  the functions have the library's names
"""cuBLASLt over the recording runtime: descriptors and rules are checked, products written down and not computed."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from host_cublaslt import DTYPES, HostCublasLt

from ._runtime import Call, RecordingCuda


class RecordingLt(HostCublasLt):
    """real: libcublasLt, which then makes the descriptors; without it they are made in Python."""

    def __init__(self, cuda: RecordingCuda, real: Any = None) -> None:
        super().__init__(real, version=None if real else cuda.version // 1000 * 10000)
        self._cuda = cuda

    def cublasLtMatmulAlgoGetHeuristic(self, *arguments: Any) -> int:
        self._cuda.counts["cublasLtMatmulAlgoGetHeuristic"] += 1
        return super().cublasLtMatmulAlgoGetHeuristic(*arguments)

    def cublasLtMatmul(
        self, handle: int, descriptor: int, alpha: Any, a: int, la: int, b: int, lb: int, beta: Any, *rest: Any
    ) -> int:
        _, lc, d, ld, _algorithm, space, space_size, stream = rest
        p, cuda = self._checked(descriptor, la, lb, lc, ld), self._cuda
        operands = [(a, self._size(p.a)), (b, self._size(p.b)), (d, self._size(p.d)), (space, space_size)]
        if p.vector:
            operands.append((p.vector, p.m * np.dtype(DTYPES[p.d.type]).itemsize))
        stream = stream or 0
        with cuda.lock:
            for address, size in operands:
                if size and not cuda.device.holds(address or 0, size):
                    cuda.problem(f"a product uses {size} bytes where the device has no such memory: {address or 0:#x}")
            uses = tuple(address for address, size in operands if size)
            cuda.add(Call("product", f"epilogue {p.epilogue}", stream, captured=cuda.capturing(stream), uses=uses))
        return 0

    @staticmethod
    def _size(layout: SimpleNamespace) -> int:
        """Bytes from a matrix' first element to its last."""
        return int(((layout.cols - 1) * layout.ld + layout.rows) * np.dtype(DTYPES[layout.type]).itemsize)
