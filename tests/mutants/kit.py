"""The conformance kit until its first failure, of which 1 is the exit status: `kit.py BACKEND [OP ...]`.

The backends beside nnx's own: `composed` has the required members alone, so that the specification runs; `blocks` is
the NumPy backend with blocks of 16 elements; `emulated` is the CuPy backend on the emulator of tests/cuda, run in
several orders of the warps, in the last of them with arrays behind which no memory can be read.
"""

import argparse
import ctypes
import mmap
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]


def backends(name: str) -> list[Any]:
    """Make the backend; the emulated one once for each order of warps: a missing barrier may show in one only."""
    if name == "composed":
        sys.path.insert(0, str(TESTS / "conformance"))
        from conftest import MembersOnly

        return [MembersOnly()]
    if name == "blocks":
        import nnx_numpy

        nnx_numpy._formula.BLOCK = nnx_numpy._backend.BLOCK = nnx_numpy._pictures.BLOCK = 16
        return [nnx_numpy.NumpyBackend()]
    if name == "emulated":
        sys.path.insert(0, str(TESTS / "cuda"))
        from emulator import EmulatedBackend

        return [EmulatedBackend(order) for order in (0, 1, 7)]
    from nnx import get_backend

    return [get_backend(name)]


def at_the_end(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Copy an array to where the memory behind it cannot be read."""
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, size + mmap.PAGESIZE), np.uint8)
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(memory.ctypes.data + size), ctypes.c_size_t(mmap.PAGESIZE), 0)
    copy = memory[size - array.nbytes : size].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def guard() -> None:
    """Give the kernels copies of contiguous arrays, which end where memory does: none of them is aligned for packs."""
    from emulator import Kernel

    call: Any = Kernel.__call__

    def guarded(self: Any, grid: Any, block: Any, args: tuple[Any, ...], **options: Any) -> None:
        copies: dict[tuple[int, int], Any] = {}  # one for each array, and for each place if two are the same

        def copy(a: Any) -> Any:
            if not isinstance(a, np.ndarray) or not a.flags.c_contiguous:
                return a
            return copies.setdefault((a.ctypes.data, a.nbytes), (a, at_the_end(a)))[1]

        call(self, grid, block, tuple(copy(a) for a in args), **options)
        for array, copied in copies.values():
            array[...] = copied

    Kernel.__call__ = guarded  # type: ignore[method-assign]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("ops", nargs="*")
    parser.add_argument(
        "--without", nargs="*", default=[], help="leave out checks with one of these words in their names"
    )
    parser.add_argument(
        "--dtype", help="of the floating-point checks: one, to compile once; float32 for `emulated` (default: both)"
    )
    arguments = parser.parse_intermixed_args()
    from nnx import testing
    from nnx.ops import Ops

    checks = [c for c in testing.checks(arguments.ops or None) if not any(w in c.id for w in arguments.without)]
    dtype = arguments.dtype or ("float32" if arguments.backend == "emulated" else None)
    if dtype:
        others = {"float32", "float64"} - {dtype}
        checks = [c for c in checks if c.id.split("-")[0] not in others]
    made = backends(arguments.backend)
    for backend in made:
        if arguments.backend == "emulated" and backend is made[-1]:
            guard()
        ops = Ops(backend)
        for check in checks:
            try:
                check.run(ops)
            except Exception as error:
                print(f"{check.name}: {error}")
                return 3 if "kernels.cu:" in str(error) and "error:" in str(error) else 1
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what a mutant computes may overflow
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a mutant may have broken what runs at an exit
