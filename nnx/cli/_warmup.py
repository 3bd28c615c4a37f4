"""`nnx warmup`: compile everything now, so that no first training has to."""

import time
from typing import Annotated

import typer
from rich.progress import track

from ..backend import WarmUp
from ..registry import get_backend, list_backends
from ._app import app


@app.command()
def warmup(
    backend: Annotated[str | None, typer.Option(help="Backend by name; default: all that can run.")] = None,
) -> None:
    """Compile the kernels of the backends that have some, and keep them on disk."""
    names = [backend] if backend else [status.name for status in list_backends() if status.usable]
    for name in names:
        chosen = get_backend(name)
        if not isinstance(chosen, WarmUp):
            print(f"{name}: nothing to compile")
            continue
        start, parts = time.perf_counter(), chosen.warm_up()
        first = next(parts, None)
        if first is not None:
            for _ in track(parts, f"{name}: compiling", total=first[1] - 1, transient=True):
                pass
        print(f"{name}: {first[1] if first else 0} kernels ready in {time.perf_counter() - start:.1f} s")
