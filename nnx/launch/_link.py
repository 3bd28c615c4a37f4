"""What a rank tells the launcher while it runs, one JSON object a line, over TCP."""

import json
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "NNX_LAUNCH"
"""The environment variable that tells a rank where the launcher listens: "host:port:secret"."""
INTERVAL = 1.0
"""Seconds between two beats of a rank."""
_LONGEST = 1 << 20  # bytes of a line


class Link:
    """A rank's side: it says who it is, and from then on that it is alive, from a thread of its own.

    Args:
        where: what `VARIABLE` holds.
        rank: this process' number.
        heard: called, from another thread, with what the launcher says, "interrupt", or with None if it is gone.
    """

    def __init__(self, where: str, rank: int, heard: Callable[[str | None], None]) -> None:
        host, port, secret = where.rsplit(":", 2)
        self._heard = heard
        self.over = threading.Event()
        """Set when the launcher is gone."""
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._socket.settimeout(None)
        self._sending = threading.Lock()
        self.say(rank=rank, secret=secret, process=os.getpid(), host=socket.gethostname())
        for work in (self._beat, self._listen):
            threading.Thread(target=work, daemon=True, name=f"nnx-launch{work.__name__}").start()

    def say(self, **what: Any) -> None:
        """Send a message. Where the launcher is gone, nobody needs it."""
        with suppress(OSError), self._sending:
            self._socket.sendall(json.dumps(what).encode() + b"\n")

    def _beat(self) -> None:
        never = threading.Event()
        while not never.wait(INTERVAL):
            self.say()

    def _listen(self) -> None:
        with self._socket.makefile("r", encoding="utf-8") as lines, suppress(OSError):
            for line in lines:
                self._heard(line.strip())
        self.over.set()
        self._heard(None)


@dataclass
class Caller:
    """The launcher's side of one link."""

    socket: socket.socket
    rank: int | None = None
    """None until it has said the secret."""
    process: int = 0
    host: str = ""
    silence: float = 0.0
    """Seconds of the launcher's since it was last heard."""
    status: int | None = None
    """The exit status that it has told."""
    open: bool = True
    _worked: str = ""
    """Its processor time, when it was last looked at."""
    _rest: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        self._near = self.socket.getsockname()[:1] == self.socket.getpeername()[:1]

    def receive(self, secret: str) -> list[dict[str, Any]] | None:
        """Return the messages that have come; None at the end. Whoever does not begin with the secret is cut off."""
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _LONGEST:
            return None
        try:
            messages = [json.loads(line) for line in lines]
            if self.rank is None and messages:
                first = messages.pop(0)
                if not secrets.compare_digest(str(first["secret"]), secret):
                    return None
                self.rank, self.process, self.host = int(first["rank"]), int(first["process"]), str(first["host"])
        except (ValueError, KeyError, TypeError):
            return None
        self.silence = 0.0
        return messages

    def tell(self, word: str) -> None:
        """Send a word to the rank."""
        with suppress(OSError):
            self.socket.sendall(word.encode() + b"\n")

    def count(self, seconds: float) -> None:
        """Add seconds in which it was not heard, unless it was at work.

        A rank has no beat while code in C keeps the interpreter to itself, as where a huge file is parsed. Whether it
        uses a processor is known on this machine alone, by Linux.
        """
        self.silence += seconds
        if self.silence > 2 * INTERVAL and self._has_worked():
            self.silence = 0.0

    def _has_worked(self) -> bool:
        """Return whether it has used a processor since this was last asked."""
        before = self._worked
        if self._is_here():
            with suppress(OSError):
                words = Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                self._worked = " ".join(words[11:13])  # in user and in system mode
        return self._worked != before

    def kill(self) -> None:
        """Kill it, if it is on this machine and still there."""
        if self.open and self.rank is not None and self._is_here():
            with suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)

    def _is_here(self) -> bool:
        """Return whether it runs on this machine: others may have the same name, but not the same address."""
        return self._near and self.host == socket.gethostname()
