"""`nnx export`: a trained run as an ONNX file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .._support.console import say
from ..errors import InputError
from ._app import command
from ._predict import load


@command(
    "nnx export runs/digits digits.onnx",
)
def export(
    run: Annotated[Path, typer.Argument(help="A run folder that `nnx train` wrote.")],
    file: Annotated[Path, typer.Argument(help="The ONNX file to write, such as digits.onnx.")],
) -> None:
    """Write the network of a run as an ONNX file, for any ONNX runtime."""
    if file.suffix != ".onnx":
        raise InputError(f"{file}: expected a name that ends in .onnx.")
    model, data = load(run, backend="numpy")
    scale, classes = repr(data.scale), json.dumps(data.classes)
    table = {} if data.table is None else {"table": json.dumps(data.table.config())}
    model.to_onnx(file, {"input_scale": scale, "classes": classes, **table})
    inputs, outputs = (", ".join(("n", *map(str, shape))) for shape in (model.input_shape, model.output_shape))
    say(f"written to {file}: x ({inputs}) to y ({outputs}), {model.dtype}")
    say(f"metadata: input_scale {scale} (what pixels are multiplied by to become x), classes {classes}")
