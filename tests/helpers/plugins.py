"""Backends as if they were installed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nnx.backend import _choice, _trial


class Entry:
    """An entry point; what cannot be loaded is an exception."""

    def __init__(self, name: str, target: Any, value: str | None = None, dist: str | None = "some-dist") -> None:
        self.name, self.target, self.value = name, target, value or f"module:{name}"
        self.dist = None if dist is None else type("Dist", (), {"name": dist, "version": "1.2"})

    def load(self) -> Any:
        if isinstance(self.target, Exception):
            raise self.target
        return self.target


@pytest.fixture
def install_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Nothing is chosen yet, as in a new process; `install_only(*entries)`: these alone are installed."""

    def anew() -> None:
        monkeypatch.setattr(_choice, "_backends", {})
        monkeypatch.setattr(_choice, "_logged", set())
        monkeypatch.setattr(_trial, "_verdicts", {})
        _choice._installed.cache_clear()

    def install(*entries: Any) -> None:
        monkeypatch.setattr(_choice, "entry_points", lambda group: entries)
        anew()

    monkeypatch.delenv("NNX_BACKEND", raising=False)
    monkeypatch.setattr(_choice, "_default", None)
    anew()
    yield install
    _choice._installed.cache_clear()
