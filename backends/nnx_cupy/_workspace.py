"""Scratch memory for cuBLASLt's algorithms: one for each graph, and one for each stream of a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Workspace:
    """Memory that grows as algorithms need it; the earlier blocks stay, for a graph may hold their addresses."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self.arrays: list[Any] = []
        self.size = 0

    def grow(self, size: int) -> None:
        """Make sure of at least `size` bytes."""
        if size > self.size:
            self.arrays.append(self._xp.empty(size, "uint8"))
            self.size = size


class Workspaces(threading.local):
    """The workspaces of one thread; they go when the thread does."""

    MOST = 8
    """Streams that are remembered: of more, the one that was first used loses its workspace."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._of_streams: dict[int, Workspace] = {}
        self._in_use: Workspace | None = None

    def current(self, stream: int) -> Workspace:
        """Return the workspace to be used now, for work on the stream of that address."""
        if self._in_use is not None:
            return self._in_use
        if stream not in self._of_streams:
            if len(self._of_streams) == self.MOST:
                del self._of_streams[next(iter(self._of_streams))]
            self._of_streams[stream] = Workspace(self._xp)
        return self._of_streams[stream]

    @contextmanager
    def use(self, workspace: Workspace) -> Iterator[None]:
        """Use that workspace for all products of this thread inside the block, whatever their stream."""
        before, self._in_use = self._in_use, workspace
        try:
            yield
        finally:
            self._in_use = before
