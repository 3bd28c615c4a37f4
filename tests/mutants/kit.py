"""The conformance kit until its first failure, of which 1 is the exit status: `kit.py BACKEND [OP ...]`.

The backends beside nnx's own: `composed` has the required members alone, so that the specification runs; `blocks` is
the NumPy backend with blocks of 16 elements; `emulated` is the CuPy backend on the emulator of tests/cuda, run in
several orders of the warps.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]


def backends(name: str) -> list[Any]:
    """Make the backend; the emulated one once for each order of warps: a missing barrier may show in one only."""
    if name == "composed":
        sys.path.insert(0, str(TESTS / "conformance"))
        from conftest import MembersOnly

        return [MembersOnly()]
    if name == "blocks":
        import nnx_numpy

        nnx_numpy._formula.BLOCK = nnx_numpy._backend.BLOCK = 16
        return [nnx_numpy.NumpyBackend()]
    if name == "emulated":
        sys.path.insert(0, str(TESTS / "cuda"))
        from emulator import EmulatedBackend

        return [EmulatedBackend(order) for order in (0, 1, 7)]
    from nnx import get_backend

    return [get_backend(name)]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("ops", nargs="*")
    parser.add_argument(
        "--without", nargs="*", default=[], help="leave out checks with one of these words in their names"
    )
    arguments = parser.parse_intermixed_args()
    from nnx import testing
    from nnx.ops import Ops

    checks = [c for c in testing.checks(arguments.ops or None) if not any(w in c.id for w in arguments.without)]
    if arguments.backend == "emulated":  # to compile once
        checks = [c for c in checks if not c.id.startswith("float64")]
    for backend in backends(arguments.backend):
        ops = Ops(backend)
        for check in checks:
            try:
                check.run(ops)
            except Exception as error:
                print(f"{check.name}: {error}")
                return 3 if "kernels.cu:" in str(error) and "error:" in str(error) else 1
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what a mutant computes may overflow
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a mutant may have broken what runs at an exit
