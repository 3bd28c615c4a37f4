"""Keywords that have another name than they had."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ..errors import InputTypeError

P = ParamSpec("P")
T = TypeVar("T")


def renamed(**names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function tell what a keyword is called now: `@renamed(old="new")`."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for old, new in names.items():
                if old in kwargs:
                    raise InputTypeError(f"{old}: is called {new} now; write {function.__name__}({new}=...).")
            return function(*args, **kwargs)

        return checked

    return decorate
