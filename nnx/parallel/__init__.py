"""Processes that train together: what they say to each other, by whom, and where a process finds the others."""

from ._alike import check_alike
from ._communicator import Alone, Communicator
from ._first import on_first
from ._interconnect import Interconnect, measure
from ._native import Collectives, native
from ._rows import gathered, share_of
from ._shards import Shards
from ._world import world
from ._worth import Timed, Worth

__all__ = [
    "Alone",
    "Collectives",
    "Communicator",
    "Interconnect",
    "Shards",
    "Timed",
    "Worth",
    "check_alike",
    "gathered",
    "measure",
    "native",
    "on_first",
    "share_of",
    "world",
]
