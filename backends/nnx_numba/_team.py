"""A team of threads that share jobs too small for the time that it takes to wake a thread."""

import os
import threading
import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LOOKS = 15_000
"""How often a member looks for work before it is parked: half a millisecond, as between two products of a step."""
LONG = 5000
"""Looks for the last part, a fifth of a millisecond, after which a member is taken for one without a processor."""
MOST_ALONE = 4096
"""Jobs that are done alone after such waits, at most."""
_SOON = 16
"""Jobs left to do alone up to which members are woken."""


class Team:
    """The calling thread and others, which it wakes when there is work.

    Where other processes want the processors, a member can lose its own in the middle of a part, and everybody would
    wait for it. After such a wait the team is left alone for a while: twice as long each time it happens again. Results
    are the same bits whoever computes them.
    """

    def __init__(self, threads: int, kernels: Any) -> None:
        self.threads, self._kernels = threads, kernels
        self._own = threading.local()
        self._begin()
        if hasattr(os, "register_at_fork"):  # threads do not survive a fork
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._bells: list[Any] = []
        """Locks that members wait for: to release one is to ring."""
        # Aligned to lines of the cache, of which members write to different ones.
        self._memory = np.zeros(self._kernels.PLACES + 8, np.int64)
        first = -self._memory.ctypes.data % 64 // 8
        self._block = self._memory[first:]
        self._address = self._block.ctypes.data
        self._looking = self._block[self._kernels.SPINNING // 8 :][:1]
        self._block[self._kernels.PENALTY // 8] = 1

    def do(self, job: Array, alone: bool = False) -> None:
        """Do one job, with whom there is, or alone."""
        place = np.array([job.ctypes.data])
        self.play(place.ctypes.data, 1, alone)

    def play(self, jobs: int, count: int, alone: bool = False) -> None:
        """Do jobs, whose addresses are in a list at an address, with whom there is, or alone."""
        self.call(self._kernels.play.run, jobs, count, LONG, MOST_ALONE, alone=alone)

    def call(self, kernel: Any, *args: Any, alone: bool) -> int:
        """Call a kernel that does jobs, after its arguments with the team's address, or 0 to work alone, and scratch.

        Returns what the kernel does, which is no number below 0.
        """
        team = self._address if not alone and self.threads > 1 and self._lock.acquire(blocking=False) else 0
        try:
            if team and self._looking[0] < self.threads - 1:
                self._wake()
            status: int = kernel(*args, team, self._scratch())
        finally:
            if team:
                self._lock.release()
        if status < 0:
            raise MemoryError("numba: a kernel got no memory for what it needs while it runs")
        return status

    def _scratch(self) -> int:
        """Return the address of memory that this thread calls kernels with."""
        own = self._own
        try:
            address: int = own.address
        except AttributeError:
            own.memory = np.zeros(self._kernels.SCRATCH, np.int64)
            address = own.address = own.memory.ctypes.data
        return address

    def _wake(self) -> None:
        if self._block[self._kernels.ALONE // 8] > _SOON:
            return
        if not self._bells:
            self._start()
        for bell in self._bells:
            if bell.locked():
                bell.release()

    def _start(self) -> None:
        try:
            for i in range(1, self.threads):
                bell = threading.Lock()
                bell.acquire()
                given = bell, self._address, i % 2
                threading.Thread(target=self._member, args=given, name=f"nnx-{i}", daemon=True).start()
                self._bells.append(bell)
        except RuntimeError as error:
            warnings.warn(
                f"numba: products on {len(self._bells) + 1} thread(s): {error}.", RuntimeWarning, stacklevel=2
            )
            self.threads = len(self._bells) + 1

    def _member(self, bell: Any, address: int, backwards: int) -> None:
        memory = self._memory  # lives as long as anybody looks into it
        scratch = self._scratch()
        while memory is self._memory:
            bell.acquire()
            self._kernels.look_for_work(address, _LOOKS, backwards, scratch)
