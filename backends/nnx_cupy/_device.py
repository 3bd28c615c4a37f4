"""The one seam between the backend and CUDA: arrays, kernels by name, copies and graphs. Tests put an emulator here."""

import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from ._cublaslt import LtGemm

Array = Any
HostArray = np.ndarray[Any, Any]

REAL = {"float32": "float", "float64": "double"}
"""The dtypes that the kernels are compiled for, by their names in C++."""
OPTIONS = ("-std=c++17",)
"""How they are compiled, beside `-DREAL=...`."""


_NULL = np.uint64(0)


class Kernel(Protocol):
    """Launched on the current stream; arguments: arrays, None (a null pointer) or NumPy scalars of the exact dtype."""

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None: ...


class Recorder(Protocol):
    """A stream and a memory pool of their own, for work that becomes a graph."""

    def run(self, work: Callable[[], Array]) -> Array:
        """Do it now, on this stream and from this pool: what the recording will need is then compiled and allocated."""

    def record(self, work: Callable[[], Array]) -> Array:
        """Do not do it, but write its launches down. Returns the array that every `launch` will write."""

    def launch(self) -> None:
        """Do what was recorded, on the current stream."""


class Device(Protocol):
    """What the operations need to know of the machine."""

    xp: Any
    processors: int
    """Streaming multiprocessors: grids of persistent blocks are sized by them."""
    shared_memory: int
    """Bytes of shared memory that a block may have without opting in."""

    def kernel(self, file: str, name: str, dtype: str, formula: Any = None) -> Kernel:
        """The kernel `name` of `file` for a dtype of `REAL`, and a formula where the file is a template: compiled when
        first asked for, then from memory."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array, of unknown values; raises MemoryError with advice."""

    def upload(self, host: HostArray, out: Array) -> None:
        """Copy to the device without waiting for it; `host` may be changed at once afterwards."""

    def download(self, array: Array) -> HostArray:
        """A copy on the host; waits for the device."""

    def copy(self, source: Array, out: Array) -> None:
        """Copy between C-contiguous device arrays of one shape and dtype, without waiting."""

    def synchronize(self) -> None:
        """Wait for all that was launched."""

    def gemm(self) -> Any:
        """Products through cuBLASLt: a `LtGemm`."""

    def recorder(self) -> Recorder:
        """For one graph."""

    def info(self) -> dict[str, str]:
        """What a person wants to know about it."""


class CudaDevice:
    """The current CUDA device through CuPy, which caches compiled modules on disk."""

    def __init__(self) -> None:
        import cupy

        self.xp = cupy
        attributes = cupy.cuda.Device().attributes
        self.processors = int(attributes["MultiProcessorCount"])
        self.shared_memory = int(attributes["MaxSharedMemoryPerBlock"])
        self._modules: dict[tuple[str, str, Any], Any] = {}
        self._kernels: dict[tuple[str, str, str, Any], Kernel] = {}
        self._staging = _Staging(cupy)
        self._local = threading.local()

    def kernel(self, file: str, name: str, dtype: str, formula: Any = None) -> Kernel:
        key = file, name, dtype, formula
        if key not in self._kernels:
            function = self._module(file, dtype, formula).get_function(name)

            def launch(
                grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
            ) -> None:
                # CuPy would pass None on as a missing argument, not as a null pointer.
                function(grid, block, tuple(_NULL if a is None else a for a in args), shared_mem=shared_mem)

            self._kernels[key] = launch
        return self._kernels[key]

    def _module(self, file: str, dtype: str, formula: Any = None) -> Any:
        from nnx_kernels.cuda import source

        key = file, dtype, formula
        if key not in self._modules:
            options = (*OPTIONS, f"-DREAL={REAL[dtype]}")
            self._modules[key] = self.xp.RawModule(code=source(file, formula), options=options)
        return self._modules[key]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        out_of_memory = self.xp.cuda.memory.OutOfMemoryError
        with suppress(out_of_memory):
            return self.xp.empty(shape, dtype)
        # The pool that was asked has freed what nobody uses; while a graph is made, that was the graph's pool.
        self.xp.get_default_memory_pool().free_all_blocks()
        try:
            return self.xp.empty(shape, dtype)
        except out_of_memory as error:
            raise MemoryError(self._advice(math.prod(shape) * np.dtype(dtype).itemsize)) from error

    def _advice(self, wanted: int) -> str:
        pool, (free, total) = self.xp.get_default_memory_pool(), self.xp.cuda.runtime.memGetInfo()
        limit = f", with a limit of {_gib(pool.get_limit())}" if pool.get_limit() else ""
        return (
            f"the GPU has no room for another {_gib(wanted)}: {_gib(free)} of {_gib(total)} are free, and this process "
            f"uses {_gib(pool.used_bytes())}{limit}. Train with a smaller batch_size, keep a data set of bytes as "
            "uint8, end other programs on this GPU, or raise CUPY_GPU_MEMORY_LIMIT if it is set."
        )

    def upload(self, host: HostArray, out: Array) -> None:
        if not self._staging.upload(host, out):
            out.set(np.ascontiguousarray(host))

    def copy(self, source: Array, out: Array) -> None:
        runtime = self.xp.cuda.runtime
        runtime.memcpyAsync(
            out.data.ptr,
            source.data.ptr,
            out.nbytes,
            runtime.memcpyDeviceToDevice,
            self.xp.cuda.get_current_stream().ptr,
        )

    def download(self, array: Array) -> HostArray:
        host: HostArray = array.get()
        return host

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def gemm(self) -> LtGemm:
        return LtGemm(tf32=tf32())

    def recorder(self) -> Recorder:
        return CudaRecorder(self.xp, self._own_stream)

    def _own_stream(self) -> Any:
        """This thread's stream for recording, one for all its graphs: cuBLASLt's workspaces are kept by stream."""
        if not hasattr(self._local, "stream"):
            self._local.stream = self.xp.cuda.Stream(non_blocking=True)
        return self._local.stream

    def info(self) -> dict[str, str]:
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(self.xp.cuda.Device().id)
        info = {
            "device": properties["name"].decode(),
            "compute capability": f"{properties['major']}.{properties['minor']}",
            "memory": _gib(runtime.memGetInfo()[1]),
            "driver": version(runtime.driverGetVersion()),
            "CUDA": version(runtime.runtimeGetVersion()),
            "cupy": self.xp.__version__,
            "TF32": "on" if tf32() else "off",
        }
        if forced := os.environ.get("NVIDIA_TF32_OVERRIDE"):
            info["NVIDIA_TF32_OVERRIDE"] = forced
        return info


def tf32() -> bool:
    """NNX_TF32: products of float32 on the tensor cores, with 10 bits of mantissa instead of 23. Off by default."""
    return os.environ.get("NNX_TF32", "") not in ("", "0")


def version(number: int) -> str:
    """CUDA's version numbers, such as 13020, in words."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


class CudaRecorder:
    """A CUDA graph in the making. The pool and the arrays must live as long as the graph."""

    def __init__(self, cupy: Any, stream: Callable[[], Any]) -> None:
        self._cuda = cupy.cuda
        self._stream = stream
        self._pool = cupy.cuda.MemoryPool()
        self._graph: Any = None
        self._recorded: Array = None

    def run(self, work: Callable[[], Array]) -> Array:
        current, own = self._cuda.get_current_stream(), self._stream()
        own.wait_event(current.record())
        with own, self._cuda.using_allocator(self._pool.malloc):
            result = work()
            done = own.record()
        current.wait_event(done)
        return result

    def record(self, work: Callable[[], Array]) -> Array:
        own = self._stream()
        with own, self._cuda.using_allocator(self._pool.malloc):
            own.begin_capture()
            try:
                self._recorded = work()
            except BaseException:
                with suppress(self._cuda.runtime.CUDARuntimeError):  # invalid already: what broke it says more
                    own.end_capture()
                raise
            self._graph = own.end_capture()
        return self._recorded

    def launch(self) -> None:
        self._graph.launch(self._cuda.get_current_stream())


class _Staging:
    """Pinned memory through which small arrays go to the device while the host runs ahead.

    Two halves in turns: before a half is written anew, the host waits for the copies out of it, which are a half, and
    so hundreds of steps, old. (One buffer that the host just overwrote would be a race.)
    """

    HALF = 1 << 16
    ALIGNMENT = 256

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda
        self._memory = cupy.cuda.alloc_pinned_memory(2 * self.HALF)
        self._bytes = np.frombuffer(self._memory, np.uint8, 2 * self.HALF)
        self._half, self._offset = 0, 0
        self._copied: list[Any] = [None, None]
        self._stream: Any = None
        self._lock = threading.Lock()

    def upload(self, host: HostArray, out: Array) -> bool:
        """False where the array is too large for it: nothing is done then."""
        size, runtime = host.nbytes, self._cuda.runtime
        if size == 0 or size > self.HALF // 16:
            return size == 0
        with self._lock:
            stream = self._cuda.get_current_stream()
            if self._stream is not None and stream.ptr != self._stream.ptr:
                self._stream.synchronize()  # the events below are of one stream
            self._stream = stream
            if self._offset + size > self.HALF:
                self._copied[self._half] = stream.record(self._cuda.Event(disable_timing=True))
                self._half, self._offset = 1 - self._half, 0
                if self._copied[self._half] is not None:
                    self._copied[self._half].synchronize()
            start = self._half * self.HALF + self._offset
            self._bytes[start : start + size] = np.ascontiguousarray(host).reshape(-1).view(np.uint8)
            runtime.memcpyAsync(out.data.ptr, self._memory.ptr + start, size, runtime.memcpyHostToDevice, stream.ptr)
            self._offset += -(-size // self.ALIGNMENT) * self.ALIGNMENT
        return True
