"""`nnx predict`: the classes of images by a trained run."""

import gzip
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .._support.console import say
from .._support.result import write_csv
from ..backend import use_backend
from ..datasets import Layout, as_pictures, is_arrays, light_background, read_idx, read_image, read_rows
from ..errors import CheckpointError, DatasetError, InputError
from ..functions import softmax
from ..model import Sequential
from ..ops import HostArray
from ..training import RunData, RunFolder, Trainer
from ._app import app
from ._options import BackendName
from ._predict_table import predict_tables, reads_tables


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder that `nnx train` wrote.")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Pictures (PNG and the like), idx files or NumPy's arrays; or tables, as the run has one."),
    ],
    backend: BackendName = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write all predictions to.")] = None,
) -> None:
    """Show the class and the probabilities, or the number, that a trained network gives to images or rows."""
    model, data = load(run, backend)
    if data.table is not None and reads_tables(images, data.table):
        predict_tables(model, data.table, images, out)
        return
    rows: list[tuple[str, HostArray]] = []
    for path in images:
        rows += _read(path, model.input_shape, data)
    scores = model.predict(np.stack([image for _, image in rows]))
    with use_backend("numpy"):
        probabilities = softmax(scores)

    table = Table("image", "class", "probability", "all probabilities")
    for (name, _), row in zip(rows, probabilities, strict=True):
        best = int(np.argmax(row))
        every = "  ".join(f"{label}:\N{NO-BREAK SPACE}{p:.3f}" for label, p in zip(data.classes, row, strict=True))
        table.add_row(escape(name), escape(data.classes[best]), f"{row[best]:.4f}", escape(every))
    Console().print(table)
    if out is not None:
        found = zip((name for name, _ in rows), probabilities.argmax(axis=1).tolist(), probabilities, strict=True)
        cells = (
            [name, data.classes[best], f"{row[best]:.4f}", *(f"{p:.6f}" for p in row)] for name, best, row in found
        )
        write_csv(out, ["image", "class", "probability", *data.classes], cells)
        say(f"written to {out}: {len(rows)} rows")


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


def _read(path: Path, shape: tuple[int, ...], data: RunData) -> list[tuple[str, HostArray]]:
    """Read a picture or an idx file; return names and images in 0..1, of the network's input shape."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; expected a picture or an idx file.")
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
    return [(path.name, _picture(path, shape, data.dark))]


def _picture(path: Path, shape: tuple[int, ...], dark: bool) -> HostArray:
    layout = Layout.of(shape)
    if layout is None:
        raise InputError(f"{path}: the network takes inputs of shape {shape}, not pictures.")
    size = layout.height, layout.width
    try:
        image, own = read_image(path, layout.channels, size)
    except DatasetError as error:
        raise DatasetError(f"{error} It is no idx file, either.") from None
    if own != size:
        print(f"{path}: {own[0]} x {own[1]} pixels, scaled to {size[0]} x {size[1]}")
    pixels = image.astype(np.float32) / 255
    if layout.channels == 3:
        return pixels if layout.last else np.moveaxis(pixels, 2, 0)
    if dark and light_background(pixels[None], 1)[0]:
        print(f"{path}: a light background, inverted (the training images have a dark one)")
        pixels = 1 - pixels
    return pixels.reshape(shape)
