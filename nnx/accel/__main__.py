"""`python -m nnx.accel SCRIPT [ARGS...]` is `nnx run SCRIPT [ARGS...]`."""

import sys

from ..cli import main

sys.argv.insert(1, "run")
main()
