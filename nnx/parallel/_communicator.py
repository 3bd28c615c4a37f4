"""What processes that train together say to each other: four methods, and the communicator of one process alone."""

from typing import Any, Protocol, runtime_checkable

from ..ops import HostArray


@runtime_checkable
class Communicator(Protocol):
    """The processes of a training, its *ranks*, as one of them sees them.

    Every method is called by all ranks, in the same order, with arrays of the same size and dtype; it returns when this
    rank has what it is to receive. Arrays are NumPy's, flat and contiguous, and two of one call do not overlap. Numbers
    travel as they are: nothing is added up on the way, so that the bits do not depend on the library beneath.
    """

    rank: int
    """This process' number, 0..size-1."""
    size: int
    """How many processes there are."""

    def all_to_all(self, send: HostArray, receive: HostArray, /) -> None:
        """Give each rank its slice of `send`: the slice r of `receive` is what the rank r has for this one.

        Args:
            send: (size * k,), the slice r for the rank r.
            receive: (size * k,).
        """

    def all_gather(self, send: HostArray, receive: HostArray, /) -> None:
        """Give `send` to all ranks: the slice r of `receive` is the `send` of the rank r.

        Args:
            send: (k,).
            receive: (size * k,).
        """

    def broadcast(self, array: HostArray, /, root: int = 0) -> None:
        """Overwrite `array`, (k,), with that of the rank `root`."""

    def exchange(self, value: Any, /) -> list[Any]:
        """Return the values of all ranks in their order: small ones, of what JSON has; on the host."""


class Alone:
    """The communicator of one process that trains by itself."""

    rank, size = 0, 1

    def all_to_all(self, send: HostArray, receive: HostArray, /) -> None:
        receive[...] = send

    def all_gather(self, send: HostArray, receive: HostArray, /) -> None:
        receive[...] = send

    def broadcast(self, array: HostArray, /, root: int = 0) -> None:
        pass

    def exchange(self, value: Any, /) -> list[Any]:
        return [value]

    def __repr__(self) -> str:
        return "one process"
