"""Parts of one's own by name, so that checkpoints that hold them load."""

from typing import Any, TypeVar

from .errors import InputError, InputTypeError
from .layers import LAYERS, Layer
from .losses import LOSSES, Loss
from .optimizers import OPTIMIZERS, Optimizer

T = TypeVar("T", bound="type[Layer] | type[Loss] | type[Optimizer]")


def register(part: T) -> T:
    """Make a layer, loss or optimizer class of your own known by its name, so that files that hold it can be loaded.

    Call it where the class is defined, or write `@nnx.register` above it; it returns the class. Whoever loads such a
    file imports that module first. The class is made again from its settings: the names in `fields` (a layer) or
    `settings` (an optimizer), which are arguments of its `__init__` and attributes.

    Raises `InputTypeError` for what is no such class, `InputError` if another class has the name.
    """
    given: Any = part
    if isinstance(given, type):
        tables: list[tuple[type, dict[str, Any], str]] = [
            (Layer, LAYERS, given.__name__),
            (Loss, LOSSES, given.__name__),
            (Optimizer, OPTIMIZERS, given.__name__.lower()),
        ]
        for base, table, name in tables:
            if issubclass(given, base):
                other = table.setdefault(name, given)
                if _place(other) != _place(given):
                    raise InputError(
                        f"register: there is a {base.__name__.lower()} named {name!r} already, "
                        f"{'.'.join(_place(other))}; give the class another name."
                    )
                table[name] = given  # the same place: a notebook's cell that has run again
                return part
    hint = f"; write nnx.register({type(given).__name__})" if isinstance(given, Layer | Loss | Optimizer) else ""
    raise InputTypeError(
        f"register: got {given!r}, expected a class derived from nnx.Layer, nnx.Loss or nnx.Optimizer{hint}."
    )


def _place(part: type) -> tuple[str, str]:
    return part.__module__, part.__qualname__
