"""The conformance kit on our kernels alone, for compute-sanitizer: `compute-sanitizer python bench/gpu/own_kernels.py`.

Inside cuBLAS the sanitizer reports what is none of ours: products are declined to it, and fall to our own kernel.
CuPy's pool is switched off: it rounds every array up to 512 bytes, and an access behind the end would be a valid one.
"""

import sys
from typing import Any

from nnx_cupy import CupyBackend
from nnx_cupy._device import CudaDevice

from nnx import testing
from nnx.ops.spec import OPERATIONS


class NoLibrary:
    """In the place of a `LtGemm`."""

    def affine(self, *_: Any, **__: Any) -> Any:
        return NotImplemented

    affine_dx = affine_dw = affine


class OwnKernels(CudaDevice):
    def gemm(self) -> Any:
        return NoLibrary()


def main() -> int:
    """1 if a check failed. Each operation has its line as soon as it is done, should the time run out."""
    backend, failed = CupyBackend(OwnKernels()), 0
    for op in OPERATIONS:
        report = testing.run(backend, [op])
        print(f"{op}: {'passed' if report.ok else report}", flush=True)
        failed |= not report.ok
    return int(failed)


if __name__ == "__main__":
    import cupy

    cupy.cuda.set_allocator(None)  # before anything is allocated
    sys.exit(main())
