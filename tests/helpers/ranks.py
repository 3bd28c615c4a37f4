"""Ranks of a training as threads of one process: a communicator for tests, in place of MPI."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

_PATIENCE = 60  # seconds until a rank that waits for another gives up


class Threads:
    """The communicator of one of the threads; all share a barrier and a place for what each has given."""

    def __init__(self, rank: int, barrier: threading.Barrier, given: list[Any]) -> None:
        self.rank, self.size = rank, len(given)
        self._barrier, self._given = barrier, given
        self.calls: list[str] = []
        """What was called, in its order."""

    def _swap(self, name: str, value: Any) -> list[Any]:
        """Return what all ranks gave, in their order; they must have called the same method."""
        self.calls.append(name)
        self._given[self.rank] = name, value
        self._barrier.wait(_PATIENCE)
        given = list(self._given)
        self._barrier.wait(_PATIENCE)
        assert {other for other, _ in given} == {name}, f"ranks called {[other for other, _ in given]}"
        return [value for _, value in given]

    def all_to_all(self, send, receive, /):
        parts = [array.reshape(self.size, -1)[self.rank] for array in self._swap("all_to_all", send.copy())]
        receive[...] = np.concatenate(parts)

    def all_gather(self, send, receive, /):
        receive[...] = np.concatenate(self._swap("all_gather", send.copy()))

    def broadcast(self, array, /, root=0):
        array[...] = self._swap("broadcast", array.copy())[root]

    def exchange(self, value, /):
        return self._swap("exchange", value)


def together(size: int, work: Callable[[Threads], Any]) -> list[Any]:
    """Call `work` with the communicator of each of so many ranks, in threads; return their results.

    If one fails the others are woken, and its error is raised.
    """
    barrier, given = threading.Barrier(size), [None] * size
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(Threads(rank, barrier, given))
        except threading.BrokenBarrierError:
            pass  # another rank has failed
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
