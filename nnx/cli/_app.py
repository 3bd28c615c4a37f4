"""The typer application that the commands register with."""

from typing import Annotated

import typer

app = typer.Typer(
    help="Train neural networks on interchangeable array backends.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"nnx {__version__}")
        raise typer.Exit


def is_given(ctx: typer.Context, name: str) -> bool:
    """Return whether a parameter was given on the command line, even with its default value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
