"""Which backends there are, and which one is used.

Precedence: an explicit name > `with use_backend(name)` > `set_backend(name)` > `NNX_BACKEND` > automatic. A choice is
one name (it then runs or raises), `"auto"` for the best that can run here, or a comma-separated list of names, of which
the first that can run here is taken.
`"auto"` takes a device backend only where a small training on it has come out as on numpy (`_trial`).
"""

import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from .._support.pages import see
from ..errors import BackendError, BackendWarning, InputError, InputTypeError, unknown
from ..ops import Backend, Ops, missing_members
from . import _trial as trial

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "nnx.backends"
PREFERENCE = ("cupy", "numba", "numpy")
_BEST = "the best that can run here"

_log = logging.getLogger("nnx")
_lock = threading.RLock()
_backends: dict[str, Backend] = {}
_logged: set[tuple[str, ...]] = set()
_context: ContextVar[str | None] = ContextVar("nnx_backend", default=None)
_default: str | None = None


@dataclass(frozen=True)
class BackendStatus:
    """One installed backend: `reason` is None if it can run here, else says why not and what to do."""

    name: str
    reason: str | None
    provider: str
    """The distribution that brings it, and its version."""

    @property
    def usable(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class Choice:
    """A backend and why it was chosen."""

    backend: Backend
    why: str


BackendLike: TypeAlias = "str | Backend | None"


def entry_points(group: str) -> "Iterable[EntryPoint]":
    """Return the installed entry points of a group."""
    from importlib import metadata  # a fifth of the time that `import nnx` takes

    return metadata.entry_points(group=group)


@cache
def _installed() -> "dict[str, list[EntryPoint]]":
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        others = found.setdefault(entry.name, [])
        if all(entry.value != other.value for other in others):
            others.append(entry)
    return found


def _known(name: str) -> bool:
    """Return whether a backend of this name is installed.

    It looks again before it says no, since the backend may just have been installed.
    """
    if name not in _installed():
        _installed.cache_clear()
    return name in _installed()


def _provider(entry: "EntryPoint") -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _load(name: str, entries: "list[EntryPoint]") -> "type[Backend] | str":
    """Return the backend's class, or why it cannot be used here; whatever a plugin raises becomes such a reason."""
    if len(entries) > 1:
        providers = ", ".join(_provider(e) for e in entries)
        return f"several distributions bring a backend of this name ({providers}): uninstall all but one"
    try:
        cls: type[Backend] = entries[0].load()
        if missing := missing_members(cls):
            return _lacking(entries[0], missing)
        reason = cls.unavailable()
    except Exception as error:
        return (
            f"its plugin, from {_provider(entries[0])}, is broken: {type(error).__name__}: {error}. "
            "Reinstall or uninstall that distribution"
        )
    return cls if reason is None else reason


def _lacking(entry: "EntryPoint", missing: list[str]) -> str:
    return (
        f"its plugin, from {_provider(entry)}, lacks {', '.join(missing)}, which every backend has (nnx.Backend; "
        "`nnx docs writing-a-backend`)"
    )


def list_backends() -> list[BackendStatus]:
    """List every installed backend, the preferred first, with the reason for each that cannot run here."""
    installed = _installed()
    known = [name for name in PREFERENCE if name in installed] + sorted(set(installed) - set(PREFERENCE))
    statuses = []
    for name in known:
        entries = installed[name]
        loaded = _load(name, entries)
        reason = loaded if isinstance(loaded, str) else None
        statuses.append(BackendStatus(name, reason, ", ".join(_provider(e) for e in entries)))
    return statuses


def _make(name: str) -> "Backend | str":
    """Return the one instance of a backend in this process, or why there is none."""
    with _lock:
        if name not in _backends:
            loaded = _load(name, _installed()[name])
            if isinstance(loaded, str):
                return loaded
            try:
                made = loaded()
            except Exception as error:
                return f"it failed to start: {type(error).__name__}: {error}"
            if missing := missing_members(made):
                return _lacking(_installed()[name][0], missing)
            _backends[name] = made
        return _backends[name]


def _one(name: str, why: str) -> Choice:
    made = _make(name)
    if isinstance(made, str):
        usable = [status.name for status in list_backends() if status.usable]
        raise BackendError(
            f"the backend {name!r} ({why}) cannot run here: {made}. Usable here: {', '.join(usable) or 'none'}. "
            f"{see('backends')}"
        )
    return Choice(made, why)


def _unproven(name: str, backend: Backend) -> str | None:
    """Return why `auto` does not take a backend that can run here, or None if it does; warn once for each reason."""
    reason = trial.why_not(backend, ", ".join(_provider(entry) for entry in _installed()[name]))
    if reason is not None and (name, reason) not in _logged:
        _logged.add((name, reason))
        warnings.warn(
            f"the automatic choice passes over the backend {name!r}: {reason.rstrip('.')}. "
            f"`nnx doctor --backend {name}` tells what is wrong; backend={name!r} uses it all the same.",
            BackendWarning,
            stacklevel=2,
        )
    return reason


def _first(names: tuple[str, ...], why: str, to_prove: tuple[str, ...] = ()) -> Choice:
    """Choose the first of the names that can run; those in `to_prove` must also pass their trial."""
    passed: dict[str, str] = {}
    unproven: list[str] = []
    for name in names:
        made = _make(name)
        if not isinstance(made, str) and name in to_prove and (reason := _unproven(name, made)) is not None:
            unproven.append(name)
            passed[name] = made = reason
        if not isinstance(made, str):
            unusable = [n for n in passed if n not in unproven]
            over = f"; {' and '.join(unusable)} cannot" if unusable else ""
            over += f"; {' and '.join(unproven)} failed the trial on this machine" if unproven else ""
            if (name, why, *passed.values()) not in _logged:
                _logged.add((name, why, *passed.values()))
                _log.info("backend %s (%s)%s", name, why, "".join(f"; {n}: {r}" for n, r in passed.items()))
            return Choice(made, why + over)
        passed[name] = made
    raise BackendError(f"no backend can run here ({why}): " + "; ".join(f"{n}: {r}" for n, r in passed.items()))


def _check(request: str, source: str) -> str:
    """Return a request for backends in canonical form; raise for a name that is not installed or an empty list."""
    if not isinstance(request, str):
        raise InputTypeError(f"{source}: expected a backend's name, got {type(request).__name__}.")
    names = [part.strip().lower() for part in request.split(",")]
    if not all(names):
        raise InputError(
            f"{source}: got {request!r}, expected a backend's name, 'auto' or a comma-separated list of names; "
            f"known: {', '.join(sorted(_installed()))}."
        )
    for name in names:
        if name != "auto" and not _known(name):
            raise unknown("backend", name, [*_installed(), "auto"])
    return ",".join(names)


def _resolve(request: str, source: str) -> Choice:
    names = _check(request, source).split(",")
    if names == ["auto"]:
        preferred = tuple(filter(_known, PREFERENCE))
        return _first(preferred, f"{source}: {_BEST}", to_prove=preferred)
    if len(names) > 1:
        expanded = [p for n in names for p in (filter(_known, PREFERENCE) if n == "auto" else (n,))]
        by_auto = tuple(name for name in expanded if name not in names)
        why = f"{source}: the first of {', '.join(names)} that can run here"
        return _first(tuple(dict.fromkeys(expanded)), why, by_auto)
    return _one(names[0], source)


def choose(backend: BackendLike = None) -> Choice:
    """Choose the backend to use, and say why.

    Args:
        backend: a name, "auto", a comma-separated list of names, an instance, or None for what is set.

    Raises:
        BackendError: none of the backends asked for can run here.
        InputError: there is no backend of that name.
        InputTypeError: the object lacks members of `nnx.Backend`, or is a class.
    """
    if backend is not None and not isinstance(backend, str):
        missing = [name for name in missing_members(backend) if name != "unavailable()"]
        if isinstance(backend, type) and not missing:
            raise InputTypeError(
                f"backend: got the class {backend.__name__}, expected one of it: {backend.__name__}()."
            )
        if missing:
            raise InputTypeError(
                f"backend: expected a name or an object with the members of nnx.Backend, got "
                f"{type(backend).__name__} without {', '.join(missing)}."
            )
        return Choice(backend, "an instance was given")
    if backend is not None:
        return _resolve(backend, "asked for by backend=")
    return _resolve(*_request())


def _request() -> tuple[str, str]:
    """Return which backend is asked for here, and by what."""
    if (chosen := _context.get()) is not None:
        return chosen, "asked for by use_backend"
    if _default is not None:
        return _default, "asked for by set_backend"
    if chosen := os.environ.get("NNX_BACKEND", ""):
        return chosen, "asked for by NNX_BACKEND"
    return "auto", "chosen automatically"


@cache
def _bound(request: str) -> Ops:
    return Ops(get_backend(request))


def active_ops() -> Ops:
    """Return the operations of the backend in force here.

    Each request is resolved only once: looking for usable backends takes most of a millisecond, too much for functions
    that are called in loops.
    """
    return _bound(_request()[0])


def get_backend(backend: BackendLike = None) -> Backend:
    """Return a backend, by default the one in force here.

    Args:
        backend: a name, "auto", a comma-separated list of which the first that can run is taken, or an instance.

    Raises:
        BackendError: none of them can run here; the message has the reasons and the cure.
        InputError: there is no backend of that name.
        InputTypeError: the object lacks members of `nnx.Backend`, or is a class.
    """
    return choose(backend).backend


def set_backend(name: str | None) -> None:
    """Set the default backend of the process for models built from now on; None returns to `NNX_BACKEND`.

    A model keeps the backend that it was built with.

    Args:
        name: a name, "auto", or a comma-separated list of names of which the first that can run is taken.

    Raises:
        BackendError: none of them can run here.
        InputError: there is no backend of that name.
    """
    global _default  # noqa: PLW0603  the one process-wide default; built models do not read it
    if name is not None:
        _resolve(name, "set_backend")
    _default = name


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """Use a backend in this thread or task inside a `with` block; others keep their own.

    Args:
        name: as for `set_backend`.

    Yields:
        The backend.

    Raises:
        BackendError: none of them can run here.
        InputError: there is no backend of that name.
    """
    chosen = _resolve(name, "use_backend").backend
    token = _context.set(name)
    try:
        yield chosen
    finally:
        _context.reset(token)
