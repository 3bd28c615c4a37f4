"""Whether all ranks are about to do the same training."""

from collections.abc import Mapping
from typing import Any

from ..errors import ParallelError
from ._communicator import Communicator

_LONG = 300  # characters of a value in a message


def check_alike(communicator: Communicator, facts: Mapping[str, Any]) -> None:
    """Raise, on all ranks, if something differs from rank to rank.

    Args:
        communicator: of the ranks.
        facts: what must be the same, of what JSON has, by the names that the message has.

    Raises:
        ParallelError: it names what differs first, with the ranks and their values.
    """
    everybody = communicator.exchange(dict(facts))
    first = everybody[0]
    for rank, theirs in enumerate(everybody):
        for name in {**first, **theirs}:
            ours, other = first.get(name), theirs.get(name)
            if repr(ours) != repr(other):
                raise ParallelError(
                    f"{name}: rank {rank} has {_shown(other)}, and rank 0 {_shown(ours)}; expected the same on all."
                )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONG else text[:_LONG] + " ..."
