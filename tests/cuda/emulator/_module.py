"""A stand-in for cupy.RawModule over NumPy arrays: a source compiled by g++ with the emulator's header."""

import ctypes
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_HEADER, _SCHEDULER = (Path(__file__).with_name(f"cuda_emu.{ending}") for ending in ("h", "cpp"))
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\(([^),]+)[^)]*\)\s*)?(\w+)\s*\(')
"""Groups: the threads of a block at most, and the name."""
_FLAGS = (
    *("-std=c++20", "-O1", "-fPIC", "-U_FORTIFY_SOURCE", "-fno-strict-aliasing"),
    *("-fno-gnu-unique", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-unused-variable"),
)


_lock = threading.Lock()  # the state of a launch and the text of a signature are a library's, not a thread's


def compiler() -> str | None:
    """The C++ compiler, or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


class Kernel:
    """One kernel; `order` is that of its warps: 0 ascending, 1 descending, blocks too, else a random one's seed."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.name = name
        self._function, signature = library[name + "__emu"], library[name + "__sig"]
        self._function.restype = signature.restype = ctypes.c_char_p
        with _lock:  # each call writes the text anew
            self.signature = signature().decode().split()

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        *,
        shared_mem: int = 0,
        order: int = 0,
    ) -> None:
        if len(args) != len(self.signature):
            raise TypeError(f"{self.name} takes {len(self.signature)} arguments, got {len(args)}")
        # What NumPy computes of 0-d arrays is no array; CuPy's is.
        args = tuple(
            np.asarray(a) if isinstance(a, np.floating) and s[0] == "*" else a
            for a, s in zip(args, self.signature, strict=True)
        )
        kept = [self._argument(i, *pair) for i, pair in enumerate(zip(args, self.signature, strict=True))]
        pointers = (ctypes.c_void_p * len(kept))(*(value.ctypes.data for value in kept))
        sizes = _three(grid), _three(block), ctypes.c_uint(shared_mem)
        with _lock:
            error = self._function(pointers, *sizes, ctypes.c_uint(order))
        if error:
            raise RuntimeError(f"{self.name}: {error.decode()}")

    def _argument(self, position: int, given: Any, wanted: str) -> Any:
        """The argument as memory that the kernel can read it from; refused unless its dtype is the parameter's."""
        pointer = given is None or isinstance(given, np.ndarray)
        value = given if pointer else np.asarray(given)  # a Python int becomes int64, a Python float float64
        got = wanted if given is None else ("*" if pointer else "") + value.dtype.str[1:]
        opaque = wanted == "*V" and pointer
        if (given is None and not wanted.startswith("*")) or (got != wanted and not opaque):
            raise TypeError(f"{self.name}: argument {position} is {got if given is not None else None}, not {wanted}")
        return np.array([0 if given is None else given.ctypes.data], np.uintp) if pointer else value.reshape(1)


def _three(sizes: tuple[int, ...]) -> Any:
    return (ctypes.c_uint * 3)(*(*sizes, 1, 1)[:3])


class Module:
    """The kernels of one source, compiled with `options` (-D...) and further compiler `flags` (sanitizers)."""

    def __init__(self, code: str, options: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> None:
        kernels = _KERNEL.findall(code)
        exports = "".join(f"EMU_EXPORT({name}, {threads or 1024})\n" for threads, name in kernels)
        self._library = ctypes.CDLL(str(_library(f'#line 1 "kernels.cu"\n{code}\n{exports}', (*flags, *options))))

    def get_function(self, name: str) -> Kernel:
        return Kernel(self._library, name)


def _library(text: str, options: tuple[str, ...]) -> Path:
    """The text's shared library, compiled if it is not there yet: named by all that it is made of."""
    found = compiler()
    if found is None:
        raise RuntimeError("no C++ compiler: install g++, or set CXX")
    version = Path(found).stat()
    texts = _HEADER.read_text(), _SCHEDULER.read_text()
    compiled_by = found, str(version.st_mtime_ns), str(version.st_size), *texts
    flags = (*_FLAGS, *(option for option in options if option[:2] != "-D"))
    # The header is read, and the scheduler compiled, once: they took most of the time that a library takes.
    folder = _folder() / f"emulator-{_digest(*compiled_by, *flags)}"
    header, precompiled, scheduler = (folder / f"{_HEADER.name}{ending}" for ending in ("", ".gch", ".o"))

    def prepare() -> None:
        folder.mkdir(exist_ok=True)
        header.write_text(texts[0])
        _compile([found, "-x", "c++", *flags, "-O2", "-c", "-include", str(header), "-"], texts[1], scheduler)
        _compile([found, "-x", "c++-header", *flags, "-w", str(header)], "", precompiled)

    library = _folder() / f"{_digest(*compiled_by, *flags, *options, text)}.so"
    _once(precompiled, prepare)
    source = ("-include", str(header), "-", "-x", "none", str(scheduler))
    _once(
        library,
        lambda: _compile([found, "-x", "c++", *flags, *options, "-shared", *source], text, library),
    )
    return library


def _digest(*parts: str) -> str:
    return hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]


def _once(path: Path, make: Callable[[], None]) -> None:
    """Make a file if it is not there: of several processes that want it one does, and the others wait."""
    if path.exists():
        return
    import fcntl  # not on Windows, where the emulator does not run

    with (_folder() / f"lock-{_digest(str(path))[0]}").open("w") as lock:  # a sixteenth of all share a lock
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make()


def _compile(command: list[str], text: str, out: Path) -> None:
    # A compiler under the address sanitizer, which kernels compiled with it need in this process, takes minutes.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    unfinished = out.with_suffix(".unfinished")
    try:
        done = subprocess.run(
            [*command, "-o", str(unfinished)], input=text, text=True, capture_output=True, check=False, env=environment
        )
        if done.returncode or done.stderr:
            raise RuntimeError(done.stderr)
        unfinished.replace(out)  # whole, or not there
    finally:
        unfinished.unlink(missing_ok=True)


def _folder() -> Path:
    """For the libraries: this user's alone, as they are run."""
    folder = Path(tempfile.gettempdir()) / f"nnx_emulator_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise RuntimeError(f"{folder} is not this user's alone: remove it, or set TMPDIR")
    return folder
