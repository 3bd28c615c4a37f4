"""`nnx predict`: the classes of images by a trained run."""

import gzip
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from .._support import figures
from .._support import plots as plotting
from .._support.console import say
from .._support.result import write_csv
from ..backend import use_backend
from ..datasets import Layout, PictureStyle, as_pictures, drawable, is_arrays, picture_files, read_idx, read_rows
from ..errors import CheckpointError, DatasetError, InputError
from ..functions import softmax
from ..model import Sequential
from ..ops import HostArray
from ..training import RunData, RunFolder, Trainer
from ._app import command
from ._options import BackendName
from ._predict_table import predict_tables, reads_tables

_MOST = 3  # classes that are shown of each image, unless all are
_SHOWN = (".png", ".pdf", ".svg")


@command(
    "nnx predict runs/digits image.png",
    "nnx predict runs/mnist scans '*.png' --show saw.png",
    "nnx predict runs/iris new.csv --out answers.csv",
)
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder that `nnx train` wrote.")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Pictures (PNG and the like), folders of them, patterns such as '*.png', idx files, NumPy's arrays; "
            "or tables, for a run that was trained on one."
        ),
    ],
    every: Annotated[bool, typer.Option("--all", help="Show all probabilities, not the three greatest ones.")] = False,
    as_is: Annotated[
        bool,
        typer.Option(
            "--as-is",
            help="Only resize pictures: do not look for the ink, crop, centre or invert as the training's are.",
        ),
    ] = False,
    show: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw what the network saw, and its answers, to a file.")
    ] = None,
    backend: BackendName = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write all predictions to.")] = None,
) -> None:
    """Classify pictures, or predict the rows of a table, with a trained network.

    Pictures are first made to look like those of the training, and a line says what was done to each. One that cannot
    be read, is empty or shows several drawings is refused, and the others are shown.
    """
    if show is not None:
        _check_show(show)
    model, data = load(run, backend)
    files = [Path(image) for image in images]
    if data.table is not None and reads_tables(files, data.table):
        predict_tables(model, data.table, files, out)
        return
    rows: list[tuple[str, HostArray]] = []
    refused: list[str] = []
    for path in picture_files(images):
        try:
            rows += _read(path, run, model.input_shape, data, as_is)
        except (DatasetError, InputError) as error:
            refused.append(str(error))
    if rows:
        x = np.stack([image for _, image in rows])
        with use_backend("numpy"):
            probabilities = softmax(model.predict(x))
        Console().print(
            _table([name for name, _ in rows], probabilities, data.classes, len(data.classes) if every else _MOST)
        )
        if show is not None:
            _draw(show, x, [name for name, _ in rows], probabilities, data.classes)
        if out is not None:
            found = zip((name for name, _ in rows), probabilities.argmax(axis=1).tolist(), probabilities, strict=True)
            cells = (
                [name, data.classes[best], f"{row[best]:.4f}", *(f"{p:.6f}" for p in row)] for name, best, row in found
            )
            write_csv(out, ["image", "class", "probability", *data.classes], cells)
            say(f"written to {out}: {len(rows)} rows")
    if refused:
        for message in refused:
            say(f"nnx: {message}", file=sys.stderr)
        raise typer.Exit(1)


def load(run: Path, backend: str | None) -> tuple[Sequential, RunData]:
    """Load the network of a run folder, with the scale of its inputs and the names of its classes."""
    folder = RunFolder.existing(run)
    _, data = folder.read_config()
    model = Trainer.load(folder.checkpoint, backend=backend).model
    if model.output_shape != (len(data.classes) or 1,):
        raise CheckpointError(
            f"{folder.config}: names {len(data.classes)} classes, but the network has outputs of {model.output_shape}; "
            "use another copy."
        )
    return model, data


def _table(names: list[str], probabilities: HostArray, classes: tuple[str, ...], most: int) -> Table:
    most = min(most, len(classes))
    others = "all probabilities" if most == len(classes) else "next"
    table = Table(Column("image", overflow="fold"), "class", Column("probability", no_wrap=True), others)
    for name, row in zip(names, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")
        shown = range(len(row)) if most == len(classes) else order[1:most]
        # Label and number without a space: they stay together where a line is full.
        text = "  ".join(f"{classes[label]}:{row[label]:.3f}" for label in shown)
        best = int(order[0])
        table.add_row(escape(name), escape(classes[best]), f"{row[best]:.4f}", escape(text))
    return table


def _read(path: Path, run: Path, shape: tuple[int, ...], data: RunData, as_is: bool) -> list[tuple[str, HostArray]]:
    """Read a picture or an idx file; return names and images as the network takes them."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path) as file:
                start = file.read(4)
        except (OSError, EOFError):
            start = b""
    if start[:2] == b"\0\0" or is_arrays(path):
        array = read_rows(path) if is_arrays(path) else read_idx(path)
        if len(shape) == 3 and array.shape[1:] != shape and array.ndim in (3, 4):
            array = as_pictures(str(path), array)
        if array.shape[1:] != shape:
            raise InputError(
                f"{path}: holds an array of shape {array.shape}, expected (n, {', '.join(map(str, shape))})."
            )
        return [(f"{path.name}[{i}]", image * np.float32(data.scale)) for i, image in enumerate(array)]
    if data.pictures is None:
        if Layout.of(shape) is None:
            raise InputError(f"{path}: the network takes inputs of shape {shape}, not pictures.")
        raise InputError(
            f"{run}: was trained by an older nnx, which kept nothing of how its pictures look; train it again."
        )
    return [(path.name, _picture(path, data.pictures, as_is))]


def _picture(path: Path, style: PictureStyle, as_is: bool) -> HostArray:
    try:
        image, note = style.read(path, as_is=as_is)
    except DatasetError as error:
        raise DatasetError(f"{error} It is no idx file, either.") from None
    if note:
        say(f"{path}: {note}")
    return image


def _check_show(path: Path) -> None:
    """Raise, before anything is computed, for a file that cannot be drawn."""
    if path.suffix.lower() not in _SHOWN:
        raise InputError(f"--show: got {path}, expected a file {', '.join(_SHOWN)}.")
    if not path.parent.is_dir():
        raise InputError(f"--show: got {path}, but there is no folder {path.parent}; make it, or pass another.")
    with plotting.style():
        pass


def _draw(path: Path, x: HostArray, names: list[str], probabilities: HostArray, classes: tuple[str, ...]) -> None:
    images = drawable(x)
    if images is None:
        raise InputError(
            f"--show: the network takes inputs of shape {x.shape[1:]}, which are no pictures; leave it out."
        )
    captions = []
    for name, row in zip(names, probabilities, strict=True):
        best = int(np.argmax(row))
        captions.append(
            (f"{figures.short(classes[best], 11)} {row[best]:.2f}\n{figures.short(name, 16)}", plotting.INK)
        )
    with plotting.style():
        columns = min(10, max(4, len(images)))
        figure = figures.image_sheet(
            images, captions, "What the network saw, and its answers", columns=columns, size=0.9
        )
    plotting.save(figure, path)
    say(f"what the network saw: {path}")
