"""The typer application that the commands register with."""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

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


def _run_parts(files: list[Path]) -> None:
    """Run Python files as modules of their own, which make parts known by `nnx.register`."""
    for file in files:
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise InputError(f"--import: got {file}, expected a Python file that calls nnx.register.")
        if file.stem in sys.modules:
            raise InputError(f"--import: {file.stem} is the name of another module already; rename {file}.")
        sys.path.insert(0, str(file.resolve().parent))  # for what lies beside it
        sys.modules[file.stem] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def is_given(ctx: typer.Context, name: str) -> bool:
    """Return whether a parameter was given on the command line, even with its default value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    imports: Annotated[
        list[Path] | None,
        typer.Option("--import", metavar="FILE", help="Python file of parts of your own, run first."),
    ] = None,
) -> None:
    _run_parts(imports or [])
