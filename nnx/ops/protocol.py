"""The contract between nnx and an array backend: two attributes, six short methods, and optional members."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

Array: TypeAlias = Any
"""An array of the active backend (`numpy.ndarray`, `cupy.ndarray`, ...): mutable, and its reshaped slices are views."""

HostArray: TypeAlias = npt.NDArray[Any]

Pair: TypeAlias = tuple[int, int]
"""Of pictures: down and across."""


class Backend(Protocol):
    """What a plugin must have. Every operation of `nnx.ops.spec` may be added as a method of the same name.

    Such a method takes the operation's arguments without the leading `ops`. It may return `NotImplemented`, before it
    has written anything, for an input that it does not support (a dtype, a layout); the composition then runs. The
    class is made without arguments, once per process, when the backend is first chosen.

    Further members are optional: `compile_seconds`, `warm_up`, `steps_per_capture`, `in_python`, `pinned` and
    `to_host_all`, each with a protocol below.
    """

    name: str
    xp: Any
    """Array API namespace of the native arrays (https://data-apis.org/array-api)."""

    def to_device(self, host: HostArray, /) -> Array:
        """Return a native array with the values, shape and dtype of `host`; may share its memory, must not alter it.

        Args:
            host: a NumPy array, never a scalar, but of any layout: 0-d, read-only, transposed, with negative strides.
        """

    def to_host(self, array: Array, /) -> HostArray:
        """Return a NumPy array with the values of `array`; waits for the device, may share memory."""

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        """Return the product of two matrices, either of which may be a transposed view; write it to `out` if given."""

    def synchronize(self) -> None:
        """Return when all work given to the device is done."""

    def device_info(self) -> dict[str, str]:
        """Describe the machine for people: device, library versions, threads."""

    @classmethod
    def unavailable(cls) -> str | None:
        """Return None if the backend can run here, else one sentence: why not, and what to do. Must not raise."""


MEMBERS = ("name", "xp", "to_device", "to_host", "matmul", "synchronize", "device_info", "unavailable")
"""What every backend has. The first two may be there only once it is made."""


def missing_members(backend: Any) -> list[str]:
    """Return the names of the members that a backend, or its class, lacks; methods with parentheses."""
    wanted = MEMBERS[2:] if isinstance(backend, type) else MEMBERS
    return [name if name in MEMBERS[:2] else f"{name}()" for name in wanted if not hasattr(backend, name)]


@runtime_checkable
class CompileSeconds(Protocol):
    """Optional, for a backend that compiles: `Trainer.fit` tells how long its first step has compiled."""

    @property
    def compile_seconds(self) -> float:
        """How long this process has spent compiling, in seconds."""


@runtime_checkable
class WarmUp(Protocol):
    """Optional, for a backend that compiles: `nnx warmup` compiles beforehand."""

    def warm_up(self, formulas: Iterable[tuple[str, Any]], /) -> Iterator[tuple[str, int]]:
        """Compile everything, the built-in formulas included; yield each part's name and the number of all parts.

        Args:
            formulas: each after the name of the operation that takes it.
        """


@runtime_checkable
class StepsPerCapture(Protocol):
    """Optional, for a backend whose `capture` records: several steps may be recorded as one."""

    steps_per_capture: int
    """How many training steps in succession are worth one capture; 1 without this member."""


class Repeats(Protocol):
    """Optional, for what a backend's `capture` returns: it finds out by itself that a batch is like the first."""

    def repeat_jobs(self) -> None:
        """Do the last step's work once more: benchmarks measure so what a step takes beside it."""

    def repeats(self, x: Array, t: Array, classes: int, /) -> Callable[..., Array | None] | None:
        """Return a function that does the step on (x, t, *numbers), or None if there is none, or not yet.

        The function is given whatever the user gave. It returns the loss; or None, and has done nothing, unless x is a
        NumPy array like the first call's, in rows, and t are labels (n,), int64.

        Args:
            x: the rows that the step has just been done on.
            t: their labels.
            classes: these are 0..classes-1.
        """


@runtime_checkable
class InPython(Protocol):
    """Optional, for a backend whose `capture` sees operations alone, and not what is done to arrays between them."""

    def in_python(self, function: Callable[..., Any], /) -> Callable[..., Any]:
        """Return the function as a part of captured steps: in each of them it runs as it is, on arrays with new values.

        Args:
            function: of arrays, which may write to them; it returns an array of always the same shape, or None.
        """


@runtime_checkable
class Pinned(Protocol):
    """Optional, for a backend with a device: rows from the disk are read into memory from which uploads are fast."""

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike, /) -> HostArray:
        """Return an uninitialised array in the host's memory that `to_device` uploads fastest."""


@runtime_checkable
class ToHostAll(Protocol):
    """Optional, for a backend whose device runs asynchronously: it waits only once for several arrays."""

    def to_host_all(self, arrays: Sequence[Array], /) -> list[HostArray]:
        """Return the values of several arrays."""


@runtime_checkable
class Collective(Protocol):
    """Optional, for a backend whose devices can exchange arrays among processes without the host."""

    def collectives(self, rank: int, size: int, exchange: Callable[[Any], list[Any]], /) -> Any:
        """Return what has `all_to_all`, `all_gather` and `broadcast` of native arrays, as a communicator has them.

        All ranks call it together. None where it cannot be, after a warning: arrays then go through the host.

        Args:
            rank: this process' number.
            size: how many ranks there are.
            exchange: returns small values of all ranks for one of each, as a communicator's does.
        """
