"""A CUDA graph that is being recorded, and the memory that it needs for as long as it lives."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._workspace import Workspace

if TYPE_CHECKING:
    from ._device import Array, CudaDevice


class GraphPools:
    """A memory pool for each living graph, reused by another graph after its death.

    CuPy 14 never returns the blocks of a dead pool to the device; so no pool is dropped.
    """

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda
        self._all: list[Any] = []
        self._idle: list[Any] = []
        self._lock = threading.RLock()  # a graph may die in the middle of `take`

    def take(self) -> Any:
        """Return a pool that no other graph uses.

        Its free blocks are released first: arrays of its last graph may have held them until now.
        """
        with self._lock:
            if self._idle:
                pool = self._idle.pop()
                pool.free_all_blocks()
                return pool
            self._all.append(self._cuda.MemoryPool())
            return self._all[-1]

    def give_back(self, pool: Any) -> None:
        with self._lock:
            pool.free_all_blocks()
            self._idle.append(pool)

    def free_idle(self) -> None:
        """Free the memory of pools without a graph.

        Pools of living graphs keep theirs: launches write to their free blocks, too.
        """
        with self._lock:
            for pool in self._idle:
                pool.free_all_blocks()

    def bytes(self) -> int:
        """Return how much of the device's memory all pools hold."""
        with self._lock:
            return sum(pool.total_bytes() for pool in self._all)


class CudaRecorder:
    """A stream, a memory pool and a workspace for the work that becomes one graph."""

    def __init__(self, device: "CudaDevice") -> None:
        self._device, self._cuda = device, device.xp.cuda
        self._pools = device.pools
        self._pool = self._pools.take()
        self._workspace = Workspace(device.xp)
        self.graph: Any = None
        """What was recorded."""
        self._recorded: Array = None
        self._result_bytes = 0

    def run(self, work: "Callable[[], Array]") -> "Array":
        """Do the work now, on this stream and from this pool: this compiles and allocates what the recording needs."""
        current, own = self._cuda.get_current_stream(), self._device.own_stream()
        own.wait_event(current.record())
        try:
            with own, self._cuda.using_allocator(self._pool.malloc), self._device.workspaces.use(self._workspace):
                result = work()
        finally:  # after an error, too: the buffers of what was launched before it will be used again
            with suppress(self._cuda.runtime.CUDARuntimeError):  # the device is lost: the error itself says so
                current.wait_event(own.record())
        self._result_bytes = result.nbytes
        return result

    def record(self, work: "Callable[[], Array]") -> "Array":
        """Write down the launches of the work without doing it; return the array that every `launch` will write."""
        own = self._device.own_stream()
        with own, self._cuda.using_allocator(self._pool.malloc), self._device.workspaces.use(self._workspace):
            # Results of earlier runs may still be held; the recording then needs one more block, which is allocated
            # here: if the device refused it while recording, CuPy would free blocks that recorded launches use.
            spare = [self._device.xp.empty(self._result_bytes, "uint8") for _ in range(2)]
            del spare
            own.begin_capture()
            try:
                self._recorded = work()
            except BaseException:
                with suppress(self._cuda.runtime.CUDARuntimeError):  # invalid already: what broke it says more
                    own.end_capture()
                raise
            self.graph = own.end_capture()
        return self._recorded

    def launch(self) -> None:
        """Do what was recorded, on the current stream."""
        self.graph.launch(self._cuda.get_current_stream())

    def __del__(self) -> None:
        if hasattr(self, "_pool"):
            self.graph = self._recorded = self._workspace = None
            with suppress(Exception):  # at the end of the process CuPy may be gone
                self._pools.give_back(self._pool)
