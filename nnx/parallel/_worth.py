"""Whether ranks that train together are faster than one process would be, by their own clocks."""

import time
from collections.abc import Callable
from typing import Any

from ..ops import Array
from ._native import Collectives

_ENOUGH = 5
"""Steps from which on an average is told."""


class Timed:
    """A communicator's methods, and the seconds that this rank has spent in them: waiting for others, mostly."""

    def __init__(self, own: Collectives) -> None:
        self._own = own
        self.seconds = 0.0

    def all_to_all(self, send: Array, receive: Array, /) -> None:
        self._time(self._own.all_to_all, send, receive)

    def all_gather(self, send: Array, receive: Array, /) -> None:
        self._time(self._own.all_gather, send, receive)

    def broadcast(self, array: Array, /, root: int = 0) -> None:
        self._time(self._own.broadcast, array, root)

    def _time(self, method: Callable[..., None], *arguments: Any) -> None:
        began = time.perf_counter()
        method(*arguments)
        self.seconds += time.perf_counter() - began


class Worth:
    """Steps of several ranks, and what one process would need for them at most.

    Args:
        ranks: how many there are.
    """

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        self._steps, self._seconds, self._exchanged = 0, 0.0, 0.0

    def add(self, seconds: float, exchanged: float) -> None:
        """Add a step.

        Args:
            seconds: how long it took.
            exchanged: how much of that were exchanges.
        """
        self._steps += 1
        self._seconds += seconds
        self._exchanged += exchanged

    def told(self) -> str | None:
        """Return a sentence where one process is faster even if it takes p times what a rank computes; or None."""
        if self._ranks == 1 or self._steps < _ENOUGH:
            return None
        step, exchange = self._seconds / self._steps * 1e3, self._exchanged / self._steps * 1e3
        alone = (step - exchange) * self._ranks
        if alone >= step:
            return None
        return (
            f"{self._ranks} ranks do not pay: a step takes {step:.3g} ms, {exchange:.3g} ms of it for the exchange; "
            f"one process would take {alone:.3g} ms at most"
        )
