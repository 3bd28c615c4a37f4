"""The errors that nnx raises on purpose. Their messages say what was got, what was expected and what to do."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class NnxError(Exception):
    """Base of all errors raised on purpose; the command line prints them without a traceback."""


class InputError(NnxError, ValueError):
    """An argument has a value that cannot be used."""


class InputTypeError(NnxError, TypeError):
    """An argument has a type that cannot be used."""


class BackendError(NnxError, RuntimeError):
    """The backend that was asked for cannot be used here."""


class CheckpointError(NnxError, ValueError):
    """A file cannot be written, or a checkpoint is damaged, foreign or does not fit the model; nothing was changed."""


class ParallelError(NnxError, RuntimeError):
    """Processes that are to train together cannot, or do not fit each other."""


class DatasetError(NnxError, ValueError):
    """A data set is missing, damaged or does not fit."""


class CaptureWarning(RuntimeWarning):
    """A backend that records training steps does not record this one, which runs more slowly."""


class DivergedError(NnxError, FloatingPointError):
    """The loss became NaN or infinite; the update of that step was skipped and the history is kept."""


class BackendWarning(RuntimeWarning):
    """The automatic choice skips a backend that could run here, because it did not pass its trial on this machine."""


class LossWarning(UserWarning):
    """The outputs of a model are not what its loss takes, so that the training can hardly learn."""


def look_up(kind: str, name: object, known: Mapping[str, T]) -> T:
    """Return the entry of a name, in any case of letters; raise the error of `unknown` if there is none."""
    if not isinstance(name, str) or name.lower() not in known:
        raise unknown(kind, name, known)
    return known[name.lower()]


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Make the error for a name that is not among `known`; it suggests the nearest one and lists all."""
    names = sorted(known)
    near = get_close_matches(str(name).lower(), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")
