"""`nnx shuffle`: a file's rows in random order, once and for all."""

from pathlib import Path
from typing import Annotated

import typer

from .. import datasets
from .._support.console import counted, say
from ._app import command


@command(
    "nnx shuffle sorted.parquet shuffled.parquet",
    "nnx shuffle x_train.npy shuffled/ --seed 1",
)
def shuffle(
    file: Annotated[
        Path, typer.Argument(help="An .npz, .csv or .parquet; or .npy files beside each other, or their folder.")
    ],
    out: Annotated[
        Path, typer.Argument(help="A new file of the same kind (of a .csv also .parquet), or of .npy a folder.")
    ],
    seed: Annotated[int, typer.Option(help="Decides the order.")] = 0,
) -> None:
    """Write a file's rows in random order.

    Trainings from the disk mix sorted rows badly. Files may be larger than the memory.
    """
    say(f"{out}: {counted(datasets.shuffle_file(file, out, seed), 'row')} of {file}, shuffled by the seed {seed}")
