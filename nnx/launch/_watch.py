"""The watch over the ranks of one mpiexec, from their start to the end of the last one."""

import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from ._lines import Relay
from ._link import VARIABLE, Caller

_TICK = 0.5  # seconds
_GRACE = 5.0
"""Seconds that mpiexec has to end its ranks, before they are killed."""
_LAST_WORDS = 1.0
"""Seconds that mpiexec has to end by itself, and to tell by which signal, when a rank is gone without a word."""
_ENDING = 30.0
"""Seconds that the other ranks of an interrupted launch have to end after the first one has."""
_ABSENT = 120.0
"""Seconds in which every rank must have begun after the first one has."""
_KILLED = 128 + signal.SIGKILL
_SIGNALS = {signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTERM}
_UNKNOWN = -1
"""An exit status that is still to be found."""


class Watch:
    """Starts ranks, shows what they print, and ends all of them when one fails, falls silent or is gone.

    Everything happens in one thread, in the order in which it became known: so the rank that is named is the first one,
    and not one that mpiexec has killed for it.

    Args:
        command: returns the mpiexec with all its arguments, for the environment that its ranks shall have.
        variables: what that shall have beside this process'.
        ranks: how many there will be.
        address: the name of this machine under which the ranks find it.
        silence: seconds without a beat after which a rank is given up.
    """

    def __init__(
        self,
        command: Callable[[Mapping[str, str]], list[str]],
        variables: Mapping[str, str],
        ranks: int,
        address: str,
        silence: float,
    ) -> None:
        self._command, self._variables, self._ranks = command, variables, ranks
        self._address, self._silence = address, silence
        self.failure: str | None = None
        """What went wrong, in words."""
        self.status = 0
        self.interrupted = False
        """Whether Ctrl-C was pressed, or a batch system asked for the end."""
        self.final = False
        """Whether the script has ended itself with a message: to begin again would not help."""
        self._callers: list[Caller] = []
        self._relays = Relay(sys.stdout), Relay(sys.stderr)
        self._selector = selectors.DefaultSelector()
        self._since_first_began = self._since_first_ended = 0.0
        self._secret = secrets.token_hex(16)

    def run(self) -> None:
        """Run them to the end of the last one; `failure` and `status` tell how it went."""
        listener = socket.create_server(("127.0.0.1" if self._address == "127.0.0.1" else "", 0))
        waking, signalled = socket.socketpair()
        where = f"{self._address}:{listener.getsockname()[1]}:{self._secret}"
        environment = {**os.environ, **self._variables, VARIABLE: where}
        with (
            listener,
            waking,
            signalled,
            self._selector,
            _signals(lambda: signalled.send(b"!")),
            subprocess.Popen(
                self._command(environment),
                env=environment,
                stdin=subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in the terminal is ours to hand on
            ) as mpiexec,
        ):
            self._on(listener, lambda: self._accept(listener))
            self._on(waking, lambda: self._interrupt(waking))
            for pipe, relay in zip((mpiexec.stdout, mpiexec.stderr), self._relays, strict=True):
                assert pipe is not None
                self._on(pipe, self._forwarding(pipe, relay))
            try:
                self._turn(lambda: self.failure is not None or mpiexec.poll() is not None)
            finally:
                self._end(mpiexec)

    def _turn(self, done: Callable[[], bool], seconds: float = float("inf")) -> None:
        """Do what there is to do until something is done, or for so long."""
        began = last = time.monotonic()
        while not done() and time.monotonic() - began < seconds:
            for key, _ in self._selector.select(min(_TICK, seconds)):
                key.data()
                if self.failure is not None:
                    for relay in self._relays:
                        relay.foreign = False  # mpiexec's own words on it say less
            now = time.monotonic()
            # Where this process was stopped itself, or the machine slept, nobody could be heard.
            self._look(min(now - last, 2 * _TICK))
            last = now

    def _on(self, file: Any, act: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, act)

    def _accept(self, listener: socket.socket) -> None:
        caller = Caller(listener.accept()[0])
        self._callers.append(caller)
        self._on(caller.socket, lambda: self._hear(caller))

    def _forwarding(self, pipe: IO[bytes], relay: Relay) -> Callable[[], None]:
        def forward() -> None:
            data = os.read(pipe.fileno(), 1 << 16)
            relay.feed(data)
            if not data:
                self._selector.unregister(pipe)

        return forward

    def _hear(self, caller: Caller) -> None:
        unknown = caller.rank is None
        messages = caller.receive(self._secret)
        if unknown and caller.rank is not None and self.interrupted:
            caller.tell("interrupt")
        for message in messages or ():
            if "status" in message:
                caller.status = int(message["status"])
                if caller.status and not self.interrupted:
                    words = message.get("failed")
                    said = f", with exit status {caller.status}." if words is None else f":\n{words}"
                    self.final = self.final or bool(message.get("final"))
                    self._fail(f"rank {caller.rank} of {self._ranks} failed{said}", caller.status)
        if messages is None:
            self._hang_up(caller)
            if caller.rank is not None and caller.status is None:
                self._fail(
                    f"{self._who(caller)} is gone without a word: it was killed (for want of memory?), or crashed "
                    "outside Python.",
                    None,
                )

    def _hang_up(self, caller: Caller) -> None:
        self._selector.unregister(caller.socket)
        caller.socket.close()
        caller.open = False

    def _who(self, caller: Caller) -> str:
        return f"rank {caller.rank} of {self._ranks} (process {caller.process} on {caller.host})"

    def _fail(self, why: str, status: int | None) -> None:
        """Keep the first failure. The status is None where only mpiexec knows it."""
        if self.failure is None:
            self.failure, self.status = why, _UNKNOWN if status is None else status

    def _interrupt(self, waking: socket.socket) -> None:
        waking.recv(1)
        if self.interrupted:
            self._fail("interrupted again: the ranks were ended at once.", 128 + signal.SIGINT)
            return
        self.interrupted = True
        print("launch: ending after this step; again to end at once", file=sys.stderr, flush=True)
        for caller in self._callers:
            if caller.open:
                caller.tell("interrupt")

    def _look(self, seconds: float) -> None:
        """Count the seconds in which nobody was heard."""
        here = [caller for caller in self._callers if caller.rank is not None]
        running = [caller for caller in here if caller.open and caller.status is None]
        for caller in running:
            caller.count(seconds)
            if caller.silence > self._silence:
                caller.kill()  # Open MPI wakes what is stopped before it ends it, and the training would go on
                self._fail(
                    f"{self._who(caller)} was not heard for {self._silence:g} seconds: it was stopped, or its machine "
                    "is gone.",
                    _KILLED,
                )
        self._since_first_began += seconds if here else 0.0
        if len(here) < self._ranks and self._since_first_began > _ABSENT:
            missing = sorted({*range(self._ranks)} - {caller.rank for caller in here})
            self._fail(f"ranks {missing} did not begin within {_ABSENT:g} seconds.", 1)
        if self.interrupted and len(running) < len(here):
            self._since_first_ended += seconds
            if self._since_first_ended > _ENDING and running:
                self._fail(f"{self._who(running[0])} did not end within {_ENDING:g} seconds of the first one.", 1)

    def _end(self, mpiexec: "subprocess.Popen[bytes]") -> None:
        """See to it that nobody is left, and find the exit status."""

        def ended() -> bool:
            return mpiexec.poll() is not None

        def silent() -> bool:
            return not any(pipe in self._selector.get_map() for pipe in (mpiexec.stdout, mpiexec.stderr))

        if self.status == _UNKNOWN:
            self._turn(ended, _LAST_WORDS)
            self.status = _of_killed(mpiexec.poll())
        if not ended():
            mpiexec.terminate()
            self._turn(ended, _GRACE)
        if not ended():
            os.killpg(mpiexec.pid, signal.SIGKILL)
            mpiexec.wait()
        self._turn(lambda: not any(caller.open for caller in self._callers), _LAST_WORDS)
        for caller in self._callers:
            caller.kill()
        self._turn(silent, _LAST_WORDS)
        for relay in self._relays:
            relay.feed(b"")
        if self.failure is None:
            told = [caller.status for caller in self._callers if caller.status]
            self.status = told[0] if told else mpiexec.returncode
            if self.status and not self.interrupted:
                self.failure = f"mpiexec ended with exit status {self.status}."


def _of_killed(status: int | None) -> int:
    """Return the exit status of a process that ended without a word, from mpiexec's.

    Hydra gives the signal's number, Open MPI 128 more, and both what a process gave to `os._exit`.
    """
    if not status or status < 0:
        return _KILLED
    return 128 + status if status in _SIGNALS else status


@contextmanager
def _signals(act: Callable[[], Any]) -> Iterator[None]:
    """Have the signals that ask for an end act instead; in the main thread, the only one that may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: act()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
