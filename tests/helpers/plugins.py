"""Backends as if they were installed, and plugins installed into a folder."""

import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
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


def install(source: Path, site: Path) -> None:
    """Lay out the one-module project in `source` as an installer would: its module, and what its metadata say of it.

    An installer proper would need the build backend (hatchling), which is there where nnx is developed but not where it
    is merely installed, or else the network. Python and nnx read no more of an installed distribution than these files.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    for module in source.glob("*.py"):
        shutil.copy(module, site)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))
