"""The contract between nnx and an array backend: two attributes and six short methods."""

from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

Array: TypeAlias = Any
"""An array of the active backend (`numpy.ndarray`, `cupy.ndarray`, ...): mutable, and its reshaped slices are views."""

HostArray: TypeAlias = npt.NDArray[Any]


class Backend(Protocol):
    """What a plugin must have. Every operation of `nnx.compose` may be added as a method of the same name.

    Such a method takes the operation's arguments without the leading `ops`. It may return `NotImplemented`, before it
    has written anything, for an input that it does not support (a dtype, a layout); the composition then runs.
    The class is made without arguments, once per process, when the backend is first chosen.

    A backend whose device works beside the host may also have `steps_per_capture`, how many training steps in
    succession are worth one capture (1 without it), and `to_host_all(arrays)`, the values of several arrays as a list.
    """

    name: str
    xp: Any
    """Array API namespace of the native arrays (https://data-apis.org/array-api)."""

    def to_device(self, host: HostArray, /) -> Array:
        """Native array with the values, shape and dtype of `host`; may share its memory, must not change it."""

    def to_host(self, array: Array, /) -> HostArray:
        """NumPy array with the values of `array`; waits for the device; may share memory."""

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        """The product of two matrices, either of which may be a transposed view; writes to `out` if given."""

    def synchronize(self) -> None:
        """Return when all work given to the device is done."""

    def device_info(self) -> dict[str, str]:
        """What a person wants to know about the machine under it: device, library versions, threads."""

    @classmethod
    def unavailable(cls) -> str | None:
        """None if the backend can run here, else one sentence: why not, and what to do. Must not raise."""
