"""Grids, checks and scalars that all launches share."""

import math
from typing import Any

import numpy as np

from ._device import REAL, CudaDevice

Array = Any
Formula = Any  # of nnx, of which a plugin imports nothing; its attributes are in docs/writing-a-backend.md

BLOCK = 256
"""Threads per block of the element-wise kernels, as in common.cuh."""
WAVES = 64
"""Blocks per multiprocessor of a grid-stride loop: several times what runs at once, so that the last ones cost little;
few enough for the start of each to be paid by many elements."""


def takes(*arrays: Array | None) -> bool:
    """Return whether kernels can read these: C-contiguous, of one dtype that they are compiled for. None is skipped."""
    given = [array for array in arrays if array is not None]
    dtype = given[0].dtype
    return dtype.name in REAL and contiguous(*given) and all(array.dtype == dtype for array in given)


def contiguous(*arrays: Array | None) -> bool:
    """Return whether all are C-contiguous. None is skipped."""
    return all(array is None or array.flags.c_contiguous for array in arrays)


def size(n: int) -> np.int64:
    """Return n as the kernels' index_t."""
    return np.int64(n)


def matrix(x: Array) -> tuple[int, int]:
    """Return the shape of x as a matrix of its rows."""
    return x.shape[0], math.prod(x.shape[1:])


class Launcher:
    """Base of the groups of operations: launches and the grids that they need."""

    def __init__(self, device: CudaDevice) -> None:
        self.device, self.xp, self.empty = device, device.xp, device.empty

    def blocks(self, work: int, per_block: int = BLOCK) -> tuple[int]:
        """Return the grid of a grid-stride loop over `work` items: from one block to WAVES per multiprocessor."""
        return (max(1, min(-(-work // per_block), self.device.processors * WAVES)),)

    def packs(self, x: Array) -> tuple[int]:
        """Return the grid of a grid-stride loop over x, 16 bytes for each thread."""
        return self.blocks(-(-x.nbytes // 16))

    def kernel(self, file: str, name: str, like: Array, formula: Formula = None) -> Any:
        """Return the kernel for the dtype of `like`, and a formula where the file is a template of one."""
        return self.device.kernel(file, name, like.dtype.name, formula)
