"""Machine code on disk: never taken for other code, made by one process for all, and given up where the disk fails.

Numba keeps a kernel's versions in numbered files, and a list of them in another. Two processes that add to it at once
can leave a list in which a number is the other's file: a version for another dtype or, in a home that two machines
share, for another processor. And it looks at the one file that a kernel stands in, and not at those of its helpers. So
a version has a name of its own here, made of all that it depends on, and its own list.
"""

import errno
import hashlib
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

_PATIENCE = 60.0
"""Seconds to wait for another process, which may have been stopped."""
_IMPORT = re.compile(r"^from (\.+)(\w*) import (.*)$", re.MULTILINE)


def named(function: Any, dtype: Any) -> Any:
    """Return a kernel's function under the name of its version for a dtype, by which Numba names the files."""
    # Read from the disk: where machine code can be kept, there is a file.
    text = sources(Path(function.__globals__.get("__file__") or function.__code__.co_filename))
    processor = cpu_target.target_context.codegen().magic_tuple()
    key = hashlib.sha256(repr((text, str(dtype), processor, numba.__version__)).encode()).hexdigest()[:16]
    code, space, name = function.__code__, function.__globals__, function.__name__
    version = FunctionType(code, space, name, function.__defaults__, function.__closure__)
    version.__qualname__ = f"{name}_{key}"
    return version


def loaded(dispatcher: Any, arguments: tuple[Any, ...]) -> Any:
    """Return a version from its files, without what only compiling needs; None where that cannot be done.

    Numba's own way begins with all that it knows of types and functions: some 200 modules, for which it takes ten times
    as long as for the rest. Its run-time library is needed here, too.
    """
    context = cpu_target.target_context
    try:
        load = dispatcher._cache._load_overload  # noqa: SLF001  the public way begins with all of it
        with global_compiler_lock:
            rtsys.initialize(context)
            return load(arguments, context)
    except AttributeError:
        return None


@cache
def sources(file: Path) -> str:
    """Return the text of a module, and those of all that it imports from this package."""
    if not file.exists():
        return ""
    text = file.read_text(encoding="utf-8")
    texts = [text]
    for dots, module, names in _IMPORT.findall(text):
        folder = file.parents[len(dots) - 1]
        texts += [sources(folder / f"{name}.py") for name in ([module] if module else re.findall(r"\w+", names))]
    return "\n".join(texts)


class Files:
    """The files of one version of a kernel.

    Args:
        folder: where they are.
        name: the name of its function.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def there(self) -> bool:
        """Return whether the machine code has been written."""
        return any(self._folder.glob(f"*{self._name}-*.nbc"))

    def remove(self) -> None:
        """Remove them, for they are broken."""
        for path in self._folder.glob(f"*{self._name}-*.nb?"):
            with suppress(OSError):
                path.unlink()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time make the version; the others wait, and find it made.

        Without a lock, on a file system that has none, or after a long wait, each makes its own: the files are equal.
        """
        lock = self._folder / f"{self._name}.lock"
        try:
            file = lock.open("wb")
        except OSError:
            yield
            return
        try:
            until = time.monotonic() + _PATIENCE
            while not _locked(file) and time.monotonic() < until:
                time.sleep(0.02)
            yield
        finally:
            file.close()  # this unlocks it, as the end of a process does
            with suppress(OSError):
                lock.unlink()


def _locked(file: Any) -> bool:
    """Try to lock a file; return whether there is nothing to wait for."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
