"""The backend: the required members, memory and graphs, and the groups of operations."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np

from ._activation import ActivationOps
from ._availability import why_not
from ._batch_norm import BatchNormOps
from ._convolution import ConvolutionOps
from ._device import CudaDevice
from ._gather import GatherOps
from ._graph import CapturedStep
from ._launch import Array
from ._losses import LossOps
from ._nccl import Nccl, connect
from ._optimizers import OptimizerOps
from ._pooling import PoolingOps
from ._random import RandomOps


class CupyBackend(ConvolutionOps, PoolingOps, ActivationOps, BatchNormOps, RandomOps, LossOps, OptimizerOps, GatherOps):
    """cuBLASLt and hand-written CUDA kernels on an NVIDIA GPU, on CuPy's arrays.

    `NNX_TF32=1` lets products of float32 use the tensor cores. Memory comes from CuPy's pools: one for arrays, and one
    for what each recorded step needs beside them. `CUPY_GPU_MEMORY_LIMIT` bounds each of them, not their sum.
    """

    name = "cupy"
    steps_per_capture = 8
    """Of a small network's steps one launch of the graph costs the host as much as the GPU needs for several."""

    def __init__(self, device: CudaDevice | None = None) -> None:
        if device is None:
            # CuPy imports this at its first reduction, and Optuna with it. Optuna keeps the error of a failed import of
            # its own, and so the frames of all callers: a whole training with its graphs. Here there are none yet.
            with suppress(ImportError):
                import_module("cupyx.optimizing")
        super().__init__(CudaDevice() if device is None else device)
        self._collectives: dict[tuple[int, int], Nccl | None] = {}

    @classmethod
    def unavailable(cls) -> str | None:
        return why_not()

    def to_device(self, host: np.ndarray[Any, Any], /) -> Array:
        array = self.device.empty(host.shape, host.dtype)
        self.device.upload(host, array)
        return array

    def to_host(self, array: Array, /) -> np.ndarray[Any, Any]:
        return self.device.download(array)

    def to_host_all(self, arrays: Sequence[Array], /) -> list[np.ndarray[Any, Any]]:
        return self.device.download_all(arrays)

    def pinned(self, shape: tuple[int, ...], dtype: Any, /) -> np.ndarray[Any, Any]:
        return self.device.pinned(shape, np.dtype(dtype))

    def synchronize(self) -> None:
        self.device.synchronize()

    def device_info(self) -> dict[str, str]:
        return self.device.info()

    def collectives(self, rank: int, size: int, exchange: Callable[[Any], list[Any]], /) -> Nccl | None:
        if (rank, size) not in self._collectives:
            self._collectives[rank, size] = connect(self.device, rank, size, exchange)
        return self._collectives[rank, size]

    def allocate(self, size: int, dtype: str) -> Array:
        array = self.device.empty((size,), dtype)
        array.fill(0)
        return array

    def capture(self, step: Callable[..., Array], example_inputs: tuple[Array, ...]) -> CapturedStep:
        return CapturedStep(self.device, step, example_inputs)
