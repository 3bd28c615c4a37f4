"""The communicator of processes that mpiexec started, by mpi4py."""

import json
import os
import sys
import time
from typing import Any

import numpy as np
from mpi4py import MPI as mpi  # noqa: N811  a module in capitals

from ..ops import HostArray

_SPIN = 1e-3
"""For how many seconds a rank that waits keeps its core busy; then it looks up only now and then."""
_PAUSE = 5e-5  # seconds between two looks
_give_way = getattr(os, "sched_yield", lambda: time.sleep(0))


class MPI:
    """All processes of one `mpiexec`; their messages keep apart from those that a script sends by mpi4py itself.

    A rank that waits looks whether the message is there, again and again, and so stays open to signals. An exception
    that nobody catches ends all ranks.
    """

    def __init__(self) -> None:
        self._comm = mpi.COMM_WORLD.Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        shown = sys.excepthook

        def end_all(*error: Any) -> None:
            shown(*error)
            sys.stderr.flush()
            mpi.COMM_WORLD.Abort(1)

        sys.excepthook = end_all  # otherwise the other ranks, and the end of this process, would wait for each other

    def all_to_all(self, send: HostArray, receive: HostArray, /) -> None:
        _wait(self._comm.Ialltoall(send, receive))

    def all_gather(self, send: HostArray, receive: HostArray, /) -> None:
        _wait(self._comm.Iallgather(send, receive))

    def broadcast(self, array: HostArray, /, root: int = 0) -> None:
        _wait(self._comm.Ibcast(array, root))

    def exchange(self, value: Any, /) -> list[Any]:
        own = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self.all_gather(np.array([len(own)]), lengths)
        longest = int(lengths.max())
        padded, texts = np.zeros(longest, np.uint8), np.empty((self.size, longest), np.uint8)
        padded[: len(own)] = own
        self.all_gather(padded, texts.reshape(-1))
        return [json.loads(text[:n].tobytes()) for text, n in zip(texts, lengths, strict=True)]

    def __repr__(self) -> str:
        return f"rank {self.rank} of {self.size} by {mpi.get_vendor()[0]}"


def _wait(request: mpi.Request) -> None:
    began = time.perf_counter()
    while not request.Test():
        if time.perf_counter() - began < _SPIN:
            _give_way()  # sleep(0) would take 50 microseconds
        else:
            time.sleep(_PAUSE)
