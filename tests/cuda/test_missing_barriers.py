"""Barriers left out of the kernels, one at a time, and operations mistranslated: the kit on the emulator finds each.

All other mistakes in kernels, templates and launch code are made at night, by tests/mutants.
"""

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import emulator._backend
import nnx_kernels.cuda
import pytest
from emulator import EmulatedBackend, Module
from nnx_cupy._device import REAL

from nnx import testing
from nnx.formula import _formula
from nnx.ops import Ops

pytestmark = pytest.mark.long

ORDERS = (0, 1, 7)
"""Of warps: a missing barrier may show in one only."""
(FOLDER,) = map(Path, nnx_kernels.cuda.__path__)
BARRIER = re.compile(r"__sync\w+\(\);")
BARRIERS = [
    (path.name, k)
    for path in sorted(FOLDER.glob("*.cu*"))
    for k in range(len(BARRIER.findall(path.read_text(encoding="utf-8"))))
]
SPARE = {("block.cuh", 2)}
"""For a kernel that calls `down_column` twice, of which there is none."""
OPS = (
    *("activation_backward", "batch_norm", "batch_norm_backward", "count_correct", "loss", "softmax", "sum_squares"),
    "swap_axes",
)
"""Those whose threads wait for each other."""


def is_found(*ops: str) -> bool:
    """Whether a check fails, or the emulator refuses a launch. Without float64, to compile once."""
    for check in testing.checks(ops):
        if check.id.startswith("float64"):
            continue
        for order in ORDERS:
            bound: Any = Ops(EmulatedBackend(order))
            try:
                check.run(bound)
            except (AssertionError, RuntimeError, TypeError, ValueError):
                return True
    return False


def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let templates be filled and compiled anew."""
    monkeypatch.setattr(emulator._backend, "source", nnx_kernels.cuda.source.__wrapped__)
    monkeypatch.setattr(emulator._backend, "_module", cache(emulator._backend._module.__wrapped__))


def test_nothing_is_found_where_nothing_is_missing() -> None:
    assert BARRIERS
    assert not is_found(*OPS)


@pytest.mark.filterwarnings("ignore")  # what is computed may overflow
@pytest.mark.parametrize(("file", "k"), [b for b in BARRIERS if b not in SPARE])
def test_a_missing_barrier_is_found(file: str, k: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / file).read_text(encoding="utf-8")
    match = list(BARRIER.finditer(text))[k]
    (tmp_path / file).write_text(text[: match.start()] + ";" + text[match.end() :], encoding="utf-8")
    monkeypatch.setattr(nnx_kernels.cuda.resources, "files", lambda _: tmp_path)

    @cache
    def module(file: str, dtype: str, flags: tuple[str, ...], formula: Any) -> Module:
        return Module(nnx_kernels.cuda.source.__wrapped__(file, formula), (f"-DREAL={REAL[dtype]}",), flags)

    monkeypatch.setattr(emulator._backend, "_module", module)
    assert is_found(*OPS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("operation", "wrong", "op"),
    [("where", "({0} ? {2} : {1})", "activation"), ("abs", "({})", "loss"), ("neg", "({})", "loss")],
)
def test_a_wrong_translation_is_found(operation: str, wrong: str, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_formula._C, operation, wrong)
    uncached(monkeypatch)
    assert is_found(op)
