"""`nnx warmup`: compile all kernels now, so that no first training has to."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.progress import track

from .._support.console import say
from ..backend import get_backend, list_backends
from ..formula import Formula
from ..layers import LAYERS, RUNNING_AVERAGE, Activation
from ..losses import LOSSES, ElementwiseLoss
from ..ops import WarmUp
from ..optimizers import OPTIMIZERS
from ._app import command


@command(
    "nnx warmup",
    "nnx warmup --backend numba",
)
def warmup(
    backend: Annotated[str | None, typer.Option(help="Backend by name; default: all that can run.")] = None,
) -> None:
    """Compile all kernels and keep them on disk, so that no first training has to."""
    names = [backend] if backend else [status.name for status in list_backends() if status.usable]
    for name in names:
        chosen = get_backend(name)
        if not isinstance(chosen, WarmUp):
            say(f"{name}: nothing to compile")
            continue
        start, parts = time.perf_counter(), chosen.warm_up(_formulas())
        first = next(parts, None)
        if first is not None:
            for _ in track(parts, f"{name}: compiling", total=first[1] - 1, transient=True):
                pass
        say(f"{name}: {first[1] if first else 0} kernels ready in {time.perf_counter() - start:.1f} s")


def _formulas() -> Iterator[tuple[str, Formula]]:
    """Yield the built-in formulas, each with the operation that takes it."""
    for layer in (kind() for kind in LAYERS.values() if issubclass(kind, Activation) and kind is not Activation):
        yield "activation", layer.formula
        yield "activation_backward", layer.formula_backward
        if not layer.formula_backward.uses("x"):
            yield "affine", layer.formula
    for loss in (kind() for kind in LOSSES.values() if issubclass(kind, ElementwiseLoss)):
        yield "loss", loss.formula
    for optimizer in OPTIMIZERS.values():
        yield "update_", optimizer.formula()
    yield "update_", RUNNING_AVERAGE
