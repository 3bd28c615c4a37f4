"""The command line: a module for each command of `nnx`, or for a group of them."""

import sys

from .._support.console import say
from ..errors import NnxError
from ._app import app

EXPLAINED = (NnxError, MemoryError)
"""Errors whose message is enough."""


def main() -> None:
    """Run the command line.

    An nnx error or a lack of memory is printed as one message, without a traceback.
    """
    try:
        run()
    except EXPLAINED as error:
        say(message(error), file=sys.stderr)
        raise SystemExit(1) from None


def run() -> None:
    """Run the command line, with nnx's errors raised."""
    if sys.argv[1:2] == ["run"]:  # a script shall not wait for the other commands
        from . import _run  # noqa: F401
    else:
        _add_commands()
    app()


def _add_commands() -> None:
    """Import the modules of all commands, each of which adds its own to the app."""
    from . import (  # noqa: F401
        _backends,
        _bench,
        _docs,
        _doctor,
        _export,
        _lab_basics,
        _lab_training,
        _launch,
        _predict,
        _report,
        _run,
        _shuffle,
        _train,
        _tune,
        _warmup,
    )


def message(error: BaseException) -> str:
    """Return what the command line says of an error that needs no traceback."""
    return f"nnx: {_with_flag(str(error))}"


def _with_flag(message: str) -> str:
    """Return a message about an argument with the name of the flag by which it was given: "--dropout: got 50.0"."""
    name, colon, rest = message.partition(":")
    flag = f"--{name.replace('_', '-')}"
    return f"{flag}{colon}{rest}" if flag in (word.partition("=")[0] for word in sys.argv) else message
