"""The command line: `nnx train`, `nnx predict`, `nnx backends`, `nnx bench`, `nnx doctor`, `nnx warmup`."""

import sys

from ..errors import NnxError
from ._app import app


def main() -> None:
    """Run the command line; an error raised on purpose is one message, not a traceback, as is want of memory."""
    from . import _backends, _bench, _doctor, _predict, _train, _warmup  # noqa: F401  each adds its command to the app

    try:
        app()
    except (NnxError, MemoryError) as error:
        print(f"nnx: {error}", file=sys.stderr)
        raise SystemExit(1) from None
