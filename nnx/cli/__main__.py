"""`python -m nnx.cli`: what `nnx launch` starts for `nnx`; the error is left to it, as what this exits with."""

from . import EXPLAINED, message, run

try:
    run()
except EXPLAINED as error:
    raise SystemExit(message(error)) from None
