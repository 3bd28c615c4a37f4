"""Users' own parts under a name, so that a checkpoint can refer to them."""

from dataclasses import is_dataclass
from typing import Any, TypeVar

from . import schedules
from ._support.named import FUNCTIONS
from .errors import InputError, InputTypeError
from .layers import LAYERS, Layer
from .losses import LOSSES, Loss
from .optimizers import OPTIMIZERS, Optimizer

T = TypeVar("T")


def register(part: T, name: str | None = None) -> T:
    """Make a part of your own known by a name, for checkpoints and wherever a part may be given by name.

    As a decorator, `@nnx.register` stands before a class or function.

    Args:
        part: a class of layers, losses or optimizers, a schedule's dataclass, or a function, which is a schedule or
            that of an `Activation`.
        name: default the part's `__name__`; a class can only have its own.

    Returns:
        The part itself.

    Raises:
        InputError: the name is another part's, is no identifier, or is not the class's own.
        InputTypeError: the part is none of these kinds.
    """
    _register(part, name)
    return part


def _register(part: Any, name: str | None) -> None:
    schedule = isinstance(part, type) and is_dataclass(part)
    if not (_is(part, (Layer, Loss, Optimizer)) or schedule or (callable(part) and not isinstance(part, type))):
        hint = f"; write nnx.register({type(part).__name__})" if isinstance(part, Layer | Loss | Optimizer) else ""
        raise InputTypeError(
            f"register: got {part!r}, expected a class derived from nnx.Layer, nnx.Loss or nnx.Optimizer, a schedule's "
            f"dataclass, or a function{hint}."
        )
    own = getattr(part, "__name__", "") if name is None else name
    if not isinstance(own, str) or not own.isidentifier():
        raise InputError(f"register: got the name {own!r}, expected one such as 'swish': pass name='swish'.")

    table, key = _table(part), own.lower() if _is(part, Optimizer) else own
    before = table.get(key, part)
    if before is not part and not _again(before, part):
        raise InputError(f"register: {own!r} is {before!r} already; choose another name.")
    if isinstance(part, type) and part.__name__ != own:
        raise InputError(f"register: got the name {own!r} for the class {part.__name__}; expected its own.")
    table[key] = part


def _is(part: Any, kind: "type | tuple[type, ...]") -> bool:
    return isinstance(part, type) and issubclass(part, kind)


def _table(part: Any) -> dict[str, Any]:
    for kind, table in ((Layer, LAYERS), (Loss, LOSSES), (Optimizer, OPTIMIZERS)):
        if _is(part, kind):
            return table
    return schedules.SCHEDULES if isinstance(part, type) else FUNCTIONS


def _again(before: object, part: object) -> bool:
    """Return whether it is the same part, of a module that was imported or run a second time."""
    names = [(getattr(p, "__module__", None), getattr(p, "__qualname__", None)) for p in (before, part)]
    return names[0] == names[1] and names[0] != (None, None) and "<lambda>" not in str(names[0][1])
