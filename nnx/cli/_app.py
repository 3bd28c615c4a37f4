"""The typer application that the commands register with."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import InputError

_ORDER = (
    *("train", "predict", "report", "export", "lab", "tune", "run", "launch"),
    *("shuffle", "docs", "backends", "doctor", "warmup", "bench"),
)


class _InOrder(TyperGroup):
    """The commands in the order in which a newcomer needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def help_text(text: str, examples: tuple[str, ...]) -> str:
    """Return the help of a command: its first line, examples, and the paragraphs that follow.

    Args:
        text: a docstring; its first line, and paragraphs.
        examples: commands as one would type them, each with a comment if it needs one.
    """
    first, *rest = (" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))
    block = "\b\n" + "\n".join(f"$ {example}" for example in examples)  # \b: typer leaves these lines alone
    return "\n\n".join([first, block, *rest])


def command(*examples: str, group: typer.Typer | None = None, **settings: Any) -> Callable[..., Any]:
    """Add a function as a command of nnx, or of a group, whose help shows examples before all else."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        text = help_text(function.__doc__ or "", examples)
        return (app if group is None else group).command(help=text, **settings)(function)

    return add


app = typer.Typer(
    cls=_InOrder,
    help=help_text(
        "Train neural networks on interchangeable array backends.",
        (
            "nnx train                         # on digits",
            "nnx train --dataset iris.csv      # on a table",
            "nnx predict runs/digits image.png",
            "nnx lab init                      # an experiment",
            "nnx train --help                  # more examples",
            "nnx docs                          # pages to read",
        ),
    ),
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
