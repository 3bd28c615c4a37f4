"""Rows that each rank has computed a part of, for all of them."""

import numpy as np

from ..ops import HostArray
from ._communicator import Communicator


def share_of(communicator: Communicator, n: int, least: int) -> slice:
    """Return this rank's part of n rows: neighbouring ones, in whole runs of `least` but for the last run."""
    runs = -(-n // least)
    ranks, rank = communicator.size, communicator.rank
    return slice(min(runs * rank // ranks * least, n), min(runs * (rank + 1) // ranks * least, n))


def gathered(communicator: Communicator, part: HostArray) -> HostArray:
    """Return the parts of all ranks, one after the other.

    Args:
        communicator: of the ranks.
        part: (k, ...), of any k, and on all ranks the same otherwise.
    """
    if communicator.size == 1:
        return part
    counts = communicator.exchange(len(part))
    most, row = max(counts), int(np.prod(part.shape[1:], dtype=int))
    if most * row == 0:
        return part if most == 0 else np.empty((sum(counts), *part.shape[1:]), part.dtype)
    send, every = np.zeros((most, row), part.dtype), np.empty((len(counts), most, row), part.dtype)
    send[: len(part)] = part.reshape(len(part), row)
    communicator.all_gather(send.reshape(-1), every.reshape(-1))
    whole = np.concatenate([rows[:count] for rows, count in zip(every, counts, strict=True)])
    return whole.reshape(len(whole), *part.shape[1:])
