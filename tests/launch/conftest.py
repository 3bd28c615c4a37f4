"""Launches over the toy mpiexec, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnx.launch.rank import THREADS

sys.path.insert(0, str(Path(__file__).parent))  # for the script of real launches

TOY = Path(__file__).parent / "toy_mpiexec.py"


@pytest.fixture
def toy(tmp_path):
    """The toy mpiexec, as a program that the running Python carries out."""
    program = tmp_path / "mpiexec"
    program.write_text(f"#!{sys.executable}\n{TOY.read_text(encoding='utf-8').partition(chr(10))[2]}", encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def start(tmp_path, toy):
    """Begin `nnx launch` of a script's text; returns the process."""
    # mpi4py need not be installed where nobody calls it; it is only looked for.
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mpi4py.py").touch()
    begun = []

    def start(script, *options, ranks=2, arguments=()):
        file = tmp_path / "script.py"
        file.write_text(script, encoding="utf-8")
        path = os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])
        command = [sys.executable, "-m", "nnx", "launch", "-n", str(ranks), "--mpiexec", str(toy), *options, str(file)]
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**{name: value for name, value in os.environ.items() if name not in THREADS}, "PYTHONPATH": path},
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def launched(start):
    """Run `nnx launch` of a script's text to its end; returns the exit status and what was printed."""

    def run(*arguments, **named):
        process = start(*arguments, **named)
        out, err = process.communicate(timeout=100)
        return process.returncode, out, err

    return run
