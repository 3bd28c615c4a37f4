"""How the rows of a batch are divided among ranks."""

from dataclasses import dataclass
from itertools import pairwise

from ..errors import InputError
from ._communicator import Communicator


@dataclass(frozen=True)
class Shards:
    """A batch's *shards*: parts of neighbouring rows, of which each rank has the same number, one after the other.

    What is computed of a shard depends on the shard alone, and what is computed of all is put together in their order:
    so the bits depend on their number, and not on who computes them.
    """

    communicator: Communicator
    count: int
    """How many there are: a multiple of the ranks."""

    @classmethod
    def of(cls, communicator: Communicator, count: int | None) -> "Shards | None":
        """Return the shards of a training; None where one process computes whole batches.

        Args:
            communicator: of the ranks.
            count: how many shards; None: one for each rank.

        Raises:
            InputError: they cannot be divided evenly among the ranks.
        """
        ranks = communicator.size
        if count is not None and count % ranks:
            raise InputError(
                f"shards: got {count} for {ranks} ranks, expected a multiple of {ranks}, so that each has as many."
            )
        count = ranks if count is None else count
        return None if count == 1 else cls(communicator, count)

    @property
    def each(self) -> int:
        """How many shards a rank has."""
        return self.count // self.communicator.size

    @property
    def own(self) -> slice:
        """Which ones are this rank's."""
        return slice(self.communicator.rank * self.each, (self.communicator.rank + 1) * self.each)

    def cut(self, n: int) -> list[tuple[int, int]]:
        """Return the first row of each shard of a batch of n rows, and the one behind its last.

        The first n % count of them have a row more than the others; of fewer rows than shards some have none.
        """
        size, more = divmod(n, self.count)
        starts = [i * size + min(i, more) for i in range(self.count + 1)]
        return list(pairwise(starts))

    def rows(self, n: int) -> slice:
        """Return which rows of a batch of n are this rank's."""
        own = self.cut(n)[self.own]
        return slice(own[0][0], own[-1][1])
