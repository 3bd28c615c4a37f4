"""Run `nnx` as `python -m nnx`."""

from .cli import main

main()
