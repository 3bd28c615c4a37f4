"""`nnx run` and `python -m nnx.accel`: run an unchanged script on nnx."""

import os
import sys
from typing import Annotated

import typer

from .. import accel
from ..backend import get_backend
from ._app import command


@command(
    "nnx run train.py",
    "nnx run --verbose train.py --epochs 5",
    "nnx run --backend numpy -m package.module",
    context_settings={"allow_interspersed_args": False},
)
def run(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="A path, a module's name, or - for standard input.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Arguments of the script.")] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is a module's name, as for python -m.")] = False,
    no_sklearn: Annotated[bool, typer.Option("--no-sklearn", help="Leave scikit-learn's classes as they are.")] = False,
    no_book: Annotated[bool, typer.Option("--no-book", help="Leave the book's modules as they are.")] = False,
    backend: Annotated[
        str | None, typer.Option(help="The array backend; default: NNX_BACKEND, or the best that can run.")
    ] = None,
    float32: Annotated[
        bool,
        typer.Option(
            "--float32",
            help="Compute in float32: faster, and equal to about six digits (NNX_SCRIPT_DTYPE=float32).",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say on standard error what was replaced, and what not.")
    ] = False,
) -> None:
    """Run a script written for scikit-learn or for Deep Learning from Scratch on nnx, as it is.

    nnx's classes take the place of scikit-learn's MLPClassifier and MLPRegressor, and of the book's modules. The script
    itself is not changed.
    """
    if backend is not None:
        get_backend(backend)  # an unknown name is an error before the script starts
        os.environ["NNX_BACKEND"] = backend  # for the processes that the script starts, too
    if float32:
        os.environ["NNX_SCRIPT_DTYPE"] = "float32"
    sys.excepthook = sys.__excepthook__  # typer has put its own there; a script's errors are shown as python shows them
    accel.install(sklearn=not no_sklearn, book=not no_book, verbose=verbose)
    sys.exit(accel.run(script, arguments or [], module=module))
