"""A stand-in for cupy.cuda.nccl: ranks are threads, and what they send are copies, in the order of their streams.

It has the rules of the library: all ranks make their communicator with one name; what is sent and received within a
group begins at its end, and in one thread; a receipt has as many bytes as were sent; memory is read and written when
the stream comes to it.
"""

import ctypes
import itertools
import queue
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from host_cupy import Stream

WAIT = 30.0  # seconds, after which a test has failed


class NcclError(RuntimeError):
    """CuPy's."""


class HostNccl:
    """The module. calls: what each rank has asked for, in its order."""

    available = True
    NCCL_UINT8 = 1
    NcclError = NcclError

    def __init__(self) -> None:
        self.calls: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        self.mail: dict[tuple[Any, ...], queue.Queue[bytes]] = defaultdict(queue.Queue)
        self.named: dict[bytes, threading.Barrier] = {}
        self._numbers = itertools.count(1)
        self._lock, self._local = threading.Lock(), threading.local()

    def get_unique_id(self) -> bytes:
        return next(self._numbers).to_bytes(128, "little")

    def NcclCommunicator(self, ndev: int, commId: bytes, rank: int) -> "Communicator":  # noqa: N802
        if len(commId) != 128 or not 0 <= rank < ndev:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT")
        with self._lock:
            barrier = self.named.setdefault(commId, threading.Barrier(ndev))
        barrier.wait(WAIT)
        return Communicator(self, ndev, commId, rank)

    def groupStart(self) -> None:  # noqa: N802
        assert self.group() is None
        self._local.group = []

    def groupEnd(self) -> None:  # noqa: N802
        group, self._local.group = self.group(), None
        assert group is not None
        first = sorted(group, key=lambda one: one[0])  # what is sent; then whoever waits finds it
        for _, work in first:
            Stream.current().push(work)

    def group(self) -> "list[tuple[int, Callable[[], Any]]] | None":
        return getattr(self._local, "group", None)


class Communicator:
    def __init__(self, nccl: HostNccl, size: int, name: bytes, rank: int) -> None:
        self.nccl, self.size, self.name, self.rank = nccl, size, name, rank

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._begin("send", sendbuf, count, datatype, peer, stream)
        self._do(0, lambda: self._post(sendbuf, count, peer))

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        self._begin("recv", recvbuf, count, datatype, peer, stream)
        self._do(1, lambda: self._fetch(recvbuf, count, peer))

    def allGather(self, sendbuf: int, recvbuf: int, count: int, datatype: int, stream: int) -> None:  # noqa: N802
        self._begin("allGather", sendbuf, count, datatype, 0, stream)
        for peer in range(self.size):
            self._do(0, lambda peer=peer: self._post(sendbuf, count, peer))
        for peer in range(self.size):
            self._do(1, lambda peer=peer: self._fetch(recvbuf + peer * count, count, peer))

    def bcast(self, buff: int, count: int, datatype: int, root: int, stream: int) -> None:
        self._begin("bcast", buff, count, datatype, root, stream)
        if self.rank == root:
            for peer in range(self.size):
                self._do(0, lambda peer=peer: self._post(buff, count, peer))
        self._do(1, lambda: self._fetch(buff, count, root))

    def _begin(self, name: str, address: int, count: int, datatype: int, peer: int, stream: int) -> None:
        assert stream == Stream.current().ptr
        assert datatype == HostNccl.NCCL_UINT8
        if not 0 <= peer < self.size or type(address) is not int or type(count) is not int:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT")
        self.nccl.calls[self.rank].append((name, count, peer))

    def _do(self, order: int, work: Callable[[], Any]) -> None:
        group = self.nccl.group()
        if group is None:
            Stream.current().push(work)
        else:
            group.append((order, work))

    def _post(self, address: int, count: int, peer: int) -> None:
        self.nccl.mail[self.name, self.rank, peer].put(ctypes.string_at(address, count))

    def _fetch(self, address: int, count: int, peer: int) -> None:
        data = self.nccl.mail[self.name, peer, self.rank].get(timeout=WAIT)
        if len(data) != count:
            raise NcclError("NCCL_ERROR_INVALID_USAGE")
        ctypes.memmove(address, data, count)
