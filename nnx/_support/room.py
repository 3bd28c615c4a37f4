"""Room for the interpreter's frames, so that a loop costs the same however deep it is called.

Python 3.11 keeps frames in chunks of 16 KB and gives a chunk back as soon as it is empty. Where the calls in a loop
happen to begin a chunk, each of them has the system map memory and clear it: at some depths a step of `fit` on a small
network took 120 µs in place of 38. Which depths these are depends on all frames below: on the command, the notebook,
the test that called.
"""

from collections.abc import Callable
from functools import update_wrapper
from types import FunctionType
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

_WORDS = 17_000
"""Of a frame for which Python makes a chunk of 256 KB, the next power of two: half of it is left for other frames."""


def roomy(function: Function) -> Function:
    """Return a function that does the same with room for some hundred frames of what it calls."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    code = call.__code__.replace(co_stacksize=_WORDS)
    made = FunctionType(code, call.__globals__, call.__name__, None, call.__closure__)
    return cast(Function, update_wrapper(made, function))
