"""Processes that train together: what they say to each other, by whom, and where a process finds the others."""

from ._communicator import Alone, Communicator
from ._world import world

__all__ = ["Alone", "Communicator", "world"]
