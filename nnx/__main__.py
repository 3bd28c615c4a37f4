"""`python -m nnx` is `nnx`."""

from .cli import main

main()
