"""The CuPy backend itself, over NumPy arrays and emulated kernels: its launch code runs as it would on a GPU."""

import os
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from host_cublaslt import HostCublasLt, HostCuda, HostGemm
from nnx_cupy import CupyBackend
from nnx_cupy._device import REAL
from nnx_kernels.cuda import source

from ._module import Kernel, Module

Work = Callable[[], Any]
FLAGS = tuple(os.environ.get("NNX_EMULATOR_FLAGS", "").split())
"""Of the compiler, where a test gives none: sanitizers, for a whole run of tests."""


@cache
def _module(file: str, dtype: str, flags: tuple[str, ...], formula: Any) -> Module:
    return Module(source(file, formula), (f"-DREAL={REAL[dtype]}",), flags)


class RecordedArray(np.ndarray[Any, Any]):
    """What a step has computed while it is recorded: arithmetic on it is a launch, as CuPy's is, and not done now."""

    of: "EmulatedDevice"

    def __array_finalize__(self, source: Any) -> None:
        if isinstance(source, RecordedArray):
            self.of = source.of

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        given = [i.view(np.ndarray) if isinstance(i, RecordedArray) else i for i in inputs]
        work = partial(getattr(ufunc, method), *given, **options)
        with np.errstate(all="ignore"):  # of what nothing has been written to yet
            like = work()
        (made,) = out or (self.of.empty(like.shape, like.dtype),)
        self.of.launch(ufunc.__name__, partial(work, out=made.view(np.ndarray)))
        return made


class EmulatedDevice:
    """A small GPU. order: as for `Kernel`. The names of all launches are written down in `launches`."""

    xp = np
    processors = 2
    shared_memory = 48 << 10

    def __init__(self, order: int = 0, flags: tuple[str, ...] = FLAGS) -> None:
        self.order, self.flags = order, flags
        self.launches: list[str] = []
        self.recording: list[Work] | None = None

    def launch(self, name: str, work: Work) -> None:
        """Do it, or write it down for a graph."""
        if self.recording is None:
            self.launches.append(name)
            work()
        else:
            self.recording.append(partial(self.launch, name, work))

    def kernel(self, file: str, name: str, dtype: str, formula: Any = None) -> Any:
        function: Kernel = _module(file, dtype, self.flags, formula).get_function(name)

        def launch(*args: Any, **options: Any) -> None:
            self.launch(name, partial(function, *args, **options, order=self.order))

        return launch

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Full of NaN: what is read before it is written is seen in every run, whatever the memory held before."""
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = 0xFF
        if self.recording is None:
            return array
        recorded = array.view(RecordedArray)
        recorded.of = self
        return recorded

    def upload(self, host: Any, out: Any) -> None:
        out[...] = host

    def upload_all(self, hosts: Any, block: Any, offsets: Any) -> None:
        for host, offset in zip(hosts, offsets, strict=True):
            block[offset : offset + host.nbytes] = np.ascontiguousarray(host).reshape(-1).view(np.uint8)

    def download(self, array: Any) -> Any:
        return np.array(array)

    def download_all(self, arrays: Any) -> Any:
        return [np.array(array) for array in arrays]

    def synchronize(self) -> None:
        pass

    def info(self) -> dict[str, str]:
        return {"device": "emulated"}

    def copy(self, source: Any, out: Any) -> None:
        assert source.shape == out.shape
        assert source.dtype == out.dtype
        self.launch("copy", partial(np.copyto, out, source))

    def gemm(self) -> HostGemm:
        launch = partial(self.launch, "cublasLtMatmul")
        return HostGemm(HostCublasLt(launch=launch), HostCuda(capturing=lambda: self.recording is not None))

    def recorder(self) -> "EmulatedRecorder":
        return EmulatedRecorder(self)


class EmulatedRecorder:
    def __init__(self, device: EmulatedDevice) -> None:
        self._device = device
        self.graph: list[Work] = []

    def run(self, work: Work) -> Any:
        return work()

    def record(self, work: Work) -> Any:
        self._device.recording = []
        try:
            result = work()
            self.graph = self._device.recording
        finally:
            self._device.recording = None
        return result

    def launch(self) -> None:
        for work in self.graph:
            work()


class EmulatedBackend(CupyBackend):
    """What needs CUDA beside the kernels is NumPy's."""

    def __init__(self, order: int = 0, flags: tuple[str, ...] = FLAGS) -> None:
        super().__init__(EmulatedDevice(order, flags))

    @classmethod
    def unavailable(cls) -> str | None:
        return None
