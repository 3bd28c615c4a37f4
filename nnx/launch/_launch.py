"""A launch: a script runs as ranks; when one dies all stop, and begin again if that is wanted."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .._support.checks import check_count, check_number
from .._support.console import say
from ..errors import InputError
from ._mpiexec import MPIExec
from ._watch import Watch

_BATCH = ("SLURM_JOB_NODELIST", "PBS_NODEFILE", "LSB_HOSTS")
"""Set by batch systems, which tell mpiexec the machines."""


class Launch:
    """A script, and the ranks as which it is to run.

    Args:
        mpiexec: what starts them.
        ranks: how many.
        words: the script and its arguments, or "-m", a module and its arguments.
        hosts: names of machines, separated by commas; by default this one, or those of the batch system.
        hostfile: a file of them, as the MPI reads it.
        address: the name by which other machines reach this one; by default its host name.
        silence: seconds without a beat, of which there is one a second, after which a rank is given up.
        restarts: how often to begin again after a rank has died. Ranks find in NNX_RESTARTS how often that was.

    Raises:
        InputError: the script is not there, a number is out of range, or both hosts and a hostfile are given.
    """

    def __init__(
        self,
        mpiexec: MPIExec,
        ranks: int,
        words: Sequence[str],
        *,
        hosts: str | None = None,
        hostfile: Path | None = None,
        address: str | None = None,
        silence: float = 15.0,
        restarts: int = 0,
    ) -> None:
        self.mpiexec, self.words = mpiexec, list(words)
        if words[0] != "-m" and not Path(words[0]).is_file():
            raise InputError(f"{words[0]}: no such file, expected a Python script; a module's name needs -m before it.")
        self.ranks = check_count("n", ranks)
        self.restarts = check_count("restarts", restarts, 0)
        self.silence = check_number("silence", silence, 3)
        if hosts and hostfile:
            raise InputError(f"hosts: got {hosts} and the hostfile {hostfile}; pass one of them.")
        self.hosts, self.hostfile = hosts, hostfile
        elsewhere = hosts or hostfile or address or any(name in os.environ for name in _BATCH)
        self.address = address or (socket.gethostname() if elsewhere else "127.0.0.1")

    def run(self) -> int:
        """Run it to its end, and print why if a rank has ended it.

        Returns:
            The exit status: 0, or that of the rank which failed first, 128 + n where the signal n killed it.
        """
        for again in range(self.restarts + 1):
            watch = Watch(self._command, {"NNX_RESTARTS": str(again)}, self.ranks, self.address, self.silence)
            watch.run()
            if watch.failure is not None:
                print(f"launch: {watch.failure}", file=sys.stderr, flush=True)
            if watch.failure is None or watch.final or watch.interrupted or again == self.restarts:
                break
            say(f"launch: beginning again, {again + 1} of {self.restarts}", file=sys.stderr)
        return watch.status

    def _command(self, environment: Mapping[str, str]) -> list[str]:
        program = [sys.executable, "-m", "nnx.launch.rank", *self.words]
        return self.mpiexec.command(self.ranks, program, self.hosts, self.hostfile, environment)
