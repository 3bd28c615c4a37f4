"""`nnx predict`: the classes of images by a trained run."""

import gzip
import importlib.util
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from ..backend import use_backend
from ..datasets import as_pictures, read_idx
from ..errors import CheckpointError, DatasetError, InputError
from ..functions import softmax
from ..model import Sequential
from ..ops import HostArray
from ..training import RunData, RunFolder, Trainer
from ._app import app
from ._options import BackendName


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder that `nnx train` wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures (PNG and the like) or idx files of images.")],
    backend: BackendName = None,
) -> None:
    """Show the class and the probabilities that a trained network gives to images."""
    model, data = load(run, backend)
    rows: list[tuple[str, HostArray]] = []
    for path in images:
        rows += _read(path, model.input_shape, data.scale)
    scores = model.predict(np.stack([image for _, image in rows]))
    with use_backend("numpy"):
        probabilities = softmax(scores)

    table = Table("image", "class", "probability", "all probabilities")
    for (name, _), row in zip(rows, probabilities, strict=True):
        best = int(np.argmax(row))
        every = "  ".join(f"{label}:\N{NO-BREAK SPACE}{p:.3f}" for label, p in zip(data.classes, row, strict=True))
        table.add_row(name, data.classes[best], f"{row[best]:.4f}", every)
    Console().print(table)


def load(run: Path, backend: str | None) -> tuple[Sequential, RunData]:
    """Load the network of a run folder, with the scale of its inputs and the names of its classes."""
    folder = RunFolder.existing(run)
    _, data = folder.read_config()
    model = Trainer.load(folder.checkpoint, backend=backend).model
    if model.output_shape != (len(data.classes),):
        raise CheckpointError(
            f"{folder.config}: names {len(data.classes)} classes, but the network has outputs of {model.output_shape}; "
            "use another copy."
        )
    return model, data


def _read(path: Path, shape: tuple[int, ...], scale: float) -> list[tuple[str, HostArray]]:
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
    if start[:2] == b"\0\0":
        array = read_idx(path)
        if len(shape) == 3 and array.shape[1:] != shape and array.ndim in (3, 4):
            array = as_pictures(str(path), array)
        if array.shape[1:] != shape:
            raise InputError(
                f"{path}: holds an array of shape {array.shape}, expected (n, {', '.join(map(str, shape))})."
            )
        return [(f"{path.name}[{i}]", image * np.float32(scale)) for i, image in enumerate(array)]
    return [(path.name, _picture(path, shape))]


def _picture(path: Path, shape: tuple[int, ...]) -> HostArray:
    if importlib.util.find_spec("PIL") is None:
        raise InputError(f"{path}: reading pictures needs Pillow; pip install 'nnx-array[plot]'.")
    from PIL import Image, UnidentifiedImageError

    channels = 1 if len(shape) == 2 else shape[0]
    if len(shape) not in (2, 3) or channels not in (1, 3):
        raise InputError(f"{path}: the network takes inputs of shape {shape}, not pictures.")
    try:
        with Image.open(path) as file:
            image = file.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise DatasetError(f"{path}: is no picture that Pillow can read, and no idx file ({error}).") from None
    height, width = shape[-2:]
    if image.size != (width, height):
        print(f"{path}: {image.size[0]} x {image.size[1]} pixels, scaled to {width} x {height}")
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.float32) / 255
    if channels == 3:
        return np.moveaxis(pixels, 2, 0)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if border.mean() > 0.5:
        print(f"{path}: a light background, inverted (the training images have a dark one)")
        pixels = 1 - pixels
    return pixels.reshape(shape)
