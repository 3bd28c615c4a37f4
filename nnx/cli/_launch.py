"""`nnx launch`: one training by several processes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from ..launch import Launch, find_mpiexec
from ._app import command


@command(
    "nnx launch -n 4 train.py",
    "nnx launch -n 2 nnx train --epochs 50",
    "nnx launch -n 4 --restarts 3 train.py",
    context_settings={"allow_interspersed_args": False},
)
def launch(
    script: Annotated[
        str | None,
        typer.Argument(metavar="SCRIPT", help="A path, `nnx` for one of its commands, or with -m a module."),
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The script's own.")] = None,
    ranks: Annotated[int, typer.Option("-n", metavar="RANKS", help="How many processes.")] = 2,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is a module's name, as for python -m.")] = False,
    restarts: Annotated[int, typer.Option(help="How often to begin again when a process has died.")] = 0,
    hosts: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Machines, separated by commas; default: this one.")
    ] = None,
    hostfile: Annotated[Path | None, typer.Option(help="A file of machines, as the MPI reads it.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="NAME", help="By which those machines reach this one; default: its host name.")
    ] = None,
    silence: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="After which a process that is stopped, or its machine, is given up."),
    ] = 15.0,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure what the exchange of a step costs these processes; no SCRIPT.")
    ] = False,
    mpiexec: Annotated[
        str | None, typer.Option(metavar="PATH", help="Of the MPI; default: beside this Python, or on the PATH.")
    ] = None,
) -> None:
    """Run a script as several processes, which train together, by the MPI's mpiexec.

    All stop when one dies, and its exit status is this command's. With --restarts the script then begins again, and
    finds its checkpoint. Ctrl-C ends the training after a step, with the checkpoint written; again, at once.
    """
    words = _words(script, arguments or [], module, probe)
    trains = words[1:3] == ["nnx.cli", "train"]
    if restarts and trains and not any(word.partition("=")[0] in ("--out", "--resume") for word in words):
        raise InputError("--restarts: nnx train has no --out, expected a folder in which to go on.")
    found = find_mpiexec(mpiexec)
    status = Launch(
        found, ranks, words, hosts=hosts, hostfile=hostfile, address=address, silence=silence, restarts=restarts
    ).run()
    sys.exit(status)


def _words(script: str | None, arguments: list[str], module: bool, probe: bool) -> list[str]:
    """Return what each process runs: a script's path, or -m and a module, with its arguments."""
    if probe:
        if script is not None:
            raise InputError(f"--probe: got {script}, too; expected no script.")
        return ["-m", "nnx.parallel.probe"]
    if script is None:
        raise InputError("SCRIPT: got none, expected a Python script, nnx with one of its commands, or --probe.")
    if Path(script).name.startswith("python") and arguments:
        return _words(arguments[0], arguments[1:], False, False) if arguments[0] != "-m" else arguments
    if script == "nnx" and not module:
        script, module = "nnx.cli", True
    return [*["-m"] * module, script, *arguments]
