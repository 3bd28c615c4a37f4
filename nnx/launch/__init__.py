"""Starting the processes of a training by mpiexec, and watching over them: all stop when one dies."""

from ._launch import Launch
from ._mpiexec import find as find_mpiexec

__all__ = ["Launch", "find_mpiexec"]
