"""The command line: `nnx train`, `nnx predict`, `nnx tune`, `nnx report`, `nnx backends`, `nnx bench`, `nnx doctor`,
`nnx warmup`."""

import sys

from ..errors import NnxError
from ._app import app


def main() -> None:
    """Run the command line; an error raised on purpose is one message, not a traceback."""
    from . import (  # noqa: F401  each adds its commands to the app
        _backends,
        _bench,
        _doctor,
        _predict,
        _report,
        _train,
        _tune,
        _warmup,
    )

    try:
        app()
    except NnxError as error:
        print(f"nnx: {error}", file=sys.stderr)
        raise SystemExit(1) from None
