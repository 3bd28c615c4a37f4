"""What one rank does for all."""

from collections.abc import Callable
from typing import TypeVar

from .. import errors
from ..errors import NnxError, ParallelError
from ._communicator import Communicator

T = TypeVar("T")


def on_first(communicator: Communicator, work: Callable[[], T]) -> T:
    """Do something on rank 0 alone, such as to write a file; when this returns, it is done for all ranks.

    Args:
        communicator: of the ranks, all of which call this.
        work: what rank 0 does; it gives something small, of what JSON has.

    Returns:
        What it gave, on every rank.

    Raises:
        NnxError: what it raised, on every rank.
    """
    value, failure = None, None
    if communicator.rank == 0:
        try:
            value = work()
        except NnxError as error:
            failure = error
    told = communicator.exchange([value, failure and [type(failure).__name__, str(failure)]])[0]
    if failure is not None:
        raise failure
    if told[1] is not None:
        name, text = told[1]
        raise getattr(errors, name, ParallelError)(text)
    found: T = told[0]
    return found
