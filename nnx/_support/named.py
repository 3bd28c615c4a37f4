"""Users' own functions that have a name in checkpoints."""

from collections.abc import Callable
from typing import Any

from ..errors import CheckpointError, unknown
from .pages import see

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Filled by `nnx.register`."""


def named(function: Callable[..., Any]) -> str:
    """Return the name by which a checkpoint knows a function."""
    for name, known in FUNCTIONS.items():
        if known is function:
            return name
    raise CheckpointError(
        f"{function!r} has no name that a checkpoint could keep; before, call nnx.register(function, 'its_name'). "
        f"{see('extending')}"
    )


def by_name(name: str) -> Callable[..., Any]:
    """Return the function that was registered under a name."""
    if name not in FUNCTIONS:
        raise unknown("function", name, FUNCTIONS)
    return FUNCTIONS[name]
