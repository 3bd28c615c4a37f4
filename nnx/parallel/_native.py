"""A communicator for a backend's own arrays."""

from typing import Protocol

import numpy as np

from ..ops import Array, HostArray, Ops, dtype_name
from ._communicator import Alone, Communicator


class Collectives(Protocol):
    """The methods of a `Communicator` that take arrays, here native ones."""

    def all_to_all(self, send: Array, receive: Array, /) -> None: ...

    def all_gather(self, send: Array, receive: Array, /) -> None: ...

    def broadcast(self, array: Array, /, root: int = 0) -> None: ...


def native(communicator: Communicator, ops: Ops) -> Collectives:
    """Return what does a communicator's work with the arrays of a backend; all ranks call this together."""
    if ops.on_host:
        return communicator
    if communicator.size == 1:
        return Alone()  # what a rank has for itself stays on the device
    own: Collectives | None = ops.collectives(communicator.rank, communicator.size, communicator.exchange)
    return _ThroughHost(communicator, ops) if own is None else own


class _ThroughHost:
    """Copies a device's arrays to the host and back."""

    def __init__(self, communicator: Communicator, ops: Ops) -> None:
        self._communicator, self._ops = communicator, ops

    def all_to_all(self, send: Array, receive: Array, /) -> None:
        host = np.empty(receive.shape, dtype_name(receive))
        self._communicator.all_to_all(self._host(send), host)
        receive[...] = self._ops.to_device(host)

    def all_gather(self, send: Array, receive: Array, /) -> None:
        host = np.empty(receive.shape, dtype_name(receive))
        self._communicator.all_gather(self._host(send), host)
        receive[...] = self._ops.to_device(host)

    def broadcast(self, array: Array, /, root: int = 0) -> None:
        host = np.array(self._host(array))
        self._communicator.broadcast(host, root)
        array[...] = self._ops.to_device(host)

    def _host(self, array: Array) -> HostArray:
        return np.ascontiguousarray(self._ops.to_host(array))
