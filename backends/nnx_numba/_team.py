"""A team of threads that share products too small for the time that it takes to wake a thread."""

import os
import threading
import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_LOOKS = 15_000
"""How often a member looks for work before it is parked: half a millisecond, as between two products of a step."""
_LONG = 2000
"""Looks for the last part after which a member is taken for one without a processor."""
SHARE = 200_000
"""Multiplications of a part, about."""
_TURNED = 65_536
"""Numbers from which on a transposition is shared."""
_MOST_ALONE = 4096
"""Products that are computed alone after such waits, at most."""


class Team:
    """The calling thread and others, which it wakes when there is work.

    Where other processes want the processors, a member can lose its own in the middle of a part, and everybody would
    wait for it. After such a wait the team is left alone for a while: twice as long each time it happens again. Results
    are the same bits whoever computes them.
    """

    def __init__(self, threads: int, kernels: Any) -> None:
        self.threads, self._kernels = threads, kernels
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
        self._alone, self._penalty = 0, 1

    def product(self, a: Array, b: Array, c: Array, transposed: bool) -> Any:
        """Compute c = a @ b, or a.T @ b; return NotImplemented for arrays that the kernels do not take."""
        if a.size * b.shape[1] < 2 * SHARE or not self._ready():
            return self._kernels.product(a, b, c, transposed)
        try:
            rows, columns = _parts(*c.shape, len(b))
            return self._after(self._kernels.product_of_team(a, b, c, transposed, self._address, rows, columns))
        finally:
            self._lock.release()

    def transpose(self, a: Array, out: Array) -> Any:
        """Compute out = a.T; return NotImplemented for arrays that the kernels do not take."""
        if a.size < _TURNED or not self._ready():
            return self._kernels.transpose(a, out)
        try:
            rows = max(8, _TURNED // 4 // a.shape[1] // 8 * 8)
            return self._after(self._kernels.transpose_of_team(a, out, self._address, rows))
        finally:
            self._lock.release()

    def _ready(self) -> bool:
        """Return whether the team is there for this thread, which then has its lock; wake who sleeps."""
        if self.threads == 1 or not self._lock.acquire(blocking=False):
            return False
        if self._alone:
            self._alone -= 1
            self._lock.release()
            return False
        self._wake()
        return True

    def _after(self, looks: Any) -> Any:
        if looks is NotImplemented:
            return looks
        if looks > _LONG:
            self._alone, self._penalty = self._penalty, min(2 * self._penalty, _MOST_ALONE)
        elif self._penalty > 1:
            self._penalty -= 1
        return None

    def _wake(self) -> None:
        if self._looking[0] >= self.threads - 1:
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
                threading.Thread(target=self._member, args=(bell, self._address), name=f"nnx-{i}", daemon=True).start()
                self._bells.append(bell)
        except RuntimeError as error:
            warnings.warn(
                f"numba: products on {len(self._bells) + 1} thread(s): {error}.", RuntimeWarning, stacklevel=2
            )
            self.threads = len(self._bells) + 1

    def _member(self, bell: Any, address: int) -> None:
        memory = self._memory  # lives as long as anybody looks into it
        while memory is self._memory:
            bell.acquire()
            self._kernels.look_for_work(address, _LOOKS)


def _parts(m: int, n: int, k: int) -> tuple[int, int]:
    """Return the rows and the columns of a part: whole tiles, some microseconds of work."""
    columns = n if 12 * n * k <= SHARE else max(64, SHARE // (12 * k) // 64 * 64)
    return min(m, max(12, SHARE // max(1, columns * k) // 12 * 12)), columns
