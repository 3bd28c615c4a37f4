"""`python -m nnx.testing NAME`: the conformance kit without pytest."""

import argparse
import sys

from ..backend import get_backend
from ..errors import NnxError
from . import run, tolerances


def main() -> int:
    """Run the kit; return 0 if the backend conforms, 1 if not. Without such a backend the process exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m nnx.testing", description="Run the nnx conformance kit.")
    parser.add_argument("backend", nargs="?", metavar="NAME", help="name of an installed backend")
    parser.add_argument("ops", nargs="*", metavar="OP", help="these operations only, and `required`: the members")
    parser.add_argument("--tolerances", action="store_true", help="print the table of tolerances in Markdown")
    arguments = parser.parse_args()
    if arguments.tolerances:
        print(tolerances(), end="")
        return 0
    if arguments.backend is None:
        parser.error("name an installed backend, such as numpy")
    try:
        backend = get_backend(arguments.backend)
        report = run(backend, arguments.ops or None)
    except NnxError as error:
        parser.error(str(error))
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
