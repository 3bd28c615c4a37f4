"""The order in which the rows of a data set are trained on: a function of the seed and the epoch."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..ops import HostArray


class Window(NamedTuple):
    """Rows that are in memory at once."""

    first: int
    """The place of its first row in the epoch."""
    blocks: HostArray
    """(k, 2) int64, the first row of each block and the one behind its last; so they lie in memory, one by one."""
    places: HostArray
    """(m,) int64, where its m rows lie in memory, in the order of training."""
    rows: HostArray
    """(m,) int64, their numbers, in the order of training."""


class Order:
    """The order of the rows in each epoch.

    Rows in memory are shuffled one by one. On a disk, where neighbours are read together, *blocks* of consecutive rows
    come in a permuted order, and as many of them as a *window* holds are shuffled row by row. A window that holds all
    rows gives the order of rows in memory.

    Args:
        rows: how many there are, at least 1.
        seed: decides the order.
        shuffle: False for the order in which they are stored.
        blocks: (k + 1,) rising, the first rows of the k blocks, and `rows`; default one block of all.
        window: rows that are shuffled together: blocks as long as they fit, one at least; default all.
    """

    def __init__(
        self,
        rows: int,
        seed: int,
        *,
        shuffle: bool = True,
        blocks: HostArray | None = None,
        window: int | None = None,
    ) -> None:
        self._rows, self._seed, self._shuffle = rows, seed, shuffle
        whole = blocks is None or window is None or window >= rows
        self._edges = np.array([0, rows]) if whole else np.asarray(blocks, np.int64)
        self._window = rows if whole else window or rows
        self._whole = whole
        self._last: tuple[int, int, Window] | None = None

    def __len__(self) -> int:
        return self._rows

    @property
    def most(self) -> int:
        """The greatest number of rows of a window."""
        return max(self._window, int(np.diff(self._edges).max()))

    @property
    def shuffled(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self._shuffle

    def rows(self, epoch: int, start: int, stop: int) -> HostArray:
        """Return the numbers of the rows at the places start, ..., stop - 1 of an epoch, int64.

        Args:
            epoch: counted from 0.
            start: a place in the epoch.
            stop: behind the last one.
        """
        found = []
        for window in self.windows(epoch, start):
            found.append(window.rows[max(start - window.first, 0) : stop - window.first])
            if window.first + len(window.rows) >= stop:
                break
        return found[0] if len(found) == 1 else np.concatenate(found)

    def windows(self, epoch: int, start: int = 0) -> Iterator[Window]:
        """Go over the windows of an epoch, from the one that has the place `start` on.

        Args:
            epoch: counted from 0.
            start: a place in the epoch.
        """
        blocks = np.stack([self._edges[:-1], self._edges[1:]], axis=1)
        if self._shuffle and not self._whole:
            blocks = blocks[np.random.default_rng((self._seed, 1, epoch)).permutation(len(blocks))]
        places = np.concatenate([[0], np.cumsum(blocks[:, 1] - blocks[:, 0])])
        begin, number = 0, 0
        while begin < len(blocks):
            first = int(places[begin])
            end = max(int(np.searchsorted(places, first + self._window, "right")) - 1, begin + 1)
            if places[end] > start:
                yield self._windowed(epoch, number, first, blocks[begin:end], int(places[end]) - first)
            begin, number = end, number + 1

    def _windowed(self, epoch: int, number: int, first: int, blocks: HostArray, size: int) -> Window:
        if self._last is not None and self._last[:2] == (epoch, number):
            return self._last[2]
        places = np.arange(size)
        if self._shuffle:
            key = (self._seed, 1, epoch) if self._whole else (self._seed, 1, epoch, 1 + number)
            np.random.default_rng(key).shuffle(places)
        blocks = blocks[np.argsort(blocks[:, 0])]  # read in their order on the disk
        stored = np.concatenate([np.arange(begin, end) for begin, end in blocks])
        window = Window(first, blocks, places, stored[places])
        self._last = epoch, number, window  # asked for again and again, batch by batch
        return window
