"""`nnx shuffle`: a file's rows in random order, once and for all."""

from pathlib import Path
from typing import Annotated

import typer

from .. import datasets
from .._support.console import counted, say
from ._app import app


@app.command()
def shuffle(
    file: Annotated[
        Path, typer.Argument(help="An .npz, .csv or .parquet; or .npy files beside each other, or their folder.")
    ],
    out: Annotated[
        Path, typer.Argument(help="A new file of the same kind (of a .csv also .parquet), or of .npy a folder.")
    ],
    seed: Annotated[int, typer.Option(help="Decides the order.")] = 0,
) -> None:
    """Write a file's rows in random order, in bounded memory: sorted ones mix badly in trainings from the disk."""
    say(f"{out}: {counted(datasets.shuffle_file(file, out, seed), 'row')} of {file}, shuffled by the seed {seed}")
