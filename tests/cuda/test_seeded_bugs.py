"""How sharp is the kit, run by the emulator? It has to find each bug of a fixed list."""

import importlib
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import emulator._backend
import nnx_kernels.cuda
import pytest
from emulator import EmulatedBackend, Module
from nnx_cupy._device import REAL
from seeded_bugs import BUGS, Bug

from nnx import testing
from nnx.formula import _formula
from nnx.ops import Ops

ORDERS = (0, 1, 7)
"""Of warps: a missing barrier may show in one only."""


def changed(bug: Bug, path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    assert text.count(bug.right) == 1, f"{bug.file} has changed: {bug.right!r} is there {text.count(bug.right)} times"
    return text.replace(bug.right, bug.wrong)


def sow_into_kernels(bug: Bug, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator compiles a copy of the sources, with the bug."""
    (original,) = nnx_kernels.cuda.__path__
    shutil.copytree(original, folder, dirs_exist_ok=True)
    (folder / bug.file).write_text(changed(bug, folder / bug.file), encoding="utf-8")
    monkeypatch.setattr(nnx_kernels.cuda.resources, "files", lambda _: folder)

    @cache
    def module(file: str, dtype: str, flags: tuple[str, ...], formula: Any) -> Module:
        try:
            return Module(nnx_kernels.cuda.source.__wrapped__(file, formula), (f"-DREAL={REAL[dtype]}",), flags)
        except RuntimeError as error:
            pytest.fail(f"does not compile with the bug: {error}")  # that would be no find

    monkeypatch.setattr(emulator._backend, "_module", module)


def sow_into_templates(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put into the templates has the bug."""
    module = ModuleType("nnx_kernels.cuda_with_a_bug")
    module.__package__ = "nnx_kernels.cuda"
    exec(compile(changed(bug, Path(nnx_kernels.cuda.__file__)), f"{module.__name__}.py", "exec"), module.__dict__)
    monkeypatch.setattr(nnx_kernels.cuda, "_parts", module._parts)
    uncached(monkeypatch)


def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates are filled anew."""
    monkeypatch.setattr(emulator._backend, "source", nnx_kernels.cuda.source.__wrapped__)
    monkeypatch.setattr(emulator._backend, "_module", cache(emulator._backend._module.__wrapped__))


def backend_with(bug: Bug) -> type[EmulatedBackend]:
    """A backend with a group of operations from a module with the bug, made in memory."""
    original = importlib.import_module(f"nnx_cupy.{bug.file}")
    module = ModuleType(f"{original.__name__}_with_a_bug")
    module.__package__ = original.__package__
    exec(compile(changed(bug, Path(original.__file__ or "")), f"{module.__name__}.py", "exec"), module.__dict__)
    (group,) = (c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__)
    return type("BackendWithABug", (group, EmulatedBackend), {})


def is_found(op: str, backend: type[EmulatedBackend]) -> bool:
    """Whether a check fails, or the emulator refuses a launch. Without float64, to compile once."""
    checks = [check for check in testing.checks([op]) if not check.id.startswith("float64")]
    for order in ORDERS:
        ops: Any = Ops(backend(order))
        for check in checks:
            try:
                check.run(ops)
            except (AssertionError, RuntimeError, TypeError, ValueError):
                return True
    return False


@pytest.mark.parametrize("op", sorted({bug.op for bug in BUGS}))
def test_nothing_is_found_without_a_bug(op: str) -> None:
    assert not is_found(op, EmulatedBackend)


@pytest.mark.filterwarnings("ignore")  # what a bug computes may overflow
@pytest.mark.parametrize("bug", [pytest.param(b, id=f"{b.op}-{b.what}".replace(" ", "-")) for b in BUGS])
def test_the_kit_finds(bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = EmulatedBackend
    if bug.file == "_parts":
        sow_into_templates(bug, monkeypatch)
    elif bug.file.startswith("_"):
        backend = backend_with(bug)
    else:
        sow_into_kernels(bug, tmp_path, monkeypatch)
    assert is_found(bug.op, backend)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("operation", "wrong", "op"),
    [("where", "({0} ? {2} : {1})", "activation"), ("abs", "({})", "loss"), ("neg", "({})", "loss")],
)
def test_the_kit_finds_a_wrong_translation(
    operation: str, wrong: str, op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_formula._C, operation, wrong)
    uncached(monkeypatch)
    assert is_found(op, EmulatedBackend)


def test_every_kernel_source_has_a_bug() -> None:
    (folder,) = nnx_kernels.cuda.__path__
    sources = {path.name for path in Path(folder).iterdir() if path.suffix in (".cu", ".cuh")}
    assert sources - {"common.cuh"} == {bug.file for bug in BUGS if "." in bug.file}
