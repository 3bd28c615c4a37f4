"""Pinned memory through which small arrays go to the device while the host runs ahead of it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

HostArray = np.ndarray[Any, Any]


class Staging:
    """Pinned memory of one thread, in two halves that are used in turns.

    Before a half is written again, the host waits for the copies out of it; they are then a whole half, and so many
    steps, old. (One buffer that the host just overwrote would be a race.)
    """

    HALF = 2 << 20
    LARGEST = HALF // 2
    """Bytes of the largest array that goes this way: two of them in a half."""
    ALIGNMENT = 256

    def __init__(self, cupy: Any) -> None:
        self._cuda = cupy.cuda
        self._memory = cupy.cuda.alloc_pinned_memory(2 * self.HALF)
        self._bytes = memoryview(np.frombuffer(self._memory, np.uint8, 2 * self.HALF))
        self._half, self._offset = 0, 0
        self._copied: list[Any] = [None, None]
        self._stream: Any = None

    def write(self, hosts: Sequence[HostArray], offsets: Sequence[int], size: int, stream: Any) -> int:
        """Write the arrays, at these bytes of `size`; return their address, for a copy that must follow in `stream`."""
        if stream is not self._stream and self._stream is not None and stream.ptr != self._stream.ptr:
            self._stream.synchronize()  # the events below are of one stream
        self._stream = stream
        if self._offset + size > self.HALF:
            self._copied[self._half] = stream.record(self._cuda.Event(disable_timing=True))
            self._half, self._offset = 1 - self._half, 0
            if self._copied[self._half] is not None:
                self._copied[self._half].synchronize()
        start = self._half * self.HALF + self._offset
        self._offset += -(-size // self.ALIGNMENT) * self.ALIGNMENT
        for host, offset in zip(hosts, offsets, strict=True):
            at = start + offset
            self._bytes[at : at + host.nbytes] = _bytes_of(host)
        return int(self._memory.ptr + start)

    def __del__(self) -> None:
        """Wait for the last copies: CuPy may give the pinned memory to somebody else at once."""
        if getattr(self, "_stream", None) is not None:
            with suppress(Exception):  # at the end of the process CuPy may be gone
                self._stream.synchronize()


def _bytes_of(host: HostArray) -> memoryview:
    """Return the values in the order of rows, as bytes.

    Three times as fast as a view of NumPy's: this is done at every step.
    """
    if not host.flags.c_contiguous:
        host = np.ascontiguousarray(host)
    try:
        return memoryview(host).cast("B")
    except (ValueError, TypeError):  # 16-bit floats of ml_dtypes, and arrays without elements
        return memoryview(host.reshape(-1).view(np.uint8))
