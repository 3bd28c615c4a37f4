"""The trial of a device backend on this machine, which `auto` asks for before it takes one for the first time.

A tiny network is trained on it and on numpy. Success is remembered in the user's cache folder, for this hardware,
driver, plugin and version of nnx; failure is not.
"""

import hashlib
import json
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..ops import Backend

_TOLERANCES = {"float64": 1e-8, "float32": 1e-2}
"""Generous in float32: products on tensor cores (`NNX_TF32`) have 10 bits, and come to 1e-3."""

_lock = threading.RLock()
_verdicts: dict[str, "str | None"] = {}
"""Of this process, by what is remembered."""


def why_not(backend: Backend, provider: str) -> str | None:
    """Return how a backend's trial failed, so that `auto` should not take it; None if it passed or needs none.

    Args:
        backend: the backend; one that computes on the host needs no trial.
        provider: the distribution that brings it, and its version.
    """
    try:
        if type(backend.to_device(np.zeros(1, np.float32))) is np.ndarray:
            return None  # it computes on the host, with NumPy's arrays
        key = _key(backend, provider)
    except Exception as error:
        return f"it fails: {type(error).__name__}: {error}"
    with _lock:
        if key not in _verdicts:
            _verdicts[key] = None if _remembered(key) else _try(backend)
            if _verdicts[key] is None:
                _remember(key)
        return _verdicts[key]


def _key(backend: Backend, provider: str) -> str:
    from importlib.metadata import version

    facts = {"nnx": version("nnx-array"), "backend": backend.name, "plugin": provider, **backend.device_info()}
    return json.dumps(facts, sort_keys=True, indent=1)


def _try(backend: Backend) -> str | None:
    from ..testing import training

    try:
        for dtype, tolerance in _TOLERANCES.items():
            problem = training.difference(training.trained(backend, dtype), training.expected(dtype), tolerance)
            if problem is not None:
                return f"a small training on it ({dtype}) is not as on numpy: {problem}"
    except Exception as error:
        return f"a small training on it fails: {type(error).__name__}: {error}"
    return None


def folder() -> Path:
    """Return the folder in which passed trials are remembered."""
    import pooch

    return Path(pooch.os_cache("nnx")) / "trials"


def _file(key: str) -> Path:
    return folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _remembered(key: str) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        return _file(key).read_text(encoding="utf-8") == key
    return False


def _remember(key: str) -> None:
    """Remember a passed trial in a file of its own, so that two processes cannot spoil each other's.

    Where it cannot be written, the next process tries the backend again.
    """
    from .._support.files import write_atomically
    from ..errors import CheckpointError

    with suppress(OSError, CheckpointError):
        folder().mkdir(parents=True, exist_ok=True)
        write_atomically(_file(key), key.encode())
