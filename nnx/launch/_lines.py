"""Whose lines are whose: ranks mark theirs, and the launcher shows them."""

import atexit
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

_MARK = b"\x1e"  # the control character that separates records: no text begins with it


def mark_output(rank: int) -> Callable[[], None]:
    """Have what this process prints go out in whole lines, each with a mark of the rank.

    Returns:
        Writes what has no end of line yet; it is called at the end of the process, too.
    """
    files = [_Marked(rank, descriptor) for descriptor in (1, 2)]
    sys.stdout, sys.stderr = streams = [
        io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=True)
        for file in files
    ]

    def finish() -> None:
        for stream, file in zip(streams, files, strict=True):
            stream.flush()
            file.finish()

    atexit.register(finish)
    return finish


class _Marked(io.RawIOBase):
    """A file that writes lines with a mark, each at once; what has no end yet waits for it."""

    def __init__(self, rank: int, descriptor: int) -> None:
        self._mark, self._descriptor, self._rest = _MARK + b"%d " % rank, descriptor, b""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        data = bytes(data)
        with self._lock:
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._put(b"".join(self._mark + line + b"\n" for line in lines))
        return len(data)

    def _put(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    def finish(self) -> None:
        """Write what has no end of line yet."""
        with self._lock:
            if self._rest:
                self._put(self._mark + self._rest + b"\n")
                self._rest = b""


class Relay:
    """Shows what mpiexec forwards: rank 0's lines as they are, those of others with "[rank 1] " before them.

    Args:
        target: where to.
    """

    def __init__(self, target: TextIO) -> None:
        self._target, self._rest = target, b""
        self.foreign = True
        """Whether to show lines that no rank has marked: mpiexec's own, and those of libraries in C."""

    def feed(self, data: bytes) -> None:
        """Show the whole lines of what has come; without data, the rest."""
        *lines, self._rest = (self._rest + data).split(b"\n") if data else ([self._rest, b""] if self._rest else [b""])
        shown = [text for line in lines if (text := self._shown(line.removesuffix(b"\r"))) is not None]
        if shown:
            self._target.write("".join(shown))
            self._target.flush()

    def _shown(self, line: bytes) -> str | None:
        before, mark, rest = line.partition(_MARK)
        if not mark:
            return before.decode(errors="replace") + "\n" if self.foreign else None
        rank, _, text = rest.partition(b" ")
        prefix = "" if rank == b"0" else f"[rank {rank.decode(errors='replace')}] "
        return prefix + (before + text).decode(errors="replace") + "\n"
