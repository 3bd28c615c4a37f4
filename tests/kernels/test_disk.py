"""Machine code on disk: whose it is, who makes it, and what happens where the disk fails."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")
from nnx_kernels.cpu import _disk, _jit
from numba.core import caching

if _jit.numba.config.DISABLE_JIT:
    pytest.skip("kernels are not compiled", allow_module_level=True)

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give kernels an empty cache, with nothing said and nothing compiled yet."""
    monkeypatch.setattr(_jit.numba.config, "CACHE_DIR", str(tmp_path))
    for name, value in {"uncached": [], "kernels": [], "seconds": 0.0, "silent": False}.items():
        monkeypatch.setattr(_jit, name, value)
    return tmp_path


def double(x):
    for i in range(x.size):
        x[i] *= 2


def kernel():
    return _jit.Kernel(double, "v", fast=False)


def doubles(made, dtype=FLOAT):
    x = np.ones(3, dtype)
    return made(x) is None and (x == 2).all()


def count(monkeypatch):
    """Return a list that gets an entry for each compilation."""
    compiled, real = [], _jit._compile
    monkeypatch.setattr(_jit, "_compile", lambda *given: (compiled.append(1), real(*given)))
    return compiled


def test_what_is_on_disk_is_not_compiled(folder, monkeypatch):
    compiled = count(monkeypatch)
    assert doubles(kernel())
    assert doubles(kernel())
    assert len(compiled) == 1


LIGHT = """
import sys
import numpy as np
import nnx
from nnx.ops import Ops
ops = Ops(nnx.get_backend("numba"))
y = ops.affine(np.ones((2, 3)), np.ones((3, 4)), np.ones(4))
assert (y == 4).all()
print("numba.np.arraymath" in sys.modules)
"""


def test_loading_needs_nothing_that_only_compiling_does(tmp_path):
    def run():
        command, env = [sys.executable, "-c", LIGHT], os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120).stdout

    assert run() == "True\n"
    assert run() == "False\n"


def test_loading_by_numbas_own_way(folder, monkeypatch):
    compiled = count(monkeypatch)
    assert doubles(kernel())
    monkeypatch.delattr(caching._Cache, "_load_overload", raising=False)
    monkeypatch.delattr(caching.Cache, "_load_overload")
    loads = []
    monkeypatch.setattr(caching.Cache, "load_overload", lambda self, *args: loads.append(args))
    assert doubles(kernel())
    assert loads
    assert len(compiled) == 1


def test_dtypes_and_processors_have_files_of_their_own(folder, monkeypatch):
    made = kernel()
    assert doubles(made, FLOAT)
    assert doubles(made, DOUBLE)
    assert doubles(made, FLOAT)
    assert len(list(folder.rglob("*.nbi"))) == 2
    names = {_disk.named(double, dtype).__qualname__ for dtype in (FLOAT, DOUBLE)}
    codegen = type(_disk.cpu_target.target_context.codegen())
    monkeypatch.setattr(codegen, "magic_tuple", lambda self: ("x86_64-unknown-linux-gnu", "another", "+avx2"))
    names |= {_disk.named(double, dtype).__qualname__ for dtype in (FLOAT, DOUBLE)}
    assert len(names) == 4


def test_a_kernel_of_integers_has_one_version(folder):
    made = _jit.Kernel(double, "l", fast=False)
    assert made.compile(FLOAT)
    assert not made.compile(DOUBLE)
    assert made.address(FLOAT) == made.address(DOUBLE)


def test_a_change_of_a_helper_is_a_change_of_its_kernels(tmp_path):
    for name, text in {"a": "from .b import f\n", "b": "from . import c, d\n", "c": "", "d": "x = 1\n"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    before = _disk.sources(tmp_path / "a.py")
    (tmp_path / "d.py").write_text("x = 2\n")
    _disk.sources.cache_clear()
    assert _disk.sources(tmp_path / "a.py") != before
    assert _disk.sources(tmp_path / "c.py") == ""


def test_a_formulas_kernel_depends_on_the_helpers_beside_its_template(folder, monkeypatch):
    from nnx_kernels.cpu import formula

    function, asked = _jit.from_text("double", "def double(x):\n    return x\n", formula._SPACE), []
    monkeypatch.setattr(_disk, "sources", lambda file: asked.append(file) or "")
    _disk.named(function, FLOAT)
    assert asked == [Path(formula.__file__)]


@pytest.mark.parametrize("content", [b"", b"no machine code"])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_broken_files_are_made_anew(folder, monkeypatch, kind, content):
    assert doubles(kernel())
    (path,) = folder.rglob(f"*.{kind}")
    path.write_bytes(content)
    compiled = count(monkeypatch)
    assert doubles(kernel())
    assert doubles(kernel())
    assert len(compiled) == 1
    assert _jit.uncached == []


def test_a_full_disk_is_no_error(folder, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    from numba.core.caching import IndexDataCacheFile

    monkeypatch.setattr(IndexDataCacheFile, "save", full)
    assert doubles(kernel())
    assert _jit.uncached == ["double"]


def test_an_interrupted_compilation_leaves_nothing_behind(folder, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    made = kernel()
    with monkeypatch.context() as patch:
        patch.setattr(_jit, "_compile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made(np.ones(3, FLOAT))
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert doubles(made)


def test_one_makes_a_version_and_the_others_wait(tmp_path):
    order, held = [], threading.Event()

    def other():
        held.wait()
        with _disk.Files(tmp_path, "kernel").alone():
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with _disk.Files(tmp_path, "kernel").alone():
        held.set()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_without_locks_each_makes_its_own(tmp_path):
    with _disk.Files(tmp_path / "absent", "kernel").alone():
        pass
    assert list(tmp_path.iterdir()) == []


def test_long_compiling_is_said_once(folder, monkeypatch, capsys):
    monkeypatch.setattr(_jit, "_LONG", 0.0)
    for made in (kernel(), kernel()):
        made.compile(FLOAT)
        made.compile(DOUBLE)
    printed = capsys.readouterr()
    assert printed.err == "nnx: compiling kernels, once for this machine: nnx warmup does it beforehand\n"
    assert printed.out == ""


def test_loading_from_the_disk_is_not_compiling(folder, monkeypatch, capsys):
    kernel().compile(FLOAT)
    monkeypatch.setattr(_jit, "_LONG", 0.0)
    monkeypatch.setattr(_jit, "seconds", 0.0)
    kernel().compile(FLOAT)
    assert capsys.readouterr().err == ""
    assert _jit.seconds == 0


def test_where_nothing_can_be_kept_the_line_says_what_to_do(folder, monkeypatch, capsys):
    monkeypatch.setattr(_jit, "_LONG", 0.0)
    monkeypatch.setattr(_jit, "uncached", ["double"])
    kernel().compile(FLOAT)
    assert "Set NUMBA_CACHE_DIR" in capsys.readouterr().err


PROCESS = """
import numpy as np
from nnx_kernels.cpu import _jit, scalars
compiled, real = [], _jit._compile
_jit._compile = lambda *given: (compiled.append(1), real(*given))
for kernel in _jit.kernels:
    kernel.compile(np.dtype(np.float64))
print(len(compiled), len(_jit.kernels))
"""


@pytest.mark.slow
def test_of_several_processes_one_compiles_each_kernel(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROCESS]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [[int(number) for number in process.communicate()[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(compiled for compiled, _ in counts) == counts[0][1]
    assert len(list(tmp_path.rglob("*.nbc"))) == counts[0][1]
    assert list(tmp_path.rglob("*.lock")) == []
