"""`nnx run`: run an unchanged script on nnx."""

import sys
from typing import Annotated

import typer

from ._app import app


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    add_help_option=False,
)
def run(
    arguments: Annotated[list[str], typer.Argument(metavar="[OPTIONS] SCRIPT [ARGS...]")],
) -> None:
    """Run a script as it is, with scikit-learn's MLP and the modules of Deep Learning from Scratch replaced by nnx's.

    `nnx run --help` shows the options.
    """
    from ..accel.__main__ import main

    sys.excepthook = sys.__excepthook__  # typer has put its own there; a script's errors are shown as python shows them
    sys.exit(main(arguments, prog="nnx run"))
