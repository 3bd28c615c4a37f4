"""Every error that nnx raises on purpose: what was got, what was expected, what to do."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class NnxError(Exception):
    """Base of all errors raised on purpose; the command line prints these without a traceback."""


class InputError(NnxError, ValueError):
    """An argument has a value that cannot be used."""


class InputTypeError(NnxError, TypeError):
    """An argument has a type that cannot be used."""


class BackendError(NnxError, RuntimeError):
    """A backend that was asked for cannot be used here."""


class CheckpointError(NnxError, ValueError):
    """A checkpoint file is damaged, foreign or does not fit; nothing was changed."""


class DatasetError(NnxError, ValueError):
    """A data set is missing, damaged or does not fit."""


class CaptureWarning(RuntimeWarning):
    """A training step is not recorded by a backend that records steps, and runs more slowly."""


class DivergedError(NnxError, FloatingPointError):
    """The loss became NaN or infinite; the update of that step was skipped and the history is kept."""


class BackendWarning(RuntimeWarning):
    """A backend is passed over that could run here, but has not proven itself."""


def look_up(kind: str, name: object, known: Mapping[str, T]) -> T:
    """The entry of a name in any case, or the error of `unknown`."""
    if not isinstance(name, str) or name.lower() not in known:
        raise unknown(kind, name, known)
    return known[name.lower()]


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not among `known`, with the nearest one and the whole list."""
    names = sorted(known)
    near = get_close_matches(str(name).lower(), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")
