"""Arrays exchanged from GPU to GPU by NVIDIA's NCCL, for processes that train together."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._device import Array, CudaDevice

_INSTALL = "pip install nvidia-nccl-cu13, or -cu12, as CuPy's package is named"


class Nccl:
    """What one rank sends and receives.

    Everything is done on the current stream, after what is there already; the host does not wait. Arrays travel as
    bytes, and NCCL adds nothing up: it would choose an order of its own.

    Args:
        device: this rank's GPU.
        rank: its number.
        size: how many ranks there are.
        name: what the first rank's NCCL has named them all.
    """

    def __init__(self, device: "CudaDevice", rank: int, size: int, name: bytes) -> None:
        self._device, self._nccl, self._rank, self._size = device, device.nccl(), rank, size
        self._ranks = self._nccl.NcclCommunicator(size, name, rank)

    def all_to_all(self, send: "Array", receive: "Array", /) -> None:
        """Give each rank its slice of `send`; the slice r of `receive` is what the rank r has for this one."""
        nccl, ranks, stream = self._nccl, self._ranks, self._device.stream()
        each = send.nbytes // self._size
        nccl.groupStart()  # sends and receipts wait for each other: together they cannot do so in a circle
        try:
            for rank in range(self._size):
                at = rank * each
                ranks.send(send.data.ptr + at, each, nccl.NCCL_UINT8, rank, stream)
                ranks.recv(receive.data.ptr + at, each, nccl.NCCL_UINT8, rank, stream)
        finally:
            nccl.groupEnd()

    def all_gather(self, send: "Array", receive: "Array", /) -> None:
        """Give `send` to all ranks; the slice r of `receive` is the `send` of the rank r."""
        stream = self._device.stream()
        self._ranks.allGather(send.data.ptr, receive.data.ptr, send.nbytes, self._nccl.NCCL_UINT8, stream)

    def broadcast(self, array: "Array", /, root: int = 0) -> None:
        """Overwrite `array` with that of the rank `root`."""
        self._ranks.bcast(array.data.ptr, array.nbytes, self._nccl.NCCL_UINT8, root, self._device.stream())


def connect(device: "CudaDevice", rank: int, size: int, exchange: Callable[[Any], list[Any]]) -> Nccl | None:
    """Find the other ranks' GPUs; all ranks call this together.

    Args:
        device: this rank's GPU.
        rank: its number.
        size: how many ranks there are.
        exchange: returns the values of all ranks for one of each.

    Returns:
        None, after a warning, where NCCL cannot be used.
    """
    nccl = device.nccl()
    name = nccl.get_unique_id().hex() if nccl is not None and rank == 0 else ""
    told = exchange({"gpu": device.identity(), "nccl": nccl is not None, "name": name})
    without = [i for i, one in enumerate(told) if not one["nccl"]]
    gpus = [one["gpu"] for one in told]
    shared = next((i for i, gpu in enumerate(gpus) if gpu in gpus[:i]), None)
    if without:
        why = f"NCCL is not installed for rank {without[0]} ({_INSTALL})"
    elif shared is not None:
        why = f"ranks {gpus.index(gpus[shared])} and {shared} share the GPU {gpus[shared]}, and NCCL wants one for each"
    else:
        return Nccl(device, rank, size, bytes.fromhex(told[0]["name"]))
    warnings.warn(f"{why}: gradients go through the host's memory, which is slower.", RuntimeWarning, stacklevel=2)
    return None
