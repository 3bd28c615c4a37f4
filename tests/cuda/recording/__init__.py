"""The real CuPy over a CUDA runtime that only writes down its calls: what `host_cupy`, a CuPy of our own, cannot show.

CuPy's pools, streams, graphs, packing of arguments and NVRTC are the real ones, and need no GPU. Nothing is computed.
It takes a process of its own, since CuPy must not have been imported before: see `checks.py` and `test_recording.py`.

    import recording
    cuda = recording.start()       # before `import cupy`
    ...                            # train with backend="cupy"
    print(cuda.problems, cuda.calls)
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ._bindings import install, why_not

if TYPE_CHECKING:
    from ._runtime import RecordingCuda

__all__ = ["quiet", "start", "watched_blocks", "why_not"]

_extension: Any = None


def start() -> "RecordingCuda":
    """Put the recording runtime in CUDA's place, for the rest of this process."""
    global _extension  # noqa: PLW0603  it is the process' CUDA
    from cupy_backends.cuda.api import runtime

    from ._runtime import RecordingCuda

    cuda = RecordingCuda(runtime.CUDARuntimeError, runtime.runtimeGetVersion())
    _extension = install(cuda.dispatch)
    import cupy

    default = cupy.get_default_memory_pool().malloc
    cuda.is_private = lambda: cupy.cuda.get_allocator() != default
    cupy.RawModule = _checked(cupy.RawModule, cuda)
    _replace_cublaslt(cuda)
    return cuda


@contextmanager
def quiet() -> Iterator[None]:
    """Calls that a step makes all the time do nothing, in C, and are not written down: Python's own time remains."""
    _extension.set_quiet(True)
    try:
        yield
    finally:
        _extension.set_quiet(False)


@contextmanager
def watched_blocks(cuda: "RecordingCuda") -> Iterator[None]:
    """For what this thread allocates: to launch a graph that uses what CuPy's pool has got back is a problem."""
    import cupy

    class Watch(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "watch"

        def malloc_postprocess(self, *, device_id: int, size: int, mem_size: int, mem_ptr: int, pmem_id: int) -> None:
            cuda.given.add(mem_ptr, mem_size)

        def free_preprocess(self, *, device_id: int, mem_size: int, mem_ptr: int, pmem_id: int) -> None:
            cuda.given.remove(mem_ptr)

    with Watch():
        yield


def _checked(raw_module: Any, cuda: "RecordingCuda") -> Any:
    """CuPy's class of modules, whose kernels tell the runtime how large the arguments are that they are given: at the
    launch itself CUDA sees addresses only."""
    import cupy
    import numpy as np

    def size(argument: Any) -> int:
        if isinstance(argument, cupy.ndarray):
            return 8
        if isinstance(argument, np.generic):
            return argument.nbytes
        raise TypeError(f"a kernel is given {argument!r}, which is neither an array nor a NumPy scalar")

    class CheckedModule(raw_module):  # type: ignore[misc]
        def get_function(self, name: str) -> Any:
            kernel = super().get_function(name)

            def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], **settings: Any) -> None:
                cuda.arguments.sizes = [size(argument) for argument in args]
                kernel(grid, block, args, **settings)

            return launch

    return CheckedModule


def _replace_cublaslt(cuda: "RecordingCuda") -> None:
    from nnx_cupy import _cublaslt

    from ._cublaslt import RecordingLt

    real = None
    with suppress(Exception):  # it is not installed: whatever the search for it raises
        real = _cublaslt.library()
    library = RecordingLt(cuda, real)
    _cublaslt.library = lambda: library
