"""`python -m nnx.accel SCRIPT [ARGS...]`: run an unchanged script on nnx."""

import argparse
import os
import sys
from collections.abc import Sequence

from ..backend import get_backend
from ..errors import NnxError
from . import _installed, install
from ._script import run_module, run_script


def main(argv: Sequence[str] | None = None, prog: str = "python -m nnx.accel") -> int:
    """Parse the arguments, run the script, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [options] (SCRIPT | -m MODULE | -) [ARGS...]",
        description="Run a script as it is, with scikit-learn's MLP and the modules of Deep Learning from Scratch "
        "replaced by nnx's.",
        allow_abbrev=False,
    )
    parser.add_argument("--no-sklearn", action="store_true", help="leave scikit-learn's classes as they are")
    parser.add_argument("--no-book", action="store_true", help="leave the book's modules as they are")
    parser.add_argument("--backend", help="the array backend (default: NNX_BACKEND, or the best that can run)")
    parser.add_argument(
        "--float32",
        action="store_true",
        help="compute in float32: faster, and equal to about six digits (NNX_SCRIPT_DTYPE=float32)",
    )
    parser.add_argument("--verbose", action="store_true", help="say on standard error what was replaced, and what not")
    parser.add_argument("-m", dest="module", action="store_true", help="SCRIPT is a module's name, as for python -m")
    parser.add_argument("script", metavar="SCRIPT", help="a path, a module's name, or - for standard input")
    parser.add_argument("args", metavar="ARGS", nargs=argparse.REMAINDER, help="the script's own arguments")
    options = parser.parse_args(argv)
    try:
        if options.backend is not None:
            get_backend(options.backend)  # an unknown name is an error before the script starts
            os.environ["NNX_BACKEND"] = options.backend  # for the processes that the script starts, too
        if options.float32:
            os.environ["NNX_SCRIPT_DTYPE"] = "float32"
        install(sklearn=not options.no_sklearn, book=not options.no_book, verbose=options.verbose)
    except NnxError as error:
        print(f"nnx: {error}", file=sys.stderr)
        return 1
    status = (run_module if options.module else run_script)(options.script, options.args)
    for accelerator in _installed:
        accelerator.report.finish()
    return status


if __name__ == "__main__":
    sys.exit(main())
