"""The scripts of bench/gpu as modules, over CuPy on the host."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from host_cupy import HostCupy

BENCH = Path(__file__).parents[2] / "bench"


def on_the_host(monkeypatch: pytest.MonkeyPatch) -> HostCupy:
    """CuPy on the host takes the place of CuPy, and the scripts find each other, as when Python runs one."""
    module = HostCupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.syspath_prepend(str(BENCH / "gpu"))
    return module


def script(name: str) -> ModuleType:
    """bench/gpu/name.py, imported."""
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", BENCH / "gpu" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
