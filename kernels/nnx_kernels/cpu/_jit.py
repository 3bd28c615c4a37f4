"""How the kernels are compiled: one version per floating dtype, for C-contiguous arrays only, kept on disk."""

import hashlib
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype

from ._disk import Files, loaded, named

FLOATS = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}

# Not True: that would let LLVM assume that there is no NaN.
_FAST = {"contract", "reassoc", "nsz", "arcp"}
# Helpers are called by kernels alone: Numba would compile two more functions for others.
_HELPER = {"error_model": "numpy", "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
_lock = threading.Lock()

uncached: list[str] = []
"""Kernels whose machine code could not be kept on disk: they are compiled again in every process."""
kernels: "list[Kernel]" = []
"""All kernels, for compiling them beforehand."""
seconds = 0.0
"""How long this process has spent compiling."""
silent = False
"""Whether nothing is said about compiling: it has been said, or somebody has asked for it."""
_LONG = 2.0
"""Seconds of compiling after which it is said."""


_REAL = "vmR"
"""The letters of arrays that are of a version's dtype."""


@cache
def _type(letter: str, real: Any) -> Any:
    return {
        "v": real[::1],  # vector
        "m": real[:, ::1],  # matrix
        "i": types.intp,
        "l": types.int64[::1],  # labels, indices
        "o": types.int32[::1],  # offsets
        "d": types.float64[::1],  # sums
        "B": types.boolean[::1],
        "M": types.boolean[:, ::1],  # mask
        "U": types.Array(types.uint8, 2, "C", readonly=True),  # the user's own data, which may be read-only or not
        "R": types.Array(real, 2, "C", readonly=True),
        "s": types.float32[:, ::1],  # single numbers among those of double precision
        "W": types.uint32[::1],
        "P": types.uint8[:, ::1],  # places in windows
    }[letter]


@cache
def _wanted(letter: str, dtype: Any) -> Any:
    """Return dtype, dimensions, and whether they are written to, of the arrays of a letter; None for a number."""
    kind = _type(letter, FLOATS[dtype])
    return (as_dtype(kind.dtype), kind.ndim, kind.mutable) if isinstance(kind, types.Array) else None


def _fits(given: Any, dtype: Any, dimensions: int, written: bool) -> bool:
    """Return whether an array is taken: a version for read-only arrays takes writable ones, too."""
    if not isinstance(given, np.ndarray) or given.dtype != dtype or given.ndim != dimensions:
        return False
    flags = given.flags
    return bool(flags.c_contiguous and (flags.writeable or not written))


def _compile(dispatcher: Any, arguments: tuple[Any, ...]) -> None:
    """Compile a version, and count the time; say so if it is long. Called under the lock."""
    global seconds  # noqa: PLW0603  a sum over all kernels
    start = time.perf_counter()
    _say_if_long()
    dispatcher.compile(arguments)
    seconds += time.perf_counter() - start
    _say_if_long()


def _say_if_long() -> None:
    global silent  # noqa: PLW0603  said once in a process
    if silent or seconds < _LONG:
        return
    silent = True
    if uncached:
        text = "in every process anew: no folder for them can be written to. Set NUMBA_CACHE_DIR to one that can"
    else:
        text = "once for this machine: nnx warmup does it beforehand"
    print(f"nnx: compiling kernels, {text}", file=sys.stderr, flush=True)


class _Recording(threading.local):
    recorder: Any = None


recording = _Recording()
"""Who gets the kernels' calls of this thread while a step is recorded: recorder(kernel, args)."""


def words(argument: Any) -> list[int]:
    """Return an argument of a kernel as Numba passes it: an array in words of 8 bytes, or a number."""
    if isinstance(argument, np.ndarray):
        return [0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides]
    return [int(argument)]


DATA, SHAPE = 4, 5
"""Where an array's words have its address and its shape. The third one is its size."""


def _no_version_yet(*args: Any) -> Any:
    raise TypeError


class Kernel:
    """A compiled function; calling it returns NotImplemented for arrays that it has not been compiled for.

    Numba would compile another version for every layout. Here the versions are fixed. A call that fits none raises
    within Numba, which costs the calls that do fit nothing.

    A kernel can say how its work is split, by the places of its arguments: a part has its own `rows` of some arrays,
    its own `sums`, which are added up afterwards, and the number of its `first` row. Of its `own` arrays it is given
    one row for each part.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature: str,
        fast: bool,
        writes: Iterable[str] | None = None,
        rows: Iterable[str] = (),
        sums: Iterable[str] = (),
        own: Iterable[str] = (),
        first: str | None = None,
        most: int | None = None,
        dtypes: Iterable[str] | None = None,
    ) -> None:
        self.name, self.signature = function.__name__, signature
        self._function = function
        places = {name: i for i, name in enumerate(inspect.signature(function).parameters)}
        self.rows, self.sums, self.own = ([places[name] for name in names] for names in (rows, sums, own))
        self.writes = {places[name] for name in (places if writes is None else writes)}
        self.first = None if first is None else places[first]
        self.most = most
        self.interpreted = bool(numba.config.DISABLE_JIT)
        self.call = self._interpret if self.interpreted else _no_version_yet
        floats = any(letter in _REAL for letter in signature)
        self.dtypes = list(map(np.dtype, dtypes or (FLOATS if floats else ["float32"])))
        """Of its versions; a kernel of integers has one."""
        self._options = {"error_model": "numpy", "fastmath": _FAST if fast else {"contract"}, "nogil": True}
        self._options["no_cfunc_wrapper"] = True
        self._versions: dict[Any, Any] = {}
        self._addresses: dict[Any, int] = {}
        self.inputs: list[int] = []
        """Of a formula's inputs, those that it takes."""
        kernels.append(self)

    def __call__(self, *args: Any) -> Any:
        return self.run(*args) if recording.recorder is None else recording.recorder(self, args)

    def run(self, *args: Any) -> Any:
        """Call it, recording or not."""
        try:
            return self.call(*args)
        except TypeError:
            args = tuple(a.view(np.ndarray) if isinstance(a, np.ndarray) else a for a in args)  # of a subclass, too
            dtype = self.dtype_for(args)
            if dtype is None:
                return NotImplemented
            self.compile(dtype)
        return self.call(*args)

    def _interpret(self, *args: Any) -> Any:
        """Run the kernel by the interpreter, for the same arrays as ever (with NUMBA_DISABLE_JIT)."""
        return NotImplemented if self.dtype_for(args) is None else self._function(*args)

    def dtype_for(self, args: tuple[Any, ...]) -> Any:
        """Return the floating dtype whose version takes these arguments, or None."""
        dtypes = {a.dtype for a, letter in zip(args, self.signature, strict=True) if letter in _REAL}
        dtype = dtypes.pop() if dtypes else self.dtypes[0]
        if dtypes or dtype not in self.dtypes:
            return None
        for argument, letter in zip(args, self.signature, strict=True):
            wanted = _wanted(letter, dtype)
            if wanted is not None and not _fits(argument, *wanted):
                return None
        return dtype

    def compile(self, dtype: Any) -> bool:
        """Make the version for a dtype, or load it from the cache on disk; return whether this process had none yet."""
        if self.interpreted:
            return False
        dtype = dtype if dtype in self.dtypes else self.dtypes[0]
        with _lock:
            if dtype in self._versions:
                return False
            self._versions[dtype] = self._version(dtype)
            # A new dispatcher, which no other thread calls before it is finished: while a shared one could compile, a
            # call from another thread would set Numba to compile whatever it is given.
            dispatcher = numba.njit(**self._options)(self._function)
            for version in self._versions.values():
                dispatcher.add_overload(version)
            dispatcher.disable_compile()
            self.call = dispatcher
            return True

    def _version(self, dtype: Any) -> Any:
        """Return the version for a dtype, from the disk if it is there."""
        arguments = tuple(_type(letter, FLOATS[dtype]) for letter in self.signature)
        function = named(self._function, dtype)
        for _ in range(2):
            try:
                dispatcher = numba.njit(cache=True, **self._options)(function)
            except RuntimeError:  # Numba found no folder that it may write to
                break
            files = Files(Path(dispatcher.stats.cache_path), function.__qualname__)
            with nullcontext() if files.there() else files.alone():
                there = files.there()
                try:
                    if there:
                        version = loaded(dispatcher, arguments)
                        if version is not None:
                            return version
                        dispatcher.compile(arguments)
                    else:
                        _compile(dispatcher, arguments)
                    return dispatcher.overloads[arguments]
                except Exception:
                    if arguments in dispatcher.overloads:  # it could not be written: the disk is full
                        self._say_uncached()
                        return dispatcher.overloads[arguments]
                    if not there:
                        raise
                    files.remove()  # and once more: what was read was no machine code
        self._say_uncached()
        dispatcher = numba.njit(**self._options)(function)
        _compile(dispatcher, arguments)
        return dispatcher.overloads[arguments]

    def _say_uncached(self) -> None:
        if self.name not in uncached:
            uncached.append(self.name)

    def declines(self, *args: Any) -> bool:
        """Return whether it would return NotImplemented."""
        return self.dtype_for(args) is None

    def address(self, dtype: Any) -> int:
        """Return the address of the machine code of a dtype's version."""
        found = self._addresses.get(dtype)
        if found is not None:
            return found
        self.compile(dtype)
        version = self._versions[dtype if dtype in self.dtypes else self.dtypes[0]]
        address: int = version.library.get_pointer_to_function(version.fndesc.llvm_func_name)
        self._addresses[dtype] = address
        return address


def kernel(
    signature: str,
    *,
    fast: bool = True,
    writes: str | None = None,
    rows: str = "",
    sums: str = "",
    own: str = "",
    first: str | None = None,
    most: int | None = None,
    dtypes: Iterable[str] | None = None,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a function as a kernel.

    Args:
        signature: a letter for each argument, as in `_type`.
        fast: whether the order of operations may be changed.
        writes: the names of the arguments that it writes to; None: it may write to any.
        rows: the names of the arguments that a part has its own rows of.
        sums: those that are sums over the rows.
        own: those of which a part has a row of its own.
        first: the one that is the number of the first row.
        most: how many parts there are at most, where rows are much work: by their number alone.
        dtypes: of its versions; None: both, or one of a kernel of integers.
    """
    written = None if writes is None else writes.split()
    split = rows.split(), sums.split(), own.split()
    return lambda function: Kernel(function, signature, fast, written, *split, first, most, dtypes)


def inlined(function: Callable[..., Any]) -> Any:
    """Decorate a helper of kernels, whose own order of operations is kept where it is inlined."""
    return numba.njit(fastmath={"contract"}, **_HELPER)(function)


def fast_inlined(function: Callable[..., Any]) -> Any:
    """Decorate a helper of kernels whose sums may be reordered, as the kernels' own."""
    return numba.njit(fastmath=_FAST, **_HELPER)(function)


def merged(function: Callable[..., Any]) -> Any:
    """Decorate a helper whose lines become those of the one kernel that calls it: it is never compiled by itself."""
    return numba.njit(inline="always")(function)


def from_text(name: str, text: str, space: dict[str, Any]) -> Callable[..., Any]:
    """Return the function that a text defines, to be made a kernel.

    The text is kept in a file, by which Numba finds its machine code again. Where no folder can be written to, the
    function is compiled anew in every process.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = f"<formula {name}>"
    for folder in _folders():
        path = folder / f"{name}_{digest}.py"
        try:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                unfinished = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
                unfinished.write_text(text, encoding="utf-8")
                unfinished.replace(path)
        except OSError:
            continue
        file = str(path)
        break
    made = dict(space)
    exec(compile(text, file, "exec"), made)
    function: Callable[..., Any] = made[name]
    return function


def _folders() -> list[Path]:
    """Return the folders in which texts may be kept: the first one that can be written to is taken, as Numba does."""
    own = [Path(numba.config.CACHE_DIR)] if numba.config.CACHE_DIR else []
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [*own, Path(__file__).parent / "__pycache__", user / "nnx"]
