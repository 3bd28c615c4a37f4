"""The only interface between the backend and CUDA: arrays, kernels by name, copies and graphs. Tests emulate it."""

import math
import os
import socket
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from ._cublaslt import LtGemm
from ._recorder import CudaRecorder, GraphPools
from ._staging import Staging
from ._workspace import Workspaces

Array = Any
HostArray = np.ndarray[Any, Any]

REAL = {"float32": "float", "float64": "double"}
"""The dtypes that the kernels are compiled for, by their names in C++."""
OPTIONS = ("-std=c++17",)
"""How they are compiled, beside `-DREAL=...`."""


_NULL = np.uint64(0)


class CudaDevice:
    """What the operations need to know of the machine: the current CUDA device through CuPy.

    CuPy caches compiled modules on disk.
    """

    def __init__(self) -> None:
        import cupy

        self.xp, self._runtime, self._current_stream = cupy, cupy.cuda.runtime, cupy.cuda.get_current_stream
        self.id = int(cupy.cuda.Device().id)
        """The device that was current when the backend was made, and has to be in every thread that uses it."""
        attributes = cupy.cuda.Device().attributes
        self.processors = int(attributes["MultiProcessorCount"])
        """Streaming multiprocessors: grids of persistent blocks are sized by them."""
        self.shared_memory = int(attributes["MaxSharedMemoryPerBlock"])
        """Bytes of shared memory that a block may have without opting in."""
        self._modules: dict[tuple[str, str, Any], Any] = {}
        self._kernels: dict[tuple[str, str, str, Any], Callable[..., None]] = {}
        self.pools = GraphPools(cupy)
        self.workspaces = Workspaces(cupy)
        self._local = threading.local()

    def check_current(self) -> None:
        """Check that the current device is the one that the backend was made on.

        In the context of another its addresses mean nothing. CUDA keeps the current device by thread, and every thread
        begins with GPU 0.
        """
        current = self._runtime.getDevice()
        if current != self.id:
            raise RuntimeError(
                f"this backend was made on GPU {self.id}, but the current device of this thread is GPU {current}; "
                f"call cupy.cuda.Device({self.id}).use() in the thread first, or set CUDA_VISIBLE_DEVICES={self.id}"
            )

    def kernel(self, file: str, name: str, dtype: str, formula: Any = None) -> Callable[..., None]:
        """Return the kernel `name` of `file` for a dtype of `REAL`, and a formula where the file is a template.

        It is compiled when first asked for, then kept in memory. It is called as `kernel(grid, block, arguments)`, runs
        on the current stream, and takes arrays, None (a null pointer) and NumPy scalars of the exact dtype.
        """
        self.check_current()
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
        """Return a new array of unknown values; raise MemoryError with advice."""
        self.check_current()
        out_of_memory = self.xp.cuda.memory.OutOfMemoryError
        with suppress(out_of_memory):
            return self.xp.empty(shape, dtype)
        # CuPy has freed unused blocks already, but only those of the pool in use, a graph's while one is recorded.
        self.xp.get_default_memory_pool().free_all_blocks()
        self.pools.free_idle()
        try:
            return self.xp.empty(shape, dtype)
        except out_of_memory as error:
            raise MemoryError(self._advice(math.prod(shape) * np.dtype(dtype).itemsize)) from error

    def _advice(self, wanted: int) -> str:
        pool, (free, total) = self.xp.get_default_memory_pool(), self._runtime.memGetInfo()
        limit = f", with a limit of {_gib(pool.get_limit())}" if pool.get_limit() else ""
        graphs = f", and its recorded steps {_gib(self.pools.bytes())} more" if self.pools.bytes() else ""
        return (
            f"the GPU has no room for another {_gib(wanted)}: {_gib(free)} of {_gib(total)} are free, and this process "
            f"uses {_gib(pool.used_bytes())}{limit}{graphs}. Train with a smaller batch_size, keep a data set of bytes "
            "as uint8, end other programs on this GPU, or raise CUPY_GPU_MEMORY_LIMIT if it is set."
        )

    def upload(self, host: HostArray, out: Array) -> None:
        """Copy to the device without waiting for it, unless the array is large; `host` may be changed right afterwards.

        Refused while the current stream is being recorded: each launch of the graph would copy what then lies there.
        """
        self._copy_in((host,), out, (0,))

    def upload_all(self, hosts: Sequence[HostArray], block: Array, offsets: Sequence[int]) -> None:
        """Upload several arrays by one copy, to these bytes, in rising order, of `block` (uint8)."""
        self._copy_in(hosts, block, offsets)

    def _copy_in(self, hosts: Sequence[HostArray], out: Array, offsets: Sequence[int]) -> None:
        first, size, stream = offsets[0], offsets[-1] + hosts[-1].nbytes - offsets[0], self._current_stream()
        if self._runtime.streamIsCapturing(stream.ptr):
            raise RuntimeError(
                "an array of the host's is uploaded inside a step that is being recorded: every later step would get "
                "what then lies in its place. Upload it before the step, or make it of arrays on the device"
            )
        if size > Staging.LARGEST:
            for host, offset in zip(hosts, offsets, strict=True):
                part = out if len(hosts) == 1 else out[offset : offset + host.nbytes].view(host.dtype)
                part.set(np.ascontiguousarray(host).reshape(part.shape))
            return
        if size == 0:
            return
        if not hasattr(self._local, "staging"):
            self._local.staging = Staging(self.xp)
        if first:
            offsets = [offset - first for offset in offsets]
        address, runtime = self._local.staging.write(hosts, offsets, size, stream), self._runtime
        runtime.memcpyAsync(out.data.ptr + first, address, size, runtime.memcpyHostToDevice, stream.ptr)

    def copy(self, source: Array, out: Array) -> None:
        """Copy between C-contiguous device arrays of one shape and dtype, without waiting."""
        runtime = self._runtime
        runtime.memcpyAsync(
            out.data.ptr, source.data.ptr, out.nbytes, runtime.memcpyDeviceToDevice, self._current_stream().ptr
        )

    def download(self, array: Array) -> HostArray:
        """Copy to the host; wait for the device."""
        host: HostArray = array.get()
        return host

    def download_all(self, arrays: Sequence[Array]) -> list[HostArray]:
        """Download several arrays of one dtype; those that lie side by side by one copy."""
        hosts: list[HostArray] = []
        if not arrays:
            return hosts
        starts = [0, *(i for i, (a, b) in enumerate(pairwise(arrays), 1) if not _side_by_side(a, b)), len(arrays)]
        for start, stop in pairwise(starts):
            run = arrays[start:stop]
            count = sum(array.size for array in run)
            host = self.download(self.xp.ndarray((count,), run[0].dtype, run[0].data))
            at = 0
            for array in run:
                hosts.append(host[at : at + array.size].reshape(array.shape))
                at += array.size
        return hosts

    def pinned(self, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> HostArray:
        """Return an array in pinned memory of the host's, which is given back with it."""
        count = math.prod(shape)
        memory = self.xp.cuda.alloc_pinned_memory(max(1, count * dtype.itemsize))
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def synchronize(self) -> None:
        """Wait for all that was launched."""
        self.xp.cuda.get_current_stream().synchronize()

    def gemm(self) -> LtGemm:
        """Return the products through cuBLASLt."""
        return LtGemm(tf32=tf32(), workspaces=self.workspaces)

    def nccl(self) -> Any:
        """Return CuPy's bindings to NCCL, by which GPUs exchange arrays; None where it is not installed."""
        with warnings.catch_warnings(action="ignore"):  # CuPy's own, about what to install
            nccl = import_module("cupy.cuda.nccl")
        return nccl if nccl.available else None

    def identity(self) -> str:
        """Return which GPU this is, among those of all machines."""
        return f"{self._runtime.deviceGetPCIBusId(self.id)} of {socket.gethostname()}"

    def stream(self) -> int:
        """Return the current stream, as CUDA's libraries are told it."""
        self.check_current()
        return int(self._current_stream().ptr)

    def recorder(self) -> CudaRecorder:
        """Return a recorder for one graph."""
        return CudaRecorder(self)

    def own_stream(self) -> Any:
        """Return this thread's stream for recording.

        It is non-blocking: asking cuBLAS 13.3 for an algorithm while a blocking stream is captured ends the capture.
        """
        if not hasattr(self._local, "stream"):
            self._local.stream = self.xp.cuda.Stream(non_blocking=True)
        return self._local.stream

    def info(self) -> dict[str, str]:
        """Describe the device for a person."""
        runtime = self._runtime
        properties = runtime.getDeviceProperties(self.id)
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
    """Return whether NNX_TF32 lets products of float32 use the tensor cores, with 10 bits of mantissa instead of 23.

    Off by default.
    """
    return os.environ.get("NNX_TF32", "") not in ("", "0")


def version(number: int) -> str:
    """Write CUDA's version numbers, such as 13020, as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _side_by_side(a: Array, b: Array) -> bool:
    """Return whether b begins where a ends, in one piece of memory, both C-contiguous and of one dtype."""
    return bool(
        a.data.ptr + a.nbytes == b.data.ptr
        and a.data.mem is b.data.mem
        and a.dtype == b.dtype
        and a.flags.c_contiguous
        and b.flags.c_contiguous
    )
