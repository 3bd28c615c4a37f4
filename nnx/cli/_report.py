"""`nnx report`: a run or a search as one page to read."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from .._support.console import say
from ._app import command


@command(
    "nnx report runs/digits --open",
    "nnx report runs/tune-digits",
)
def report(
    folder: Annotated[Path, typer.Argument(help="What `nnx train` or `nnx tune` wrote.", metavar="RUN_OR_STUDY")],
    out: Annotated[Path | None, typer.Option(help="The page; default: report.html in the folder.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="Backend by name, which computes what the network of a run does.")
    ] = None,
    storage: Annotated[str | None, typer.Option(help="URL of the database in which machines shared a search.")] = None,
    name: Annotated[str | None, typer.Option(help="The search's name in --storage.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write a run, or a search for settings, as one HTML page.

    The page of a run has its settings, curves, confusion matrix and worst mistakes; that of a search its rounds. It is
    one file that needs no others.
    """
    from .. import report as reports

    file = reports.write(folder, out, backend=backend, storage=storage, name=name)
    say("written to", str(file))
    if open_page and not webbrowser.open(file.resolve().as_uri()):
        say("no browser could be started here; open the file in one yourself")
