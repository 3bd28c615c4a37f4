"""`nnx lab`: the group of the laboratory's commands, and how each of them ends."""

import os
from pathlib import Path
from typing import Annotated

import typer

from .._support import plots as plotting
from .._support.console import say
from ..errors import InputError
from ..lab import Result
from ..training import next_free
from ._app import app, help_text

LAB = Path("lab")

lab = typer.Typer(
    help=help_text(
        "Run the experiments of the study notes, on your own data: each prints what it finds, and draws it.",
        ("nnx lab init", "nnx lab rates --dataset mnist", "nnx lab optimizers --help"),
    ),
    no_args_is_help=True,
)
app.add_typer(lab, name="lab")


def _usable(out: Path | None) -> Path | None:
    """Check the folder before the experiment, which may take minutes, and return it."""
    if out is not None:
        there = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise InputError(f"{out}: no folder can be written there ({there} is in the way); pass another --out.")
    return out


Out = Annotated[
    Path | None, typer.Option(callback=_usable, help="Folder for CSV and figure; default: a new one under lab/.")
]


def show(result: Result, out: Path | None) -> None:
    """Print the summary, and write the result's files into `out` (default: the next free folder under lab/)."""
    say(result.summary())
    folder = next_free(LAB / result.name) if out is None else out
    written = result.save(folder)
    if not plotting.available():
        say(f"left out: {result.name}.png (matplotlib is not installed; pip install 'nnx-array[plot]')")
    say(f"written to {folder}: {', '.join(file.name for file in written)}")
