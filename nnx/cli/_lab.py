"""`nnx lab`: the experiments of the study notes."""

from pathlib import Path

import typer

from ..lab import Result
from ._app import app

lab = typer.Typer(help="The study notes' experiments, on your own data.", no_args_is_help=True)
app.add_typer(lab, name="lab")


def show(result: Result, out: Path) -> None:
    """Print what is to be seen, and write the result's files."""
    print(result.summary())
    written = result.save(out)
    print(f"written to {out}: {', '.join(file.name for file in written)}")
