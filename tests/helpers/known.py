"""`nnx` to which the modules of a folder are the book's: python known.py FOLDER run ...

The book's own are known by fingerprints, and are no part of these tests.
"""

import ast
import sys
from pathlib import Path

from nnx.accel import _printings


def states_of(folder):
    """The states of a folder's modules, in the place of those that `printings.toml` has of them."""
    states = dict(_printings.published())
    for path in folder.rglob("*.py"):
        name = ".".join(path.with_suffix("").parts[-2:])
        name = name if name in states else path.stem
        if name in states:
            definitions = _printings.definitions(ast.parse(path.read_text(encoding="utf-8")))
            known = {
                part: {_printings.fingerprint(node): _printings.State("test")} for part, node in definitions.items()
            }
            states[name] = known
    return states


if __name__ == "__main__":
    known = states_of(Path(sys.argv.pop(1)))
    _printings.published = lambda: known

    from nnx.cli import main

    main()
